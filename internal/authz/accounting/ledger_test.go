package accounting

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
)

func TestLifeOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, sink := newMemory(t), &recorder{}
		l := mustOpen(t, config(m, sink))
		defer run(l)()
		s := sessionOf("acme", "s1")
		must(t, l.On("acme"))
		must(t, l.Start(s))
		must(t, l.Interim("s1", counters(10), begin.Add(5*time.Minute)))
		changed := s
		changed.Class, changed.Tenant, changed.Started = [][]byte{[]byte("new")}, "other", begin.Add(time.Hour)
		must(t, l.Update(changed))
		changed.Class[0][0] = 'X' // the ledger has its own
		must(t, l.Stop("s1", counters(20), tenant.ReasonIdleTimeout, "quiet", begin.Add(10*time.Minute)))
		must(t, l.Off("acme"))
		must(t, l.Drain(t.Context()))

		got := sink.records()
		after := s
		after.Class = [][]byte{[]byte("new")}
		on, off := got[0].Time, got[len(got)-1].Time
		want := []Record{
			{ID: 1, Status: On, Tenant: "acme", Time: on},
			{ID: 2, Status: Start, Tenant: "acme", Time: begin, Session: &s},
			{ID: 3, Status: Interim, Tenant: "acme", Time: begin.Add(5 * time.Minute), Session: &s, Counters: counters(10), Duration: 5 * time.Minute},
			{
				ID: 4, Status: Stop, Tenant: "acme", Time: begin.Add(10 * time.Minute), Session: &after, Counters: counters(20),
				Duration: 10 * time.Minute, Cause: tenant.ReasonIdleTimeout, Detail: "quiet",
			},
			{ID: 5, Status: Off, Tenant: "acme", Time: off},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
		if time.Since(on) != 0 || time.Since(off) != 0 {
			t.Errorf("On at %s and Off at %s, now is %s", on, off, time.Now())
		}
		if n := len(m.items); n != 1 { // meta
			t.Errorf("%d items are left: %v", n, m.items)
		}
		st := l.Status("acme")
		if len(st) != 1 || st[0].Sent != 5 || st[0].Unsent != 0 || st[0].UnsentBytes != 0 || st[0].Live != 0 || !st[0].Oldest.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

func TestUnknownAndKnownSessions(t *testing.T) {
	l := mustOpen(t, config(newMemory(t), &recorder{}))
	must(t, l.Start(sessionOf("acme", "s1")))
	if err := l.Start(sessionOf("acme", "s1")); !errors.Is(err, ErrKnownSession) {
		t.Errorf("second Start: %v", err)
	}
	must(t, l.Stop("s1", Counters{}, tenant.ReasonUserRequest, "", begin))
	for name, err := range map[string]error{
		"Update": l.Update(sessionOf("acme", "s1")), "Interim": l.Interim("s1", Counters{}, begin),
		"Stop": l.Stop("s1", Counters{}, tenant.ReasonUserRequest, "", begin),
	} {
		if !errors.Is(err, ErrUnknownSession) {
			t.Errorf("%s after the Stop: %v", name, err)
		}
	}
	must(t, l.Checkpoint([]Live{{ID: "s1"}}))
	for name, s := range map[string]Session{
		"no ID": sessionOf("acme", ""), "no tenant": sessionOf("", "s2"), "long ID": sessionOf("acme", strings.Repeat("x", 2000)),
	} {
		if l.Start(s) == nil {
			t.Errorf("%s: Start took it", name)
		}
	}
	big := sessionOf("acme", "s3")
	big.Class = [][]byte{make([]byte, maxValue)}
	if l.Start(big) == nil {
		t.Error("Start took a session that no item holds")
	}
	if got := tells(unsent(l, "acme")); !slices.Equal(got, []string{"START s1", "STOP s1"}) {
		t.Errorf("records %q", got)
	}
}

func unsent(l *Ledger, tenant string) []Record {
	r, _ := l.Unsent(tenant, 0, 0)
	return r
}

// Many callers share commits.
func TestGroupCommit(t *testing.T) {
	m := newMemory(t)
	slow := &slowStorage{memory: m, gate: make(chan struct{})}
	l := mustOpen(t, config(slow, &recorder{}))
	const n = 490
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { must(t, l.Start(sessionOf("acme", fmt.Sprint("s", i)))) })
	}
	for { // until all are queued but for those in the first commit
		l.mu.Lock()
		queued := len(l.queue)
		l.mu.Unlock()
		if queued > n-50 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(slow.gate)
	wg.Wait()
	if m.commits > 12 {
		t.Errorf("%d commits for %d sessions", m.commits, n)
	}
	if got := len(unsent(l, "acme")); got != n {
		t.Errorf("%d records", got)
	}
}

