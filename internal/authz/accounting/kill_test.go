package accounting

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
)

// bolted is a Storage in a bolt file, as the daemon has it.
type bolted struct{ db *bolt.DB }

func (b bolted) Load(fn func(string, []byte) error) error {
	for r := (store.Range{}); ; {
		items, _, more, err := b.db.List(context.Background(), r)
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := fn(item.Key, item.Value); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		r.Start = items[len(items)-1].Key + "\x00"
	}
}

func (b bolted) Get(key string) ([]byte, error) {
	item, err := b.db.Get(context.Background(), key)
	return item.Value, err
}

func (b bolted) Commit(puts []Item, deletes []string) error {
	ops := make([]store.Op, 0, len(puts)+len(deletes))
	for _, p := range puts {
		ops = append(ops, store.Op{Key: p.Key, Value: p.Value})
	}
	for _, key := range deletes {
		ops = append(ops, store.Op{Key: key, Delete: true})
	}
	_, _, err := b.db.Commit(context.Background(), nil, ops)
	return err
}

// killDir in the environment makes this test binary the process that TestKill kills.
const killDir = "CONCENTRATOR_ACCOUNTING_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Println("error:", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// openIn opens the ledger of TestKill.
func openIn(dir string) (*Ledger, *File, *bolt.DB, error) {
	db, err := bolt.OpenWith(filepath.Join(dir, "accounting.db"), bolt.Options{LogRevisions: 100})
	if err != nil {
		return nil, nil, nil, err
	}
	file, err := NewFile(filepath.Join(dir, "accounting.log"), 1<<30)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := Open(config(bolted{db}, file))
	return l, file, db, err
}

// victim plays sessions without end, and says what it was told, each time as soon as it was.
func victim(dir string) error {
	l, _, _, err := openIn(dir)
	if err != nil {
		return err
	}
	run(l)
	if err := l.On("acme"); err != nil {
		return err
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		_, _ = os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n") // straight to the pipe
	}
	failed := make(chan error)
	for w := range 20 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, n)
				if err := victimSession(l, id, say); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

func victimSession(l *Ledger, id string, say func(string, ...any)) error {
	say("tried %s 0", id)
	if err := l.Start(sessionAt("acme", id)); err != nil {
		return err
	}
	say("started %s 0", id)
	for i := uint64(1); i < 4+rand.Uint64N(10); i++ {
		if rand.IntN(4) == 0 {
			if err := l.Checkpoint([]Live{{id, counters(i)}}); err != nil {
				return err
			}
			say("checkpoint %s %d", id, i)
			continue
		}
		if err := l.Interim(id, counters(i), time.Now()); err != nil {
			return err
		}
		say("interim %s %d", id, i)
	}
	if err := l.Stop(id, counters(100), tenant.ReasonUserRequest, "", time.Now()); err != nil {
		return err
	}
	say("stopped %s 0", id)
	return nil
}

// hear takes one line of the victim.
func (s *told) hear(t *testing.T, line string) {
	t.Helper()
	var what, id string
	var n uint64
	if _, err := fmt.Sscanf(line, "%s %s %d", &what, &id, &n); err != nil {
		t.Fatalf("the process said %q", line)
	}
	switch what {
	case "tried":
		s.tried[id] = true
	case "started":
		s.started[id] = true
	case "stopped":
		s.stopped[id] = true
	case "interim":
		s.interims[id] = append(s.interims[id], n)
		s.known[id] = n
	case "checkpoint":
		s.known[id] = n
	}
}

// A process with a bolt file and a file sink is killed again and again: nothing it was told is lost, every session has one
// Stop, and twice come at most the records that were under way.
func TestKill(t *testing.T) {
	const rounds = 6
	dir := t.TempDir()
	say := &told{
		started: make(map[string]bool), tried: make(map[string]bool), stopped: make(map[string]bool),
		interims: make(map[string][]uint64), known: make(map[string]uint64),
	}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		pipe, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		deadline := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			say.hear(t, lines.Text())
			if n == 100+137*round { // then read on what it said before it died
				must(t, cmd.Process.Kill())
			}
		}
		deadline.Stop()
		_ = cmd.Wait()
	}
	l, file, db, err := openIn(dir)
	must(t, err)
	defer db.Close()
	defer file.Close()
	defer run(l)()
	must(t, l.Drain(t.Context()))

	b, err := os.ReadFile(filepath.Join(dir, "accounting.log"))
	must(t, err)
	var got []Record
	for line := range strings.Lines(string(b)) {
		var f lineForm
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		r := Record{ID: f.ID, Crash: f.Crash}
		for s := Start; s <= Off; s++ {
			if s.String() == f.Status {
				r.Status = s
			}
		}
		if f.Session != "" {
			r.Session = &Session{}
			r.Session.SessionID = string(f.Session)
			r.Counters = Counters{*f.InBytes, *f.OutBytes, *f.InPackets, *f.OutPackets}
		}
		got = append(got, r)
	}
	checkTold(t, say, got, rounds*defaultConcurrency)
	if len(say.started) < 50 || len(got) < 500 {
		t.Errorf("only %d sessions and %d records", len(say.started), len(got))
	}
	t.Logf("%d sessions, %d records", len(say.started), len(got))
}
