package bolt

import (
	"os"
	"path/filepath"
	"testing"
)

// TestUnbornFile: a file of zeros, as a power cut leaves one that is being made, is a new one. One with anything in it is refused.
func TestUnbornFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		one  int // place of an octet that is not 0; below 0: none
		ok   bool
	}{
		{"all that bbolt writes first", bornSize, -1, true},
		{"a part of it", 4096, -1, true},
		{"something at its end", bornSize, bornSize - 1, false},
		{"longer", bornSize + 1, -1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			content := make([]byte, tt.size)
			if tt.one >= 0 {
				content[tt.one] = 1
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := Open(path)
			if (err == nil) != tt.ok {
				t.Errorf("opened: %v", err)
			}
			if err == nil {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
			if b, err := os.ReadFile(path); !tt.ok && (err != nil || len(b) != tt.size) {
				t.Errorf("what is refused has changed: %d octets, %v", len(b), err)
			}
		})
	}
}
