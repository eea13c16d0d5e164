//go:build interop

package crash

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"concentrator/test/reliability/lab"
)

// records is what accounting files say of sessions: the IDs of their Starts and Stops. A record may be there twice, with one ID.
type records struct {
	starts, stops map[string]map[uint64]bool
	crashed       int // sessions that got their Stop from the next start
}

// readRecords reads accounting files. Each line must be whole.
func readRecords(files ...string) (records, error) {
	b := records{starts: make(map[string]map[uint64]bool), stops: make(map[string]map[uint64]bool)}
	for _, file := range files {
		if err := b.read(file); err != nil {
			return b, fmt.Errorf("%s: %w", file, err)
		}
	}
	return b, nil
}

func (b *records) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r struct {
			ID              uint64
			Status, Session string
			Crash           bool
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		switch r.Status {
		case "START":
			add(b.starts, r.Session, r.ID)
		case "STOP":
			if add(b.stops, r.Session, r.ID) && r.Crash {
				b.crashed++
			}
		}
	}
	return lines.Err()
}

// add says whether the record is new.
func add(all map[string]map[uint64]bool, session string, id uint64) bool {
	if all[session] == nil {
		all[session] = make(map[uint64]bool)
	}
	was := all[session][id]
	all[session][id] = true
	return !was
}

// balanced says which sessions have not one Start and one Stop.
func (b *records) balanced() error {
	var errs []error
	for session, ids := range b.starts {
		if len(ids) != 1 || len(b.stops[session]) != 1 {
			errs = append(errs, fmt.Errorf("session %s has %d Starts and %d Stops", session, len(ids), len(b.stops[session])))
		}
	}
	for session := range b.stops {
		if b.starts[session] == nil {
			errs = append(errs, fmt.Errorf("session %s has a Stop and no Start", session))
		}
	}
	return errors.Join(errs...)
}

// checkAccounting holds the accounting files of a daemon that has ended against the sessions that its API has shown.
func checkAccounting(t testing.TB, d *lab.Daemon, shown map[string]bool) records {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Dir, "state", recordsFile+"*"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := readRecords(files...)
	if err = errors.Join(err, b.balanced()); err != nil {
		t.Error(err)
	}
	for session := range shown {
		if b.starts[session] == nil {
			t.Errorf("session %s was up, and accounting does not know it", session)
		}
	}
	return b
}
