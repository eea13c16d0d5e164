package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// books are the records of accounting, by session.
type books struct{ starts, stops map[string]int }

// readBooks reads all accounting files of a state folder.
func readBooks(state string) (books, error) {
	b := books{map[string]int{}, map[string]int{}}
	files, err := filepath.Glob(filepath.Join(state, "accounting.log*"))
	if err != nil {
		return b, err
	}
	for _, name := range files {
		if err := b.read(name); err != nil {
			return b, fmt.Errorf("%s: %w", name, err)
		}
	}
	return b, nil
}

func (b books) read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct{ Status, Session string }
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		switch r.Status {
		case "START":
			b.starts[r.Session]++
		case "STOP":
			b.stops[r.Session]++
		}
	}
	return lines.Err()
}

// unbalanced lists up to ten sessions that have not exactly one Start and one Stop.
func (b books) unbalanced() (out []string) {
	for _, all := range []map[string]int{b.starts, b.stops} {
		for session := range all {
			if start, stop := b.starts[session], b.stops[session]; (start != 1 || stop != 1) && len(out) < 10 {
				out = append(out, fmt.Sprintf("%s: %d Starts, %d Stops", session, start, stop))
			}
		}
	}
	return out
}
