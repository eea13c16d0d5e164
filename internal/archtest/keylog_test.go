package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeyLog: only simulated clients can have the keys of their sessions written down. The daemon's rooms do not know how.
func TestKeyLog(t *testing.T) {
	allowed := []string{"internal/simclient/", "internal/ike/ikev1/", "cmd/loadgen/", "internal/archtest/"}
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("KeyLog")) && !bytes.Contains(text, []byte(".Reveal(")) {
			return err
		}
		name, err := filepath.Rel(root, path)
		for _, prefix := range allowed {
			if strings.HasPrefix(name, prefix) {
				found++
				return err
			}
		}
		t.Errorf("%s has to do with logs of keys", name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("there is no key log: the test does not see it")
	}
}
