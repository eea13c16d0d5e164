package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"concentrator/internal/store"
)

func put(t *testing.T, d *DB, key string) int64 {
	t.Helper()
	rev, ok, err := d.Commit(t.Context(), nil, []store.Op{{Key: key, Value: []byte(key)}})
	if err != nil || !ok {
		t.Fatal(key, ok, err)
	}
	return rev
}

// A transaction of which only the last step failed is seen in the file, though its writer was told that it failed: it gets a
// revision of its own, and the next has another.
func TestHalfFailedTransaction(t *testing.T) {
	var written []error
	path := filepath.Join(t.TempDir(), "state.db")
	d, err := OpenWith(path, Options{Written: func(err error) { written = append(written, err) }})
	if err != nil {
		t.Fatal(err)
	}
	before := put(t, d, "a")
	// What such a transaction leaves behind: the file has it, the writer does not know it.
	known := d.log
	if err := d.db.Update(func(tx *bbolt.Tx) error {
		ops := []store.Op{{Key: "b", Value: []byte("b")}}
		if _, err := known.add(tx.Bucket(logBucket), before+1, ops); err != nil {
			return err
		}
		return errors.Join(apply(tx.Bucket(kvBucket), before+1, ops), tx.Bucket(metaBucket).Put(revisionKey, appendRev(nil, before+1)))
	}); err != nil {
		t.Fatal(err)
	}
	d.doubtful = true

	if rev := put(t, d, "c"); rev != before+2 {
		t.Errorf("the next commit has revision %d, want %d", rev, before+2)
	}
	events, upto, _, err := d.Changes(t.Context(), "", before)
	if err != nil || upto != before+2 || len(events) != 2 || events[0].Key != "b" || events[1].Key != "c" {
		t.Errorf("changes %+v up to %d, %v", events, upto, err)
	}
	if d.log.revisions != 3 {
		t.Errorf("the log counts %d revisions, want 3", d.log.revisions)
	}
	if len(written) != 2 || errors.Join(written...) != nil {
		t.Errorf("told %v, want two transactions that went well", written)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path); err != nil { // it walks over the log
		t.Fatal(err)
	}
	if err := errors.Join(d.Check(), d.Close()); err != nil {
		t.Error(err)
	}
}

// A file that can't be written refuses by name, again and again, and takes what comes when it can be written again. Nothing
// that was refused is there.
func TestUnwritable(t *testing.T) {
	var written []error
	path := filepath.Join(t.TempDir(), "state.db")
	d, err := OpenWith(path, Options{Written: func(err error) { written = append(written, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rev := put(t, d, "a")
	good := d.file
	// Opened for reading, the file refuses what settle writes.
	if d.file, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	d.doubtful = true
	for range 2 {
		got, ok, err := d.Commit(t.Context(), nil, []store.Op{{Key: "b", Value: []byte("b")}})
		if !errors.Is(err, store.ErrNotWritten) || !errors.Is(err, syscall.EBADF) || ok || got != 0 {
			t.Errorf("commit: %d, %v, %v", got, ok, err)
		}
	}
	if err := d.Probe(t.Context()); !errors.Is(err, store.ErrNotWritten) {
		t.Errorf("probe: %v", err)
	}
	if err := d.file.Close(); err != nil {
		t.Fatal(err)
	}
	d.file = good
	if err := d.Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
	if _, err := d.Get(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was refused: %v", err)
	}
	if got := put(t, d, "b"); got != rev+1 {
		t.Errorf("revision %d, want %d: a probe raises none", got, rev+1)
	}
	if err := d.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(metaBucket).Get(probeKey); v != nil {
			t.Errorf("a probe has left %d octets", len(v))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if _, ok, err := d.Commit(t.Context(), []store.Guard{{Key: "b"}}, nil); ok || err != nil {
		t.Errorf("a guard that does not hold: %v, %v", ok, err)
	}
	want := []bool{true, false, false, false, true, true} // nobody is told of what wrote nothing
	for i, err := range written {
		if i < len(want) && (err == nil) != want[i] {
			t.Errorf("transaction %d: told %v", i, err)
		}
	}
	if len(written) != len(want) {
		t.Errorf("told of %d transactions, want %d", len(written), len(want))
	}
}

// A page that the disk can't give is an error of who reads it. The process, and what it can read still, live on.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	for _, key := range []string{"a", "b", "c"} {
		if _, _, err := d.Commit(t.Context(), nil, []store.Op{{Key: key, Value: make([]byte, 100_000)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, 2*int64(d.db.Info().PageSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(t.Context(), "b"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a page that is not there: %v", err)
	}
	if _, _, _, err := d.List(t.Context(), store.Range{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("pages that are not there: %v", err)
	}
}
