package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"concentrator/internal/secret"
	"concentrator/internal/store"
	"concentrator/internal/store/backup"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
)

// world is a state with a tenant, a user with a password, and a second file.
type world struct {
	dir, key string
	state    *bolt.DB
	leases   *bolt.DB
	store    *store.Store
}

func begin(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.key = filepath.Join(w.dir, "master.key")
	var err error
	if w.state, err = bolt.Open(filepath.Join(w.dir, backup.StateFile)); err != nil {
		t.Fatal(err)
	}
	if w.leases, err = bolt.Open(filepath.Join(w.dir, backup.LeasesFile)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.state.Close(), w.leases.Close()); err != nil {
			t.Error(err)
		}
	})
	if w.store, err = store.Open(t.Context(), w.state, w.key); err != nil {
		t.Fatal(err)
	}
	if err := store.Create(w.store, &store.Tenant{Meta: store.Meta{Name: "tenants/acme"}}); err != nil {
		t.Fatal(err)
	}
	w.user(t, "alice")
	if _, _, err := w.leases.Commit(t.Context(), nil, []store.Op{{Key: "10.0.0.9", Value: []byte("alice")}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) user(t *testing.T, id string) {
	t.Helper()
	u := &store.User{Meta: store.Meta{Name: "tenants/acme/users/" + id}, Password: tenant.Secret("wonder-" + id)}
	if err := store.Create(w.store, u); err != nil {
		t.Fatal(err)
	}
}

// backup makes a backup and returns what is in the file.
func (w *world) backup(t *testing.T, progress func(done, total int64)) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	size, err := backup.Write(t.Context(), path, backup.Info{Instance: "vpn-1", Version: "v1", Time: time.Unix(1e9, 0)}, w.files(), progress)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != size {
		t.Errorf("says %d octets, the file has %d", size, len(b))
	}
	return b
}

func (w *world) files() []backup.File {
	return []backup.File{{Name: backup.StateFile, Snapshot: w.state.Snapshot}, {Name: backup.LeasesFile, Snapshot: w.leases.Snapshot}}
}

// fresh makes a directory with the key of w in it.
func (w *world) fresh(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := os.ReadFile(w.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What was there at the backup is there after the restore, secrets too, and nothing that came later; under another epoch.
func TestRestore(t *testing.T) {
	w := begin(t)
	var done, total int64
	b := w.backup(t, func(d, of int64) { done, total = d, of })
	if done == 0 || done != total {
		t.Errorf("progress ends at %d of %d", done, total)
	}
	w.user(t, "bob")

	dir := w.fresh(t)
	info, err := backup.Restore(t.Context(), bytes.NewReader(b), dir, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Instance != "vpn-1" || len(info.Files) != 2 {
		t.Errorf("info %+v", info)
	}
	kv, err := bolt.Open(filepath.Join(dir, backup.StateFile))
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	if kv.Epoch() == w.state.Epoch() {
		t.Error("the restored state has the epoch of the old one")
	}
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	alice, err := store.Get[store.User](s, "tenants/acme/users/alice")
	if err != nil || string(alice.Password) != "wonder-alice" {
		t.Errorf("alice: %v, %v", alice, err)
	}
	if _, err := store.Get[store.User](s, "tenants/acme/users/bob"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("bob, who came after the backup: %v", err)
	}
	bare := w.fresh(t)
	left := filepath.Join(bare, ".restore", backup.StateFile) // by one that was killed
	if err := errors.Join(os.Mkdir(filepath.Dir(left), 0o700), os.WriteFile(left, []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), bytes.NewReader(b), bare, filepath.Join(bare, "master.key"), backup.LeasesFile); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, bare), "master.key state.db"; got != want {
		t.Errorf("without leases: %s, want %s", got, want)
	}
	leases, err := bolt.Open(filepath.Join(dir, backup.LeasesFile))
	if err != nil {
		t.Fatal(err)
	}
	defer leases.Close()
	if it, err := leases.Get(t.Context(), "10.0.0.9"); err != nil || string(it.Value) != "alice" {
		t.Errorf("lease %v, %v", it, err)
	}
}

// Commits go on while a backup is made, and each file of it is whole.
func TestBackupUnderLoad(t *testing.T) {
	w := begin(t)
	ctx, stop := context.WithCancel(t.Context())
	writer := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			u := &store.User{Meta: store.Meta{Name: fmt.Sprintf("tenants/acme/users/u%d", n)}, Password: tenant.Secret("x")}
			if err := store.Create(w.store, u); err != nil {
				t.Error(err)
				break
			}
		}
		writer <- n
	}()
	for range 5 {
		b := w.backup(t, nil)
		dir := w.fresh(t)
		if _, err := backup.Restore(t.Context(), bytes.NewReader(b), dir, filepath.Join(dir, "master.key")); err != nil {
			t.Error(err)
		}
	}
	stop()
	if n := <-writer; n < 5 {
		t.Errorf("only %d users were made meanwhile", n)
	}
}

