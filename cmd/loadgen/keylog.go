package main

import (
	"fmt"
	"os"
	"sync"
)

// keyLog writes the keys of sessions to a file. It is safe for concurrent use.
type keyLog struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first line that could not be written
}

// openKeyLog begins a new file, that only its owner may read.
func openKeyLog(path string) (*keyLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("key log: %w", err)
	}
	return &keyLog{file: f}, nil
}

// write adds a line: the name, a tab, the key in hexadecimal.
func (k *keyLog) write(name string, key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil && len(key) > 0 {
		_, k.err = fmt.Fprintf(k.file, "%s\t%x\n", name, key)
	}
}

// close says whether all lines were written. Of nil there are none.
func (k *keyLog) close() error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.file.Close(); k.err == nil {
		k.err = err
	}
	if k.err != nil {
		return fmt.Errorf("key log: %w", k.err)
	}
	return nil
}