// Calls for one session that wait together are still done one after the other.
func TestOneSessionInOneCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		slow := &slowStorage{memory: m, gate: make(chan struct{})}
		l := mustOpen(t, config(slow, &recorder{}))
		var wg sync.WaitGroup
		for _, call := range []func() error{
			func() error { return l.Start(sessionOf("acme", "s1")) },
			func() error { return l.Interim("s1", counters(1), begin) },
			func() error { return l.Update(sessionOf("acme", "s1")) },
			func() error { return l.Stop("s1", counters(2), tenant.ReasonUserRequest, "", begin) },
			func() error { return l.Start(sessionOf("acme", "s2")) },
		} {
			wg.Go(func() { must(t, call()) })
			synctest.Wait() // it is queued
		}
		close(slow.gate)
		wg.Wait()
		if got := tells(unsent(l, "acme")); !slices.Equal(got, []string{"START s1", "INTERIM s1", "STOP s1", "START s2"}) {
			t.Errorf("records %q", got)
		}
		if n := m.count(livePrefix); n != 1 {
			t.Errorf("%d live sessions are stored", n)
		}
	})
}

// slowStorage holds commits back until gate is closed.
type slowStorage struct {
	*memory
	gate chan struct{}
}

func (s *slowStorage) Commit(puts []Item, deletes []string) error {
	<-s.gate
	return s.memory.Commit(puts, deletes)
}

// A Stop that the storage does not take is kept, and written when it does.
func TestStopSurvivesFailingStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, sink := newMemory(t), &recorder{}
		l := mustOpen(t, config(m, sink))
		defer run(l)()
		must(t, l.Start(sessionOf("acme", "s1")))
		synctest.Wait()
		full := errors.New("no space")
		m.setFail(full)
		if err := l.Stop("s1", counters(9), tenant.ReasonUserRequest, "bye", begin.Add(time.Minute)); !errors.Is(err, full) {
			t.Fatalf("Stop: %v", err)
		}
		if err := l.Interim("s1", counters(10), begin); !errors.Is(err, ErrUnknownSession) {
			t.Errorf("Interim after Stop: %v", err)
		}
		if err := l.Start(sessionOf("acme", "s2")); !errors.Is(err, full) {
			t.Errorf("Start: %v", err)
		}
		time.Sleep(10 * time.Second)
		m.setFail(nil)
		time.Sleep(2 * storageRetry)
		got := sink.records()
		if want := []string{"START s1", "STOP s1"}; !slices.Equal(tells(got), want) {
			t.Fatalf("got %q, want %q", tells(got), want)
		}
		if r := got[1]; r.Counters != counters(9) || r.Detail != "bye" || r.Cause != tenant.ReasonUserRequest || r.Crash {
			t.Errorf("Stop %+v", r)
		}
		must(t, l.Start(sessionOf("acme", "s2"))) // its first Start has left nothing behind
	})
}

// What a Sink has acknowledged is not sent again while the storage can't delete it, and the session waits.
func TestAcknowledgedIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		sink := &recorder{}
		l := mustOpen(t, config(m, sink))
		must(t, l.Start(sessionOf("acme", "s1")))
		must(t, l.Interim("s1", counters(1), begin))
		sink.answer = func(context.Context, Record) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.cutAt = m.commits + 1 // the deletion
			return nil
		}
		stop := run(l)
		time.Sleep(time.Minute)
		if got := tells(sink.records()); !slices.Equal(got, []string{"START s1"}) {
			t.Errorf("sent %q while the storage fails", got)
		}
		stop()
		sink.answer = nil
		stop = run(l) // another Run knows it too
		time.Sleep(time.Minute)
		m.mu.Lock()
		m.fail, m.cutAt = nil, 0
		m.mu.Unlock()
		time.Sleep(time.Minute)
		stop()
		if got := tells(sink.records()); !slices.Equal(got, []string{"START s1", "INTERIM s1"}) {
			t.Errorf("sent %q", got)
		}
	})
}

func TestCheckpointCountsAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		l := mustOpen(t, config(m, &recorder{}))
		for i := range 5000 {
			must(t, l.Start(sessionAt("acme", fmt.Sprintf("%026d", i))))
		}
		begun := time.Now()
		time.Sleep(time.Minute)
		var live []Live
		for i := range 5000 {
			live = append(live, Live{fmt.Sprintf("%026d", i), counters(uint64(i))})
		}
		commits := m.commits
		must(t, l.Checkpoint(live))
		if n := m.commits - commits; n > 2 {
			t.Errorf("a checkpoint took %d commits", n)
		}
		first := time.Now()
		time.Sleep(time.Minute)
		must(t, l.Checkpoint([]Live{{live[7].ID, counters(7777)}, {"no such", counters(1)}})) // the others keep theirs
		second := time.Now()
		time.Sleep(time.Minute)
		must(t, l.Interim(live[8].ID, counters(8888), time.Now()))
		third := time.Now()
		chunks := m.count(checkpointPrefix)
		if chunks < 2 || chunks > 5 {
			t.Errorf("%d checkpoint items", chunks)
		}
		for range 3 {
			must(t, l.Checkpoint(nil))
		}
		if n := m.count(checkpointPrefix); n != chunks {
			t.Errorf("%d checkpoint items after more of them, %d before", n, chunks)
		}

		m = m.reopened()
		l = mustOpen(t, config(m, &recorder{}))
		defer func() {
			must(t, l.Checkpoint(nil)) // of nobody: takes away what the process before has left
			if n := m.count(checkpointPrefix); n != 0 {
				t.Errorf("%d checkpoint items are left", n)
			}
		}()
		stops := 0
		for after := uint64(0); ; {
			records, more := l.Unsent("acme", after, 0)
			for _, r := range records {
				after = r.ID
				if r.Status != Stop {
					continue
				}
				stops++
				var i uint64
				if _, err := fmt.Sscanf(r.Session.SessionID, "%d", &i); err != nil {
					t.Fatal(err)
				}
				want, at := counters(i), first
				switch i {
				case 7:
					want, at = counters(7777), second
				case 8:
					want, at = counters(8888), third
				}
				if r.Counters != want || !r.Time.Equal(at) || !r.Crash || r.Cause != "" || r.Duration != at.Sub(begun) {
					t.Fatalf("session %d: %+v, want %+v at %s", i, r, want, at)
				}
			}
			if !more {
				break
			}
		}
		if stops != 5000 {
			t.Errorf("%d Stops", stops)
		}
	})
}

// A clock that is set back does not make a checkpoint count less.
func TestCheckpointAfterTheClockWasSetBack(t *testing.T) {
	m := newMemory(t)
	now := begin.Add(time.Hour)
	cfg := config(m, &recorder{})
	cfg.Now = func() time.Time { return now }
	l := mustOpen(t, cfg)
	must(t, l.Start(sessionOf("acme", "s1")))
	must(t, l.Interim("s1", counters(5), now))
	now = begin.Add(time.Minute)
	must(t, l.Checkpoint([]Live{{"s1", counters(6)}}))
	must(t, l.Checkpoint([]Live{{"s1", counters(4)}})) // late, of another goroutine
	records := unsent(mustOpen(t, config(m.reopened(), &recorder{})), "acme")
	if r := records[len(records)-1]; r.Status != Stop || r.Counters != counters(6) || !r.Time.Equal(now) {
		t.Errorf("%+v", r)
	}
}

// How long a session of the process before has lived is what that process knew, and not the difference of two times of a clock that
// was set between them; of a file that does not say it, it is.
func TestAgeOfTheDead(t *testing.T) {
	for _, c := range []struct {
		name             string
		set, age         time.Duration
		checkpoint, want time.Duration
	}{
		{"the clock was set on", 26 * time.Hour, 12 * time.Second, 0, 12 * time.Second},
		{"the clock was set back", -48 * time.Hour, 12 * time.Second, 0, 12 * time.Second},
		{"and a checkpoint knows more", -48 * time.Hour, 12 * time.Second, 15 * time.Second, 15 * time.Second},
		{"and one knows less", 26 * time.Hour, 12 * time.Second, 5 * time.Second, 12 * time.Second},
		{"it is not said", time.Minute, 0, 0, time.Minute},
	} {
		m := newMemory(t)
		s := sessionOf("acme", "s1")
		at := s.Started.Add(c.set)
		item, err := (&liveSession{session: s, at: at, age: c.age}).item()
		must(t, err)
		m.items = map[string][]byte{item.Key: item.Value}
		if c.checkpoint != 0 {
			m.items[checkpointKey(1)], err = seal(&checkpointForm{[]checkpointEntry{{ID: "s1", Time: at, Age: c.checkpoint}}})
			must(t, err)
		}
		records := unsent(mustOpen(t, config(m, &recorder{})), "acme")
		if len(records) != 1 || records[0].Status != Stop || records[0].Duration != c.want {
			t.Errorf("%s: %+v, want a Stop after %v", c.name, records, c.want)
		}
	}
}

