package accounting

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bench plays a schedule against a sink that takes no time. It is the model: it knows of each record whether it has gone.
type bench struct {
	t      *testing.T
	s      *schedule
	now    time.Time
	nextID uint64
	chains map[chainKey]*chain
	gone   map[uint64]time.Time
	all    []entry
	order  []uint64 // as they were acknowledged
	tries  map[uint64]int
	of     map[uint64]chainKey
	takes  func(e entry) bool
}

func newBench(t *testing.T) *bench {
	return &bench{
		t: t, s: newSchedule(4), now: begin, nextID: 1, chains: make(map[chainKey]*chain), gone: make(map[uint64]time.Time),
		tries: make(map[uint64]int), of: make(map[uint64]chainKey), takes: func(entry) bool { return true },
	}
}

func (b *bench) add(session string, status Status) uint64 {
	e := entry{id: b.nextID, status: status, size: 1}
	b.nextID++
	b.all = append(b.all, e)
	key := recordKey{id: e.id, status: status, session: session}.chain()
	b.of[e.id] = key
	if c := b.chains[key]; c != nil {
		c.entries = append(c.entries, e)
		return e.id
	}
	c := &chain{key: key, entries: []entry{e}}
	b.chains[key] = c
	b.s.put(c, b.now)
	return e.id
}

// answer ends the try of a chain that pick has given out.
func (b *bench) answer(c *chain) {
	e := c.head()
	b.tries[e.id]++
	if !b.takes(e) {
		b.s.failed(c, b.now)
		return
	}
	if _, twice := b.gone[e.id]; twice {
		b.t.Errorf("record %d went twice", e.id)
	}
	b.gone[e.id] = b.now
	b.order = append(b.order, e.id)
	b.s.done(c, b.now)
	if len(c.entries) == 0 {
		delete(b.chains, c.key)
	}
}

// until plays on until the time end, in steps as long as the schedule says. Up to width tries are under way at once, and end
// in any order.
func (b *bench) until(end time.Time) {
	var busy []*chain
	for {
		c, again := b.s.pick(b.now)
		switch {
		case c != nil:
			busy = append(busy, c)
			if len(busy) > b.s.width || b.s.failing && len(busy) > 1 && c.probe {
				b.t.Fatalf("%d under way", len(busy))
			}
		case len(busy) > 0:
			i := rand.IntN(len(busy))
			c := busy[i]
			busy = slices.Delete(busy, i, i+1)
			b.answer(c)
		case again.IsZero() || again.After(end):
			b.now = end
			return
		case !again.After(b.now):
			b.t.Fatalf("asked to wait until %s, now is %s", again, b.now)
		default:
			b.now = again
		}
	}
}

