//go:build interop

package flood

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/simclient/traffic"
)

// What everybody else may notice of a flood.
const (
	maxLoss   = 0.01            // share of the standing sessions' packets
	maxGrowth = 64 << 20        // of resident memory, octets
	recovery  = 5 * time.Second // until all is as before
	maxLines  = 150             // of the log in a flood, and so many more for each second of it
	lineRate  = 20
)

// flooder floods until ctx ends, and says how often it did what it does.
type flooder func(ctx context.Context) (int, error)

// flood is one way to mean harm.
type flood struct {
	name string
	// begin gets ready and returns what floods.
	begin func(t *testing.T, w *world) flooder
	// answers: it takes turns with the daemon, so that what arrives is bounded by the daemon too.
	answers bool
	// dropped are metrics of which at least one must have grown: a part of the name and labels each.
	dropped []string
	// strangers: who is new may have to ask again, which takes a client seconds; lockout: may not come in for a while.
	strangers, lockout bool
}

// TestFloods: under each flood a log-in takes at most twice as long as without, standing sessions lose less than 1 %, memory
// is bounded, the log too, and five seconds later all is as it was.
func TestFloods(t *testing.T) {
	w := newWorld(t)
	w.calm(t)
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) { w.flood(t, f) })
	}
	for i, s := range w.sessions {
		if err := s.Err(); err != nil {
			t.Errorf("standing session %d has ended: %v", i, err)
		}
	}
}

// outcome is what was seen during a flood.
type outcome struct {
	sent    int
	err     error
	traffic *traffic.Report
	lost    error
	logins  *logins
	before  int // resident memory when it began, octets
	memory  int // the most that it was
}

// flood runs one flood and looks at what comes of it.
func (w *world) flood(t *testing.T, f flood) {
	send := f.begin(t, w)
	before, arrived, lines := w.daemon.Metrics(t), w.arrived(t), w.lines(t)
	o := w.during(t, f, send)
	arrived = w.arrived(t) - arrived
	after := w.recovered(t, f.lockout)
	lines = w.lines(t) - lines
	grown := growth(before, w.daemon.Metrics(t))
	w.judge(t, f, o, arrived, lines, grown, after)
}

// during floods for a while, with traffic and log-ins under way.
func (w *world) during(t *testing.T, f flood, send flooder) *outcome {
	t.Helper()
	o := &outcome{before: w.daemon.Resident(t)}
	ctx, cancel := context.WithTimeout(t.Context(), floodTime)
	defer cancel()
	done := make(chan struct{}, 3)
	run := func(f func()) {
		go func() {
			f()
			done <- struct{}{}
		}()
	}
	run(func() { o.traffic, o.lost = w.run(ctx) })
	run(func() {
		if f.strangers || f.lockout {
			o.logins = w.measureBeside(ctx)
			return
		}
		o.logins = w.measure(func(int) bool { return ctx.Err() == nil })
	})
	run(func() { o.sent, o.err = send(ctx) })
	const look = 50 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for left := cap(done); left > 0; {
		select {
		case <-done:
			left--
		case <-ticker.C:
			o.memory = max(o.memory, w.daemon.Resident(t))
		}
	}
	return o
}

// growth is which metrics of what was dropped or refused have grown, and by how much.
func growth(before, after map[string]float64) map[string]float64 {
	grown := map[string]float64{}
	for series, v := range after {
		told := slices.ContainsFunc([]string{"drop", "refused", "REFUSED", "Unauthenticated"}, func(part string) bool {
			return strings.Contains(series, part)
		})
		if more := v - before[series]; told && more > 0 {
			grown[strings.TrimPrefix(series, "concentrator_")] = more
		}
	}
	return grown
}

func mib(octets int) float64 { return float64(octets) / (1 << 20) }

// judge compares what was seen with what may be.
func (w *world) judge(t *testing.T, f flood, o *outcome, arrived, lines int, grown map[string]float64, after time.Duration) {
	t.Helper()
	seconds := floodTime.Seconds()
	t.Logf("%d sent, %d packets arrived: %.0f a second", o.sent, arrived, float64(arrived)/seconds)
	if o.err != nil {
		t.Errorf("the flood: %v", o.err)
	}
	if o.sent == 0 || !f.answers && arrived < o.sent {
		t.Errorf("%d packets have arrived of %d", arrived, o.sent)
	}
	for _, k := range kinds {
		median, err := o.logins.median(k), o.logins.failed[k]
		t.Logf("%v: median %v of %d, without a flood %v", k, median, len(o.logins.took[k]), w.quiet[k])
		if k.fresh && (f.strangers || f.lockout) {
			continue
		}
		if err != nil {
			t.Error(err)
		}
		if len(o.logins.took[k]) == 0 || median > w.limit(k) {
			t.Errorf("%v: log-ins take %v, may take %v", k, median, w.limit(k))
		}
	}
	if o.lost != nil {
		t.Errorf("traffic: %v", o.lost)
	} else {
		up, down := o.traffic.Up.LossRatio(), o.traffic.Down.LossRatio()
		t.Logf("standing sessions: %.2f %% lost up, %.2f %% down of %d and %d", 100*up, 100*down, o.traffic.Up.Sent, o.traffic.Down.Sent)
		if up >= maxLoss || down >= maxLoss || o.traffic.Up.Sent == 0 || o.traffic.Down.Sent == 0 {
			t.Errorf("standing sessions lose %.2f %% up and %.2f %% down", 100*up, 100*down)
		}
	}
	t.Logf("resident memory: %.1f MiB at most, %.1f before, %.1f before all floods", mib(o.memory), mib(o.before), mib(w.memory))
	if grown := o.memory - o.before; grown > maxGrowth {
		t.Errorf("the daemon has grown by %.1f MiB", mib(grown))
	}
	t.Logf("as before after %v; %d lines in the log", after, lines)
	if after >= recovery {
		t.Errorf("not as before after %v; faults: %v", after, w.faults(t))
	}
	if most := maxLines + int(lineRate*seconds); lines > most {
		t.Errorf("%d lines in the log, at most %d may be", lines, most)
	}
	told := len(f.dropped) == 0
	for _, series := range slices.Sorted(maps.Keys(grown)) {
		t.Logf("%s: %.0f more", series, grown[series])
		told = told || slices.ContainsFunc(f.dropped, func(part string) bool { return strings.Contains(series, part) })
	}
	if !told {
		t.Errorf("none of %q has grown", f.dropped)
	}
}
