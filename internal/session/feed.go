package session

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// feedChanges is how many changes a Feed keeps for readers that come back (contract: 16 384).
	feedChanges = 16384
	// feedBatch is how many changes one Read returns at most.
	feedBatch = 256
	// lookEvery is how often a Feed whose changes nobody announces has them looked for, while somebody follows it.
	lookEvery = time.Second
)

// Change says how one thing of a Feed is now, or that it is gone.
type Change[T any] struct {
	Name     string
	Value    *T // nil: gone. All readers share it: it must not be changed
	Revision int64
}

// Feed is what there is of one kind, by name, and a stream of the changes to it: a ring in memory with a revision for each
// change. Publishing never waits for a reader; one that falls behind by more than the ring gets ErrExpired. A snapshot and the
// changes after it fit together without gap or overlap. It is safe for concurrent use.
type Feed[T any] struct {
	epoch uint64 // of this run: a revision of an earlier one means nothing here
	size  int

	mu    sync.Mutex
	ring  []Change[T] // the change of revision n stands at (n-1)%size
	last  int64       // revision of the newest change; 0: there was none
	later chan struct{}
	now   map[string]Change[T] // nil: all that there is are the changes themselves

	look      func()
	looking   sync.Mutex // held while look runs
	looked    time.Time  // guarded by looking
	followMu  sync.Mutex
	followers int
	quit      chan struct{} // ends the looking
}

// NewFeed makes an empty Feed. look, unless nil, publishes what has changed since its last call: it is called about once a
// second while somebody follows the Feed.
func NewFeed[T any](look func()) *Feed[T] {
	return &Feed[T]{epoch: newEpoch(), size: feedChanges, now: make(map[string]Change[T]), look: look}
}

// NewLog makes a Feed of things that happen once and never change: what there is of them is the last size of them.
func NewLog[T any](size int) *Feed[T] { return &Feed[T]{epoch: newEpoch(), size: size} }

func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}

// Epoch names the history that the Feed's revisions belong to.
func (f *Feed[T]) Epoch() uint64 { return f.epoch }

// Put publishes how a thing is now.
func (f *Feed[T]) Put(name string, v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publish(Change[T]{Name: name, Value: &v})
}

// Update is Put for a thing that may be just as it is already.
func (f *Feed[T]) Update(name string, v T, same func(a, b *T) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if was, ok := f.now[name]; !ok || !same(was.Value, &v) {
		f.publish(Change[T]{Name: name, Value: &v})
	}
}

// Add publishes what make makes for the revision that it gets.
func (f *Feed[T]) Add(make func(revision int64) (name string, v T)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name, v := make(f.last + 1)
	f.publish(Change[T]{Name: name, Value: &v})
}

// Remove publishes that a thing is gone. What is not there needs no word.
func (f *Feed[T]) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(name)
}

func (f *Feed[T]) remove(name string) {
	if _, ok := f.now[name]; ok {
		f.publish(Change[T]{Name: name})
	}
}

// Sync publishes how what there is differs from all.
func (f *Feed[T]) Sync(all map[string]T, same func(a, b *T) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.now)) {
		if _, ok := all[name]; !ok {
			f.remove(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		if was, ok := f.now[name]; !ok || !same(was.Value, &v) {
			f.publish(Change[T]{Name: name, Value: &v})
		}
	}
}

// Amend publishes what next makes of each thing; nil: it is as it was.
func (f *Feed[T]) Amend(next func(v *T) *T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, c := range f.now {
		if v := next(c.Value); v != nil {
			f.publish(Change[T]{Name: name, Value: v})
		}
	}
}

// publish is called with mu held.
func (f *Feed[T]) publish(c Change[T]) {
	f.last++
	c.Revision = f.last
	if len(f.ring) < f.size {
		f.ring = append(f.ring, c)
	} else {
		f.ring[f.slot(c.Revision)] = c
	}
	switch {
	case f.now == nil:
	case c.Value == nil:
		delete(f.now, c.Name)
	default:
		f.now[c.Name] = c
	}
	if f.later != nil {
		close(f.later)
		f.later = nil
	}
}

func (f *Feed[T]) slot(revision int64) int { return int((revision - 1) % int64(f.size)) }

// first is the revision of the oldest change that is kept. mu is held.
func (f *Feed[T]) first() int64 { return f.last - int64(len(f.ring)) + 1 }

// Snapshot returns all there is that match says yes to, and the revision after which the changes to it begin. It is sorted by
// name; that of a log is in the order in which it happened.
func (f *Feed[T]) Snapshot(match func(name string) bool) (all []Change[T], revision int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		for n := f.first(); n <= f.last; n++ {
			if c := f.ring[f.slot(n)]; match(c.Name) {
				all = append(all, c)
			}
		}
		return all, f.last
	}
	for name, c := range f.now {
		if match(name) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b Change[T]) int { return strings.Compare(a.Name, b.Name) })
	return all, f.last
}

// Read returns the changes after a revision, in order and up to one batch of them, or a channel that is closed when there is
// one. ErrExpired: they are not kept any more, or the revision is none of this Feed.
func (f *Feed[T]) Read(after int64) (batch []Change[T], later <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after < f.first()-1 || after > f.last {
		return nil, nil, ErrExpired
	}
	if after == f.last {
		if f.later == nil {
			f.later = make(chan struct{})
		}
		return nil, f.later, nil
	}
	batch = make([]Change[T], 0, min(f.last-after, feedBatch))
	for n := after + 1; n <= f.last && len(batch) < feedBatch; n++ {
		batch = append(batch, f.ring[f.slot(n)])
	}
	return batch, nil, nil
}

// newest calls fn with the changes that are kept, the newest first, until it says no. fn must not call the Feed.
func (f *Feed[T]) newest(fn func(v *T) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := f.last; n >= f.first(); n-- {
		if !fn(f.ring[f.slot(n)].Value) {
			return
		}
	}
}

// Follow sees to it that the Feed keeps up with what it is about, from now on until stop is called. What there is by now is
// published when it returns. A Feed whose changes are announced keeps up by itself.
func (f *Feed[T]) Follow() (stop func()) {
	if f.look == nil {
		return func() {}
	}
	f.followMu.Lock()
	if f.followers++; f.followers == 1 {
		f.quit = make(chan struct{})
		go f.lookAgain(f.quit)
	}
	f.followMu.Unlock()
	f.lookNow(lookEvery / 4)
	return sync.OnceFunc(func() {
		f.followMu.Lock()
		defer f.followMu.Unlock()
		if f.followers--; f.followers == 0 {
			close(f.quit)
		}
	})
}

func (f *Feed[T]) lookAgain(quit <-chan struct{}) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case <-t.C:
			f.lookNow(0)
		}
	}
}

// lookNow looks for changes, unless that was done less than fresh ago: many who begin at once cost one look.
func (f *Feed[T]) lookNow(fresh time.Duration) {
	f.looking.Lock()
	defer f.looking.Unlock()
	if time.Since(f.looked) >= fresh || f.looked.IsZero() {
		f.look()
		f.looked = time.Now()
	}
}

// inTenant matches the names below one tenant; an empty tenant or "tenants/-" matches all.
func inTenant(tenant string) func(name string) bool {
	if tenant == "" || tenant == "tenants/-" {
		return func(string) bool { return true }
	}
	return func(name string) bool { return strings.HasPrefix(name, tenant+"/") }
}
