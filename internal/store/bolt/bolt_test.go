package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/store/storetest"
)

// open opens a file; when the test ends it is checked, unless the test closed it, and closed.
func open(t *testing.T, path string, o bolt.Options) *bolt.DB {
	t.Helper()
	db, err := bolt.OpenWith(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(); err != nil && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			t.Errorf("check: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestContract(t *testing.T) {
	storetest.Contract(t, func(t *testing.T) store.KV {
		return open(t, filepath.Join(t.TempDir(), "state.db"), bolt.Options{LogRevisions: 100})
	})
}

func put(key, value string) []store.Op { return []store.Op{{Key: key, Value: []byte(value)}} }

func commit(t *testing.T, db *bolt.DB, ops []store.Op) int64 {
	t.Helper()
	rev, ok, err := db.Commit(t.Context(), nil, ops)
	if err != nil || !ok {
		t.Fatalf("Commit = %t, %v", ok, err)
	}
	return rev
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "state.db")
	db := open(t, path, bolt.Options{})
	epoch := db.Epoch()
	commit(t, db, put("a", "1"))
	commit(t, db, put("b", "1"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path, bolt.Options{})
	if rev, err := db.Revision(t.Context()); rev != 3 || err != nil || db.Epoch() != epoch {
		t.Errorf("opened again: revision %d, epoch %s, %v; want 3, %s", rev, db.Epoch(), err, epoch)
	}
	stop := errors.New("stop")
	err := db.Watch(t.Context(), "", 2, func(events []store.Event) error {
		if len(events) != 1 || events[0].Key != "b" {
			t.Errorf("watch over a restart: %v", events)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path, bolt.Options{})
	start := time.Now()
	_, err := bolt.OpenWith(path, bolt.Options{LockTimeout: 100 * time.Millisecond})
	if !errors.Is(err, store.ErrLocked) {
		t.Fatalf("second Open: %v, want ErrLocked", err)
	}
	want := fmt.Sprintf("state directory %s is in use by another process", filepath.Dir(path))
	if err.Error() != want {
		t.Errorf("says %q, want %q", err, want)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

// Commits that wait together go to the disk together: far fewer transactions than commits.
func TestCommitsAreGrouped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path, bolt.Options{})
	const writers, each = 64, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, ok, err := db.Commit(t.Context(), nil, put(fmt.Sprintf("%d/%d", w, i), "x")); !ok || err != nil {
					t.Errorf("commit: %t, %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	if rev, err := db.Revision(t.Context()); rev != 1+writers*each || err != nil {
		t.Errorf("revision %d, %v, want %d", rev, err, 1+writers*each)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	err = raw.View(func(tx *bbolt.Tx) error {
		if n := tx.ID(); n > writers*each/2 {
			t.Errorf("%d transactions for %d commits of %d writers", n, writers*each, writers)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLogIsBoundedInOctets(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"), bolt.Options{LogBytes: 1 << 20})
	big := string(make([]byte, 256<<10))
	for range 10 {
		commit(t, db, put("k", big))
	}
	err := db.Watch(t.Context(), "", 1, func([]store.Event) error { return errors.New("events") })
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch from the beginning: %v, want ErrCompacted", err)
	}
	stop := errors.New("stop")
	// One that is larger than the whole bound stays until there is another.
	many := make([]store.Op, 5)
	for i := range many {
		many[i] = store.Op{Key: fmt.Sprint("k", i), Value: []byte(big)}
	}
	rev := commit(t, db, many)
	if err := db.Watch(t.Context(), "", rev-1, func([]store.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("watch of the largest: %v", err)
	}
	if err := db.Watch(t.Context(), "", rev-2, func([]store.Event) error { return nil }); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch of those before the largest: %v, want ErrCompacted", err)
	}
	rev = commit(t, db, put("k", "small"))
	if err := db.Watch(t.Context(), "", rev-1, func([]store.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("watch of the newest: %v", err)
	}
}

// A watch that falls behind what the log keeps is told, and never gets changes with a hole in them.
func TestWatchThatFallsBehind(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"), bolt.Options{LogRevisions: 50})
	started, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		next := int64(2)
		ended <- db.Watch(t.Context(), "", 1, func(events []store.Event) error {
			if next == 2 {
				close(started)
				<-release
			}
			for _, e := range events {
				if e.Rev != next {
					return fmt.Errorf("revision %d where %d should be", e.Rev, next)
				}
				next++
			}
			return nil
		})
	}()
	commit(t, db, put("k", ""))
	<-started
	for range 200 {
		commit(t, db, put("k", ""))
	}
	close(release)
	if err := <-ended; !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch ended with %v, want ErrCompacted", err)
	}
}

func TestRefusesForeignAndDamagedFiles(t *testing.T) {
	make1 := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "state.db")
		db := open(t, path, bolt.Options{})
		for i := range 200 {
			commit(t, db, put(fmt.Sprintf("key%04d", i), string(make([]byte, 500))))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	edit := func(bucket, key, value string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			raw, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value))
			}); err != nil {
				t.Fatal(err)
			}
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	overwrite := func(from, n int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			junk := make([]byte, n)
			for i := range junk {
				junk[i] = 0xa5
			}
			if _, err := f.WriteAt(junk, from); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	page := int64(os.Getpagesize())
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  error
	}{
		{"newer format", edit("meta", "format", "2"), store.ErrSchemaTooNew},
		{"no format", edit("meta", "format", ""), store.ErrCorrupt},
		{"no revision", edit("meta", "revision", "x"), store.ErrCorrupt},
		{"log without an end", edit("meta", "revision", "\x00\x00\x00\x00\x00\x00\x01\x00"), store.ErrCorrupt},
		{"value without a revision", edit("kv", "key0000", "x"), store.ErrCorrupt},
		{"log entry that is cut off", edit("log", "\x00\x00\x00\x00\x00\x00\x00\x02", "\x00\x7fk"), store.ErrCorrupt},
		{"both meta pages lost", overwrite(0, 2*page), store.ErrCorrupt},
		{"all pages but the first two lost", func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			overwrite(2*page, info.Size()-2*page)(t, path)
		}, store.ErrCorrupt},
		{"cut off", func(t *testing.T, path string) {
			if err := os.Truncate(path, 3*page); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt},
		{"a text file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt},
		{"another program's file", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			raw, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }); err != nil {
				t.Fatal(err)
			}
			if err := raw.Close(); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := make1(t)
			tt.spoil(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			db, err := bolt.OpenWith(path, bolt.Options{LockTimeout: 200 * time.Millisecond})
			if err == nil {
				t.Log(db.Close())
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open: %v, want %v", err, tt.want)
			}
			after, err := os.ReadFile(path)
			if err != nil || string(before) != string(after) {
				t.Errorf("a refused file was changed (%v)", err)
			}
		})
	}
}

// A file that lacks any of its pages is refused, also when the missing one holds nothing but the end of a value, which
// no walk over the keys would miss.
func TestCutOffAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path, bolt.Options{LogRevisions: 1})
	commit(t, db, put("a", "1"))
	commit(t, db, put("big", string(make([]byte, 200<<10))))
	commit(t, db, put("z", "1"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	if err := raw.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	for size -= page; size > 0; size -= page {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if db, err := bolt.Open(path); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("cut to %d pages: %v, want ErrCorrupt", size/page, err)
			if err == nil {
				t.Log(db.Close())
			}
		}
	}
}

// Guards that fail, and operations that change nothing, cost no write to the disk.
func TestNothingToWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path, bolt.Options{})
	commit(t, db, put("a", "1"))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, db, nil)
	commit(t, db, []store.Op{{Key: "b", Delete: true}})
	if _, ok, err := db.Commit(t.Context(), []store.Guard{{Key: "a"}}, put("a", "2")); ok || err != nil {
		t.Errorf("commit against its guard: %t, %v", ok, err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was written to (%v)", err)
	}
}

// Whatever octets of whatever page are wrong, Open returns: with the file when it could not know, else with ErrCorrupt.
// It must neither hang nor take the process down, as a read of a page that is not there would.
func TestDamagedPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := open(t, path, bolt.Options{})
	for i := range 300 {
		commit(t, db, put(fmt.Sprintf("key%04d", i), string(make([]byte, 100))))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	rnd := rand.New(rand.NewPCG(1, 2)) // always in the same places: a failure can be looked at
	for i := range 200 {
		bad := bytes.Clone(good)
		page := 2 + rnd.IntN(len(bad)/os.Getpagesize()-2)
		for range 1 + rnd.IntN(40) { // near the page's beginning, where its structure is
			bad[page*os.Getpagesize()+rnd.IntN(200)] = byte(rnd.Uint32())
		}
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bolt.OpenWith(path, bolt.Options{LockTimeout: 50 * time.Millisecond})
		switch {
		case err == nil:
			if err := db.Close(); err != nil {
				t.Errorf("damage %d: close: %v", i, err)
			}
		case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrSchemaTooNew):
			refused++
		default:
			t.Errorf("damage %d: %v", i, err)
		}
	}
	if refused < 10 {
		t.Errorf("%d of 200 damaged files were refused: the damage hits nothing", refused)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	before := runtime.NumGoroutine()
	for range 20 {
		db, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := db.Commit(context.Background(), nil, put("k", "")); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines before, %d after 20 opens and closes", before, after)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 128} {
		b.Run(fmt.Sprintf("%dwriters", writers), func(b *testing.B) {
			db, err := bolt.Open(filepath.Join(b.TempDir(), "state.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			if writers == 1 {
				for b.Loop() {
					if _, _, err := db.Commit(context.Background(), nil, put("k", "v")); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, _, err := db.Commit(context.Background(), nil, put("k", "v")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
