package accounting

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
)

// told is what the callers of a ledger were told: what must not be lost, and what may be there.
type told struct {
	mu       sync.Mutex
	started  map[string]bool // Start has returned nil
	tried    map[string]bool // Start was called
	stopped  map[string]bool // Stop has returned nil
	interims map[string][]uint64
	known    map[string]uint64 // InBytes of the last Interim or Checkpoint that has returned nil
}

// scenario plays sessions until it is through or the storage is cut off. Each session is of one goroutine.
func scenario(l *Ledger, say *told, round int, r *rand.Rand) {
	seeds := make([]uint64, 6)
	for i := range seeds {
		seeds[i] = r.Uint64()
	}
	_ = l.On("acme")
	var wg sync.WaitGroup
	for i, seed := range seeds {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 3))
			for n := range 2 {
				id := fmt.Sprintf("%d-%d-%d", round, i, n)
				time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
				if !say.session(l, id, r) {
					return
				}
			}
		})
	}
	wg.Wait()
	_ = l.Off("acme")
}

func (s *told) session(l *Ledger, id string, r *rand.Rand) bool {
	s.mu.Lock()
	s.tried[id] = true
	s.mu.Unlock()
	if l.Start(sessionAt("acme", id)) != nil {
		return false
	}
	s.note(func() { s.started[id] = true })
	for n := uint64(1); n < uint64(2+r.IntN(4)); n++ {
		time.Sleep(time.Duration(1+r.IntN(50)) * time.Millisecond)
		if r.IntN(3) == 0 {
			if l.Checkpoint([]Live{{id, counters(n)}}) != nil {
				return false
			}
			s.note(func() { s.known[id] = n })
			continue
		}
		if l.Interim(id, counters(n), time.Now()) != nil {
			return false
		}
		s.note(func() { s.interims[id] = append(s.interims[id], n); s.known[id] = n })
	}
	time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
	if l.Stop(id, counters(100), tenant.ReasonUserRequest, "", time.Now()) != nil {
		return false
	}
	s.note(func() { s.stopped[id] = true })
	return true
}

func (s *told) note(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// The storage is cut off at each of its commits, before and after it was done: whatever the moment, after the next start
// every session has one Start, its Interims and one Stop with what was last known of it, in order; and twice comes only
// what was acknowledged and not yet deleted in that moment.
func TestCutOffAtEveryCommit(t *testing.T) {
	cuts := 0
	for _, late := range []bool{false, true} {
		for cut := 1; ; cut++ {
			through := false
			synctest.Test(t, func(t *testing.T) { through = cutOff(t, cut, late) })
			if t.Failed() {
				t.Fatalf("cut off at commit %d, late %v", cut, late)
			}
			if through {
				break
			}
			cuts++
		}
	}
	if cuts < 60 {
		t.Errorf("only %d cuts", cuts)
	}
}

func cutOff(t *testing.T, cut int, late bool) (through bool) {
	r := rand.New(rand.NewPCG(uint64(cut), 4))
	say := &told{
		started: make(map[string]bool), tried: make(map[string]bool), stopped: make(map[string]bool),
		interims: make(map[string][]uint64), known: make(map[string]uint64),
	}
	sink := &recorder{}
	var slow sync.Mutex
	random := rand.New(rand.NewPCG(uint64(cut), 5))
	sink.answer = func(ctx context.Context, _ Record) error {
		slow.Lock()
		d, bad := time.Duration(random.IntN(20))*time.Millisecond, random.IntN(6) == 0
		slow.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		if bad {
			return errors.New("no answer")
		}
		return nil
	}
	// Two processes die, at commits that have nothing to do with each other, and the third lives.
	m := newMemory(t)
	m.cutAt, m.cutLate = cut, late
	unsure := 0
	for round := range 3 {
		if l, err := Open(config(m, sink)); err == nil {
			stop := run(l)
			scenario(l, say, round, r)
			if round == 2 {
				for range 100 { // it gives up when the sink has failed three times
					if err = l.Drain(t.Context()); err == nil {
						break
					}
				}
			}
			time.Sleep(time.Second)
			stop()
		} else if round == 2 {
			t.Error(err)
		}
		if round == 0 {
			through = m.fail == nil
		}
		for _, rec := range sink.records() {
			if _, err := m.reopened().Get(recordKey{rec.ID, rec.Status, rec.Tenant, sessionID(rec)}.String()); err == nil {
				unsure++
			}
		}
		m = m.reopened()
		if round == 0 {
			m.cutAt, m.cutLate = 1+cut/2, !late
		}
	}
	if n := m.count(recordPrefix) + m.count(livePrefix); n != 0 {
		t.Errorf("%d items are left", n)
	}
	checkTold(t, say, sink.records(), unsure)
	return through
}

func sessionID(r Record) string {
	if r.Session == nil {
		return ""
	}
	return r.Session.SessionID
}

func checkTold(t *testing.T, say *told, got []Record, unsure int) {
	t.Helper()
	seen := make(map[uint64]bool)
	sessions := make(map[string][]Record)
	last := make(map[string]uint64)
	doubled := 0
	for _, r := range got {
		if seen[r.ID] {
			doubled++
			continue
		}
		seen[r.ID] = true
		id := sessionID(r)
		if id != "" && r.ID < last[id] {
			t.Errorf("session %s: record %d after %d", id, r.ID, last[id])
		}
		last[id] = r.ID
		sessions[id] = append(sessions[id], r)
	}
	if doubled > unsure {
		t.Errorf("%d records came twice, of %d that were acknowledged and still stored", doubled, unsure)
	}
	for id := range say.started {
		if len(sessions[id]) == 0 {
			t.Errorf("session %s is lost", id)
		}
	}
	for id, records := range sessions {
		if id == "" {
			continue
		}
		if !say.tried[id] {
			t.Errorf("session %s never was", id)
		}
		n := len(records)
		if records[0].Status != Start || records[n-1].Status != Stop || n < 2 {
			t.Errorf("session %s: %q", id, tells(records))
			continue
		}
		var interims []uint64
		for _, r := range records[1 : n-1] {
			if r.Status != Interim {
				t.Errorf("session %s: %q", id, tells(records))
			}
			interims = append(interims, r.Counters.InBytes)
		}
		// One more may be there than the caller was told.
		want := say.interims[id]
		if len(interims) < len(want) || len(interims) > len(want)+1 {
			t.Errorf("session %s: Interims %v, want %v", id, interims, want)
		}
		for i, n := range want {
			if i < len(interims) && interims[i] != n {
				t.Errorf("session %s: Interims %v, want %v", id, interims, want)
			}
		}
		stop := records[n-1]
		switch {
		case say.stopped[id] && (stop.Crash || stop.Counters != counters(100)):
			t.Errorf("session %s: Stop %+v", id, stop)
		case stop.Crash && (stop.Counters.InBytes < say.known[id] || stop.Counters.InBytes > say.known[id]+1):
			t.Errorf("session %s: Stop with %d, known was %d", id, stop.Counters.InBytes, say.known[id])
		}
	}
}