func (b *bench) left() (ids []uint64) {
	for _, e := range b.all {
		if _, ok := b.gone[e.id]; !ok {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// checkOrder: nothing passed an On or Off.
func (b *bench) checkOrder() {
	b.t.Helper()
	place := make(map[uint64]int)
	for i, id := range b.order {
		place[id] = i
	}
	for _, e := range b.all {
		at, ok := place[e.id]
		if !ok {
			continue
		}
		if e.status.barrier() {
			for _, o := range b.all {
				if p, ok := place[o.id]; ok && (o.id < e.id) != (p < at) && o.id != e.id {
					b.t.Errorf("%s %d went as number %d, but %d as %d", e.status, e.id, at, o.id, p)
				}
			}
		}
	}
}

// Whatever comes and goes, with a sink that takes all or nothing: nothing passes a barrier, all arrives within two minutes
// of the sink's return.
func TestScheduleWithOutages(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t)
		up := true
		b.takes = func(entry) bool { return up }
		for range 60 {
			for range r.IntN(6) {
				switch r.IntN(12) {
				case 0:
					b.add("", On)
				case 1:
					b.add("", Off)
				default:
					b.add(fmt.Sprint("s", r.IntN(5)), Interim)
				}
			}
			switch r.IntN(8) {
			case 0:
				up = !up
			case 1:
				b.s.poke(b.now)
			case 2:
				if c := b.s.ready.first(); c != nil { // dropping holds up barriers, but for a moment
					b.s.freeze(c)
					b.until(b.now.Add(time.Second))
					b.s.thaw(c, b.now)
				}
			}
			b.until(b.now.Add(time.Duration(r.IntN(200)) * time.Second))
		}
		up = true
		b.until(b.now.Add(2 * time.Minute))
		if left := b.left(); len(left) > 0 || !b.s.empty() {
			t.Errorf("seed %d: %d are left, empty %v", seed, len(left), b.s.empty())
		}
		b.checkOrder()
		b.checkSessions()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// checkSessions: the records of each session went in the order of their IDs.
func (b *bench) checkSessions() {
	b.t.Helper()
	last := make(map[chainKey]uint64)
	for _, id := range b.order {
		if key := b.of[id]; last[key] > id {
			b.t.Errorf("record %d of %v went after %d", id, key, last[key])
		} else {
			last[key] = id
		}
	}
}

// Records that are never taken hold up their own session and nothing else, On and Off included.
func TestScheduleWithPoison(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := newBench(t)
		poison := make(map[uint64]bool)
		b.takes = func(e entry) bool { return !poison[e.id] }
		stuck := make(map[string]bool) // sessions that have a poisoned record
		free := make(map[uint64]bool)  // records that must go
		for range 40 {
			for range r.IntN(5) {
				name, status := fmt.Sprint("s", r.IntN(30)), Interim
				if r.IntN(10) == 0 {
					name, status = "", On
				}
				id := b.add(name, status)
				poison[id] = r.IntN(12) == 0
				free[id] = !poison[id] && !stuck[name]
				if poison[id] && name != "" {
					stuck[name] = true
				}
			}
			b.until(b.now.Add(time.Duration(r.IntN(60)) * time.Second))
		}
		b.until(b.now.Add(2 * time.Hour))
		for id, must := range free {
			if _, ok := b.gone[id]; must && !ok {
				t.Errorf("seed %d: record %d is held up", seed, id)
			}
		}
		b.checkSessions()
		tries := 0
		for id := range poison {
			if poison[id] {
				tries = max(tries, b.tries[id])
			}
		}
		if tries > 300 {
			t.Errorf("seed %d: a record that is never taken was tried %d times in less than three hours", seed, tries)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// One Stop that is never taken, before an On, before a crowd of Starts: the time that it costs them.
func TestBarrierIsHeldUpForMinutesOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		poison []uint64
		most   time.Duration
	}{
		{"the Stop", []uint64{1}, 5 * time.Minute},
		{"the On", []uint64{2}, 5 * time.Minute},
		{"both", []uint64{1, 2}, 10 * time.Minute},
	} {
		b := newBench(t)
		b.takes = func(e entry) bool { return !slices.Contains(c.poison, e.id) }
		b.add("dead", Stop)
		b.add("", On)
		for i := range 100 {
			b.add(fmt.Sprint("s", i), Start)
		}
		b.until(begin.Add(c.most))
		if left := b.left(); !slices.Equal(left, c.poison) {
			t.Errorf("%s is never taken: %d others wait after %s", c.name, len(left), c.most)
		}
	}
}

// The sink is down from the start and for a day, with a barrier in the middle: nothing overtakes it, and the tries stay few.
func TestBarrierAfterALongOutage(t *testing.T) {
	b := newBench(t)
	up := false
	b.takes = func(entry) bool { return up }
	for i := range 200 {
		b.add(fmt.Sprint("dead", i), Stop)
	}
	b.add("", On)
	for i := range 200 {
		b.add(fmt.Sprint("new", i), Start)
	}
	b.until(begin.Add(24 * time.Hour))
	tries := 0
	for _, n := range b.tries {
		tries += n
	}
	if tries < 24*60 || tries > 24*60*2 {
		t.Errorf("%d tries in a day", tries)
	}
	up = true
	b.until(b.now.Add(90 * time.Second))
	if left := b.left(); len(left) > 0 {
		t.Errorf("%d are left", len(left))
	}
	b.checkOrder()
}

// Others go on while one record is refused, and that one is tried ever less often, but at least once an hour.
func TestOneRecordIsNotTaken(t *testing.T) {
	b := newBench(t)
	bad := b.add("bad", Start)
	b.add("bad", Stop)
	b.takes = func(e entry) bool { return e.id != bad }
	var at []time.Time
	for i := range 24 * 60 {
		n := b.tries[bad]
		id := b.add(fmt.Sprint("s", i), Start)
		b.until(b.now.Add(time.Minute))
		if b.tries[bad] != n {
			at = append(at, b.now)
		}
		if _, ok := b.gone[id]; !ok {
			t.Fatalf("record %d waits for another session's", id)
		}
	}
	if n := b.tries[bad]; n < 24 || n > 50 {
		t.Errorf("tried %d times in a day", n)
	}
	if last := at[len(at)-1].Sub(at[len(at)-2]); last > 80*time.Minute || last < 40*time.Minute {
		t.Errorf("the last pause was %s", last)
	}
	b.takes = func(entry) bool { return true }
	b.s.poke(b.now)
	b.until(b.now.Add(time.Second))
	if left := b.left(); len(left) > 0 {
		t.Errorf("%d are left after a poke", len(left))
	}
}
