package guess

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// world is a Guard with a clock that a test turns.
type world struct {
	t *testing.T
	*Guard
	clock *clock
	disk  *disk
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (w *world) pass(d time.Duration) {
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	w.clock.now = w.clock.now.Add(d)
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: &clock{now: time.Unix(1_900_000_000, 0)}, disk: &disk{items: make(map[string][]byte)}}
	w.restart()
	return w
}

// restart is another process on the same disk.
func (w *world) restart() {
	w.t.Helper()
	g, err := Open(Config{Now: w.clock.Now, Storage: w.disk})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Guard = g
}

func at(tenantID, user, source string) Attempt {
	return Attempt{Tenant: tenantID, User: user, Source: netip.MustParseAddr(source)}
}

// try makes an attempt and gives it an outcome; false: it was held up.
func (w *world) try(a Attempt, right bool) bool {
	p, h := w.Allow(a)
	if (p == nil) == (h == nil) {
		w.t.Fatalf("Allow: %v and %v", p, h)
	}
	switch {
	case p == nil:
		return false
	case right:
		p.Succeed()
	default:
		p.Fail()
	}
	return true
}

func (w *world) mustTry(a Attempt, right bool) {
	w.t.Helper()
	if !w.try(a, right) {
		_, h := w.Allow(a)
		w.t.Fatalf("%v is held up: %+v", a, h)
	}
}

// guesses counts how many guesses come through within d where one is tried each second.
func (w *world) guesses(d time.Duration, a func(i int) Attempt) (n int) {
	for i := range int(d / time.Second) {
		if w.try(a(i), false) {
			n++
		}
		w.pass(time.Second)
	}
	return n
}

// disk is a Storage in memory.
type disk struct {
	mu      sync.Mutex
	items   map[string][]byte
	broken  bool
	commits int
}

var errBroken = errors.New("the disk is broken")

func (d *disk) Load(fn func(string, []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errBroken
	}
	for k, v := range d.items {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) Commit(puts []Item, deletes []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
	if d.broken || len(puts)+len(deletes) > MaxOps {
		return errBroken
	}
	for _, p := range puts {
		if len(p.Key) > 1024 || len(p.Value) > 4096 {
			return errors.New("an item is too long")
		}
		d.items[p.Key] = append([]byte(nil), p.Value...)
	}
	for _, k := range deletes {
		delete(d.items, k)
	}
	return nil
}

func (d *disk) breaks(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = yes
}

func (d *disk) keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for k := range maps.Keys(d.items) {
		out = append(out, k)
	}
	return out
}

const (
	home   = "198.51.100.7"
	hotel  = "203.0.113.9"
	enemy  = "192.0.2.66"
	enemy6 = "2001:db8:1:2::1"
)
