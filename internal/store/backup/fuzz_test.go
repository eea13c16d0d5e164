package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/store"
	"concentrator/internal/store/backup"
)

// FuzzRestore: an archive of any octets, or one of any two files, leaves nothing behind when it is refused, in the state's
// folder or beside it.
func FuzzRestore(f *testing.F) {
	corpus.Add(f)
	f.Add("backup.json", []byte(`{"format":1,"files":[{"name":"state.db","size":1,"sha256":"00"}]}`), "state.db", []byte("x"), byte(0))
	f.Add("backup.json", []byte(`{"format":1,"files":[{"name":"state.db","size":0}]}`), "../state.db", []byte{}, byte(1))
	f.Add("backup.json", []byte(`{"format":99}`), "", []byte{}, byte(0))
	f.Add("backup.json", []byte(`{"format":1,"files":[{"name":"state.db"},{"name":"../../x"}]}`), "state.db", []byte{}, byte(0))
	f.Add("", []byte("\x1f\x8b\x08\x00"), "", []byte{}, byte(2))
	f.Fuzz(func(t *testing.T, one string, info []byte, two string, file []byte, how byte) {
		archive := info
		if how != 2 {
			archive = pack(one, info, two, file, how)
		}
		above := t.TempDir()
		dir := filepath.Join(above, "state")
		key := filepath.Join(above, "master.key")
		if err := os.WriteFile(key, bytes.Repeat([]byte{1}, 32), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := backup.Restore(t.Context(), bytes.NewReader(archive), dir, key)
		if err == nil {
			t.Fatal("it was restored, without a state in it")
		}
		if !errors.Is(err, backup.ErrInvalid) && !errors.Is(err, store.ErrSchemaTooNew) && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%v", err)
		}
		for folder, want := range map[string]int{above: 2, dir: 0} {
			if left, err := os.ReadDir(folder); err != nil || len(left) != want {
				t.Errorf("%v is left in %s, %v", left, folder, err)
			}
		}
	})
}

// pack makes an archive of two files; names that tar can't hold make a broken one.
func pack(one string, info []byte, two string, file []byte, how byte) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, p := range []struct {
		name string
		body []byte
		typ  byte
	}{{one, info, tar.TypeReg}, {two, file, tar.TypeReg + how%8}} {
		h := &tar.Header{Name: p.name, Typeflag: p.typ, Size: int64(len(p.body)), Mode: 0o600}
		if w.WriteHeader(h) == nil {
			_, _ = w.Write(p.body) // a link has none
		}
	}
	_ = w.Close() // nor does it mind
	_ = zip.Close()
	return b.Bytes()
}