// What is wrong is refused, and leaves the directory as it was.
func TestRestoreRefuses(t *testing.T) {
	w := begin(t)
	good := w.backup(t, nil)
	for name, c := range map[string]struct {
		archive []byte
		prepare func(dir string) error
		want    error
	}{
		"state there":    {archive: good, prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, backup.GuessesFile), nil, 0o600) }, want: backup.ErrOccupied},
		"key missing":    {archive: good, prepare: func(dir string) error { return os.Remove(filepath.Join(dir, "master.key")) }, want: secret.ErrKeyMissing},
		"another key":    {archive: good, prepare: anotherKey, want: secret.ErrWrongKey},
		"nothing":        {archive: nil, want: backup.ErrInvalid},
		"no archive":     {archive: []byte("kind: Tenant\n"), want: backup.ErrInvalid},
		"cut off":        {archive: good[:len(good)/2], want: backup.ErrInvalid},
		"end cut off":    {archive: good[:len(good)-4], want: backup.ErrInvalid},
		"altered":        {archive: rewrite(t, good, func(h *tar.Header, b []byte) { flip(h.Name == backup.StateFile, b) }), want: backup.ErrInvalid},
		"foreign name":   {archive: rewrite(t, good, func(h *tar.Header, _ []byte) { rename(h, backup.LeasesFile, "../evil") }), want: backup.ErrInvalid},
		"foreign in it":  {archive: rewrite(t, good, func(h *tar.Header, b []byte) { swap(h, b, backup.LeasesFile, "/etc/pass") }), want: backup.ErrInvalid},
		"newer format":   {archive: rewrite(t, good, func(h *tar.Header, b []byte) { swap(h, b, `"format": 1`, `"format": 9`) }), want: store.ErrSchemaTooNew},
		"state left out": {archive: rewrite(t, good, func(h *tar.Header, b []byte) { swap(h, b, backup.StateFile, "stale.db") }), want: backup.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			dir := w.fresh(t)
			if c.prepare != nil {
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			before := names(t, dir)
			_, err := backup.Restore(t.Context(), bytes.NewReader(c.archive), dir, filepath.Join(dir, "master.key"))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if after := names(t, dir); after != before {
				t.Errorf("left %s, there was %s", after, before)
			}
		})
	}
}

func anotherKey(dir string) error {
	return os.WriteFile(filepath.Join(dir, "master.key"), bytes.Repeat([]byte{7}, 32), 0o600)
}

func flip(yes bool, b []byte) {
	if yes {
		b[len(b)/2] ^= 1
	}
}

func rename(h *tar.Header, from, to string) {
	if h.Name == from {
		h.Name = to
	}
}

// swap writes another text of the same length into backup.json.
func swap(h *tar.Header, b []byte, from, to string) {
	if h.Name == "backup.json" {
		copy(b, bytes.ReplaceAll(b, []byte(from), []byte(to+strings.Repeat("x", len(from)-len(to)))))
	}
}

// rewrite makes an archive of another one with each file changed.
func rewrite(t *testing.T, archive []byte, change func(*tar.Header, []byte)) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	to := gzip.NewWriter(&out)
	w := tar.NewWriter(to)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		change(h, b)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// A backup that is given up leaves nothing behind.
func TestBackupCancelled(t *testing.T) {
	w := begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := backup.Write(ctx, filepath.Join(dir, "b"), backup.Info{}, w.files(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left := names(t, dir); left != "" {
		t.Errorf("left %s", left)
	}
}

// A restore that was killed between two files is known as one, by the daemon too, and the next one begins anew.
func TestRestoreCutOff(t *testing.T) {
	w := begin(t)
	b := w.backup(t, nil)
	dir := w.fresh(t)
	tmp := filepath.Join(dir, ".restore")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(tmp, backup.StateFile), filepath.Join(dir, backup.LeasesFile)} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if backup.CutOff(dir) == nil {
		t.Error("it is not seen that a restore was cut off")
	}
	if _, err := backup.Restore(t.Context(), bytes.NewReader(b), dir, filepath.Join(dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	if err := backup.CutOff(dir); err != nil {
		t.Error(err)
	}
	if got, want := names(t, dir), "leases.db master.key state.db"; got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
}