// sessionAt is a session that begins now.
func sessionAt(tenantID, id string) Session {
	s := sessionOf(tenantID, id)
	s.Started = time.Now()
	return s
}

// An ID is never used twice, though all records have gone.
func TestIDsAreUnique(t *testing.T) {
	m := newMemory(t)
	seen := make(map[uint64]bool)
	for round := range 3 {
		sink := &recorder{}
		l := mustOpen(t, config(m, sink))
		stop := run(l)
		must(t, l.Start(sessionOf("acme", fmt.Sprint("s", round))))
		must(t, l.Drain(t.Context()))
		stop()
		for _, r := range sink.records() {
			if seen[r.ID] {
				t.Errorf("round %d: %s has the ID %d of another record", round, r.Status, r.ID)
			}
			seen[r.ID] = true
		}
		m = m.reopened()
	}
	if len(seen) != 5 { // three Starts and, of those that the next round found alive, two Stops
		t.Errorf("%d records were sent", len(seen))
	}
}

func TestOpenNamesACorruptItem(t *testing.T) {
	m := newMemory(t)
	l := mustOpen(t, config(m, &recorder{}))
	must(t, l.Start(sessionOf("acme", "s1")))
	must(t, l.Checkpoint(nil))
	if len(m.items) != 4 {
		t.Fatalf("%d items", len(m.items))
	}
	for key, value := range m.items {
		for name, bad := range map[string]struct {
			value string
			want  error
		}{
			"bit": {string(value[:20]) + "\x00" + string(value[21:]), ErrCorrupt}, "new": {"2 x", ErrTooNew}, "empty": {"", ErrCorrupt},
		} {
			broken := m.reopened()
			broken.items[key] = []byte(bad.value)
			if _, err := Open(config(broken, &recorder{})); !errors.Is(err, bad.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
				t.Errorf("%s of %s: %v", name, key, err)
			}
			if len(broken.items) != 4 {
				t.Errorf("%s of %s: Open has changed the storage", name, key)
			}
		}
	}
	odd := m.reopened()
	odd.items["odd"] = []byte("x")
	if _, err := Open(config(odd, &recorder{})); !errors.Is(err, ErrCorrupt) {
		t.Errorf("unknown key: %v", err)
	}
}

func TestUnsentPages(t *testing.T) {
	l := mustOpen(t, config(newMemory(t), &recorder{}))
	for i := range 4 {
		must(t, l.Start(sessionOf("acme", fmt.Sprint("s", i))))
		must(t, l.Start(sessionOf("other", fmt.Sprint("o", i))))
	}
	must(t, l.On("acme"))
	for i := range 4 {
		must(t, l.Interim(fmt.Sprint("s", 3-i), Counters{}, begin))
	}
	var all []string
	pages := 0
	for after := uint64(0); ; pages++ {
		page, more := l.Unsent("acme", after, 2)
		all = append(all, tells(page)...)
		if !more {
			break
		}
		after = page[len(page)-1].ID
	}
	want := []string{
		"START s0", "START s1", "START s2", "START s3", "ON", "INTERIM s3", "INTERIM s2", "INTERIM s1", "INTERIM s0",
	}
	if !slices.Equal(all, want) || pages != 4 {
		t.Errorf("%d further pages: %q\nwant %q", pages, all, want)
	}
	st := l.Status("")
	if len(st) != 2 || st[0].Tenant != "acme" || st[0].Unsent != 9 || st[0].Live != 4 || !st[0].Oldest.Equal(begin) {
		t.Errorf("status %+v", st)
	}
	if r, more := l.Unsent("nobody", 0, 0); len(r) != 0 || more || len(l.Status("nobody")) != 0 {
		t.Error("a tenant without records has some")
	}
}
