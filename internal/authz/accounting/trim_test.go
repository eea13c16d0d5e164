package accounting

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
)

// With servers that are silent for days, the oldest Interims of the tenant that has most go, and nothing else.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		down := &recorder{answer: func(context.Context, Record) error { return errNoAnswer }}
		cfg := config(m, down)
		cfg.MaxBytes = 200_000
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		l := mustOpen(t, cfg)
		stop := run(l)
		must(t, l.Start(sessionAt("small", "only")))
		must(t, l.Interim("only", counters(1), time.Now()))
		for i := range 10 {
			must(t, l.Start(sessionAt("acme", fmt.Sprint("s", i))))
		}
		interims := 0
		for n := range uint64(200) {
			for i := range 10 {
				if i == 9 && n > 3 {
					continue // one that falls silent
				}
				must(t, l.Interim(fmt.Sprint("s", i), counters(n), time.Now()))
				interims++
			}
			time.Sleep(time.Second)
			// One commit may be over it.
			if stored := stored(m); stored > cfg.MaxBytes+2000 {
				t.Fatalf("%d octets are stored", stored)
			}
		}
		for i := range 10 {
			must(t, l.Stop(fmt.Sprint("s", i), counters(1000), tenant.ReasonUserRequest, "", time.Now()))
		}
		st := l.Status("acme")[0]
		if st.Dropped == 0 || st.Unsent != 20+interims-int(st.Dropped) || st.UnsentBytes+l.Status("small")[0].UnsentBytes != stored(m) {
			t.Errorf("status %+v of %d Interims, stored are %d octets", st, interims, stored(m))
		}
		if n := strings.Count(log.String(), "oldest interim records were dropped"); n < 2 || n > 5 {
			t.Errorf("%d log lines in 200 s", n)
		}
		stop()

		// A smaller bound at the next start holds at once; what then is there is the youngest.
		cfg.MaxBytes = 100_000
		sink := &recorder{}
		cfg.Sink = func(string) (Sink, bool) { return sink, true }
		m = m.reopened()
		cfg.Storage = m
		l = mustOpen(t, cfg)
		if n := stored(m); n > cfg.MaxBytes || n < cfg.MaxBytes*9/10 {
			t.Errorf("%d octets are stored after a start with %d", n, cfg.MaxBytes)
		}
		defer run(l)()
		must(t, l.Drain(t.Context()))
		count := make(map[Status]int)
		first := make(map[string]uint64)
		for _, r := range sink.records() {
			count[r.Status]++
			if r.Status != Interim {
				continue
			}
			id := r.Session.SessionID
			if last, ok := first[id]; ok && r.Counters.InBytes != last+1 {
				t.Errorf("session %s: Interim %d after %d: one in the middle was dropped", id, r.Counters.InBytes, last)
			}
			first[id] = r.Counters.InBytes
		}
		if count[Start] != 11 || count[Stop] != 11 || count[Interim] < 50 {
			t.Errorf("got %v", count)
		}
		for i := range 9 {
			if id := fmt.Sprint("s", i); first[id] != 199 {
				t.Errorf("session %s: its last Interim is %d", id, first[id])
			}
		}
		if _, there := first["s9"]; there {
			t.Error("Interims of the silent session are left, which were the oldest")
		}
		if first["only"] != 1 {
			t.Error("the Interim of the small tenant was dropped")
		}
	})
}

// stored is what the records take.
func stored(m *memory) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.items {
		if strings.HasPrefix(k, recordPrefix) {
			n += int64(len(k) + len(v))
		}
	}
	return n
}

// When all that waits are Starts and Stops, there are more than the bound.
func TestFullOfStops(t *testing.T) {
	m := newMemory(t)
	cfg := config(m, &recorder{})
	cfg.MaxBytes = 1000
	l := mustOpen(t, cfg)
	for i := range 100 {
		id := fmt.Sprint("s", i)
		must(t, l.Start(sessionOf("acme", id)))
		must(t, l.Interim(id, Counters{}, begin))
		must(t, l.Stop(id, Counters{}, tenant.ReasonUserRequest, "", begin))
	}
	l = mustOpen(t, Config{Storage: m.reopened(), Sink: cfg.Sink, Log: quiet(), MaxBytes: 1000})
	if st := l.Status("acme")[0]; st.Unsent != 200 {
		t.Errorf("status %+v", st)
	}
}

// Nothing is lost from the index when the storage can't drop.
func TestFullAndFailing(t *testing.T) {
	m := newMemory(t)
	cfg := config(m, &recorder{})
	cfg.MaxBytes = 3000
	l := mustOpen(t, cfg)
	must(t, l.Start(sessionOf("acme", "s1")))
	for n := range uint64(10) {
		must(t, l.Interim("s1", counters(n), begin))
	}
	before := tells(unsent(l, "acme"))
	m.setFail(errCut)
	for range 3 {
		if l.Interim("s1", counters(11), begin) == nil {
			t.Error("Interim returned nil")
		}
	}
	m.setFail(nil)
	if after := tells(unsent(l, "acme")); len(after) != len(before) {
		t.Errorf("%q, before %q", after, before)
	}
	must(t, l.Interim("s1", counters(12), begin))
	must(t, l.Interim("s1", counters(13), begin))
	if st := l.Status("acme")[0]; st.UnsentBytes != stored(m) {
		t.Errorf("status %+v, stored are %d", st, stored(m))
	}
}

// What is with the sink is not dropped under its hands; its session's other Interims are.
func TestFullWhileUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		hang := make(chan struct{}, 1)
		sink := &recorder{answer: func(context.Context, Record) error {
			<-hang
			return nil
		}}
		cfg := config(m, sink)
		cfg.MaxBytes = 5000
		l := mustOpen(t, cfg)
		must(t, l.Start(sessionAt("acme", "s1")))
		stop := run(l)
		synctest.Wait()
		hang <- struct{}{} // the Start goes, the first Interim hangs
		for n := range uint64(40) {
			must(t, l.Interim("s1", counters(n), time.Now()))
			synctest.Wait()
		}
		if st := l.Status("acme")[0]; st.Dropped < 20 || st.UnsentBytes > cfg.MaxBytes+1000 || st.UnsentBytes != stored(m) {
			t.Errorf("status %+v, stored are %d octets", st, stored(m))
		}
		close(hang)
		must(t, l.Drain(t.Context()))
		stop()
		st, got := l.Status("acme")[0], sink.records()
		if st.Dropped+st.Sent != 41 || st.Sent != uint64(len(got)) || st.Unsent != 0 || st.UnsentBytes != 0 || m.count(recordPrefix) != 0 {
			t.Errorf("status %+v, got %q", st, tells(got))
		}
		if got[1].Counters != counters(0) || got[len(got)-1].Counters != counters(39) {
			t.Errorf("got %+v to %+v", got[1], got[len(got)-1])
		}
	})
}
