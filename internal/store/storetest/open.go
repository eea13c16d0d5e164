package storetest

import (
	"path/filepath"
	"testing"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
)

// Open makes an empty store in a directory of the test. When the test ends, the store is closed and its file checked.
func Open(t testing.TB) *store.Store {
	t.Helper()
	dir := t.TempDir()
	kv, err := bolt.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kv.Check(); err != nil {
			t.Errorf("check of the file: %v", err)
		}
		if err := kv.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s, err := store.Open(t.Context(), kv, filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
