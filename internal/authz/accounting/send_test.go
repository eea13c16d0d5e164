package accounting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
)

var errNoAnswer = errors.New("no server answered")

// A sink that is down is tried after pauses that double up to a minute, one record at a time; then all comes in order.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tries []time.Time
		down := true
		sink := &recorder{answer: func(context.Context, Record) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				tries = append(tries, time.Now())
				return errNoAnswer
			}
			return nil
		}}
		l := mustOpen(t, config(newMemory(t), sink))
		defer run(l)()
		must(t, l.Start(sessionAt("acme", "s1")))
		for n := range uint64(300) {
			time.Sleep(10 * time.Second)
			must(t, l.Interim("s1", counters(n), time.Now()))
		}
		must(t, l.Stop("s1", counters(300), tenant.ReasonUserRequest, "", time.Now()))
		synctest.Wait()
		st := l.Status("acme")[0]
		if st.Unsent != 302 || st.Failures != uint64(len(tries)) || st.LastError != errNoAnswer.Error() || st.Sent != 0 {
			t.Errorf("status %+v", st)
		}
		if n := len(tries); n < 50 || n > 75 {
			t.Errorf("%d tries in 3000 s", n)
		}
		for i := 1; i < len(tries); i++ {
			pause := tries[i].Sub(tries[i-1])
			if least := min(time.Second<<(i-1), time.Minute) * 3 / 4; i < 8 && pause < least || pause > 76*time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		mu.Lock()
		down = false
		mu.Unlock()
		recovered := time.Now()
		time.Sleep(80 * time.Second)
		got := sink.records()
		if len(got) != 302 || got[0].Status != Start || got[301].Status != Stop {
			t.Fatalf("%d records", len(got))
		}
		for n := range uint64(300) {
			if r := got[n+1]; r.Status != Interim || r.Counters != counters(n) || r.Time.After(recovered) {
				t.Fatalf("record %d: %+v", n+1, r)
			}
		}
		if got[0].Attempts != len(tries) || got[1].Attempts != 0 {
			t.Errorf("attempts %d and %d, want %d and 0", got[0].Attempts, got[1].Attempts, len(tries))
		}
	})
}

func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var now Sink // nil: none
		set := func(s Sink) {
			mu.Lock()
			defer mu.Unlock()
			now = s
		}
		cfg := config(newMemory(t), nil)
		cfg.Sink = func(string) (Sink, bool) {
			mu.Lock()
			defer mu.Unlock()
			return now, now != nil
		}
		l := mustOpen(t, cfg)
		defer run(l)()
		must(t, l.Start(sessionAt("acme", "s1")))
		must(t, l.Start(sessionAt("acme", "s2")))
		time.Sleep(time.Hour)
		if err := l.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "2 records") {
			t.Errorf("Drain without a sink: %v", err)
		}
		set(&recorder{answer: func(context.Context, Record) error { return errNoAnswer }})
		time.Sleep(time.Hour) // found without a poke; now it fails, and long pauses have come
		well := &recorder{}
		set(well)
		l.Poke("other")
		synctest.Wait()
		if n := len(well.records()); n != 0 {
			t.Errorf("%d records went when another tenant was poked", n)
		}
		l.Poke("acme")
		synctest.Wait()
		if got := tells(well.records()); len(got) != 2 {
			t.Errorf("after a poke: %q", got)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy, most := make(map[string]int), make(map[string]int)
		sink := &recorder{answer: func(_ context.Context, r Record) error {
			mu.Lock()
			busy[r.Tenant]++
			most[r.Tenant] = max(most[r.Tenant], busy[r.Tenant])
			mu.Unlock()
			time.Sleep(200 * time.Millisecond)
			mu.Lock()
			busy[r.Tenant]--
			mu.Unlock()
			return nil
		}}
		l := mustOpen(t, config(newMemory(t), sink))
		for i := range 200 {
			must(t, l.Start(sessionAt("acme", fmt.Sprint("a", i))))
			must(t, l.Start(sessionAt("other", fmt.Sprint("o", i))))
		}
		defer run(l)()
		begun := time.Now()
		must(t, l.Drain(t.Context()))
		if most["acme"] != 32 || most["other"] != 32 {
			t.Errorf("at once under way: %v", most)
		}
		if took := time.Since(begun); took > 1500*time.Millisecond { // 200 / 32 rounds
			t.Errorf("took %s", took)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &recorder{answer: func(_ context.Context, r Record) error {
			switch r.Tenant {
			case "down":
				return errNoAnswer
			case "hangs":
				time.Sleep(time.Hour)
			}
			return nil
		}}
		l := mustOpen(t, config(newMemory(t), sink))
		stop := run(l)
		must(t, l.Drain(t.Context())) // nothing to do
		must(t, l.Start(sessionAt("down", "d1")))
		must(t, l.Start(sessionAt("well", "w1")))
		begun := time.Now()
		if err := l.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "1 records") {
			t.Errorf("Drain: %v", err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("a server that is down held Drain up for %s", took)
		}
		must(t, l.Start(sessionAt("hangs", "h1")))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun = time.Now()
		if l.Drain(ctx) == nil || time.Since(begun) != 5*time.Second {
			t.Errorf("Drain came back after %s", time.Since(begun))
		}
		if got := tells(sink.records()); !slices.Equal(got, []string{"START w1"}) {
			t.Errorf("sent %q", got)
		}
		time.Sleep(2 * time.Hour)
		stop()
	})
}

// What is called off by the end of Run is no failure of the sink, and goes with the next Run.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &recorder{answer: func(ctx context.Context, _ Record) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		l := mustOpen(t, config(newMemory(t), sink))
		must(t, l.Start(sessionAt("acme", "s1")))
		ctx, cancel := context.WithCancelCause(t.Context())
		over := errors.New("over")
		time.AfterFunc(time.Minute, func() { cancel(over) })
		if err := l.Run(ctx); !errors.Is(err, over) {
			t.Errorf("Run: %v", err)
		}
		if st := l.Status("acme")[0]; st.Failures != 0 || st.Unsent != 1 {
			t.Errorf("status %+v", st)
		}
		must(t, l.Start(sessionAt("acme", "s2"))) // while nothing runs
		sink.answer = nil
		defer run(l)()
		must(t, l.Drain(t.Context()))
		if got := tells(sink.records()); len(got) != 2 {
			t.Errorf("sent %q", got)
		}
	})
}

// Restarts with a silent server don't pile up Ons; and On comes after the Stops of the dead and before what is new.
func TestOnAndOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		l := mustOpen(t, config(m, &recorder{}))
		must(t, l.On("acme"))
		must(t, l.Start(sessionAt("acme", "s1")))
		must(t, l.Start(sessionAt("acme", "s2")))
		for range 3 {
			m = m.reopened()
			l = mustOpen(t, config(m, &recorder{}))
			must(t, l.On("acme"))
			must(t, l.On("acme"))
		}
		sink := &recorder{}
		l = mustOpen(t, config(m.reopened(), sink))
		must(t, l.On("acme"))
		must(t, l.Start(sessionAt("acme", "s3")))
		must(t, l.On("acme")) // not the last record any more: this one counts
		must(t, l.Off("acme"))
		defer run(l)()
		must(t, l.Drain(t.Context()))
		got := tells(sink.records())
		slices.Sort(got[1:5]) // sessions go side by side
		want := []string{"ON", "START s1", "START s2", "STOP s1", "STOP s2", "ON", "START s3", "ON", "OFF"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
