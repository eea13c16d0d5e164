package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"concentrator/internal/store"
)

// Whatever lies where the file should be, there is a file for them afterwards, or none and no error.
func TestOpenMemory(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"junk":    func(path string) error { return os.WriteFile(path, make([]byte, 100_000), 0o600) },
		"folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"cut off": func(path string) error { return os.Truncate(path, 9000) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "leases.db")
			log := slog.New(slog.DiscardHandler)
			if name == "cut off" {
				kv := openMemory(dir, "leases.db", &files{}, log)
				for range 20 {
					if _, _, err := kv.Commit(t.Context(), nil, []store.Op{{Key: "k", Value: make([]byte, 10000)}}); err != nil {
						t.Fatal(err)
					}
				}
				if err := kv.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := prepare(path); err != nil {
				t.Fatal(err)
			}
			kv := openMemory(dir, "leases.db", &files{}, log)
			if kv == nil {
				t.Fatal("no file")
			}
			if _, _, err := kv.Commit(context.Background(), nil, []store.Op{{Key: "k", Value: []byte("v")}}); err != nil {
				t.Error(err)
			}
			if err := kv.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kv := openMemory(file, "leases.db", &files{}, slog.New(slog.DiscardHandler)); kv != nil {
		t.Error("a file was opened in what is no folder")
	}
}
