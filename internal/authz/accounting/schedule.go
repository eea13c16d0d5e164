package accounting

import (
	"math"
	"slices"
	"time"
)

// schedule decides which of one tenant's records goes to the sink when. It is a plain machine without a clock, a lock or
// I/O; the Ledger calls it under its own lock.
//
// The records of a session are a chain, and go in order. Chains go side by side, oldest head first, up to width at once.
//
// A record that fails is tried again after a pause that doubles; its session waits, others go on. When failingAfter
// tries have failed and none has succeeded, the sink is failing: one try at a time, of the chain that has failed least,
// after pauses that double up to maxPause. The first success ends that, and everything is due at once.
//
// An On or Off is a barrier: it goes after everything older and before everything younger. But it does not wait for ever
// for a record that the sink takes never, nor do others wait for an On that it takes never: a record that has failed
// enoughDislike times, each time after the sink has taken another one, holds nobody up any more. So that this can be
// found out where everything waits for such records, each outOfTurn-th failure while the sink fails is followed, at once, by
// two tries of what is held up, barriers included, that which has failed least. So what waits for records that
// are never taken waits for some enoughDislike·outOfTurn tries of a failing sink, which are minutes; and something
// overtakes a barrier only if the sink is well again between tries that follow each other at once.
type schedule struct {
	width int // chains under way at most

	ready, delayed, held chains
	barriers             []*chain // On and Off that hold others up, by ID
	worn                 int      // chains in delayed that hold up no barrier any more

	busy         int
	frozen       int    // chains that freeze has taken out
	acknowledged uint64 // how often the sink has taken a record
	streak       int    // failures since then
	failing      bool
	pauses       int       // of the sink since it is failing
	until        time.Time // no try before, while failing
	probes       int       // failures of regular tries while failing
	outside      int       // so many next tries, while failing, are out of turn
}

func newSchedule(width int) *schedule {
	return &schedule{width: width, ready: chains{less: byFailures}, delayed: chains{less: byDue}, held: chains{less: byFailures}}
}

// empty says that there is nothing to send and nothing under way.
func (s *schedule) empty() bool {
	return s.ready.Len()+s.delayed.Len()+s.held.Len()+len(s.barriers)+s.busy+s.frozen == 0
}

// frontier is the ID of the barrier that holds up what is younger.
func (s *schedule) frontier() uint64 {
	if len(s.barriers) == 0 {
		return math.MaxUint64
	}
	return s.barriers[0].head().id
}

// put gives the schedule a chain that it does not have, or no longer.
func (s *schedule) put(c *chain, now time.Time) {
	e := c.head()
	switch {
	case e.status.barrier() && c.disliked < enoughDislike:
		c.place = barrier
		if i, found := slices.BinarySearchFunc(s.barriers, e.id, compareHead); !found {
			s.barriers = slices.Insert(s.barriers, i, c)
			if i == 0 {
				s.hold()
			}
		}
	case e.id > s.frontier():
		c.place = held
		s.held.add(c)
	case c.due.After(now):
		c.place = delayed
		s.delayed.add(c)
		if c.disliked >= enoughDislike {
			s.worn++
		}
	default:
		c.place = ready
		s.ready.add(c)
	}
}

func compareHead(c *chain, id uint64) int {
	switch h := c.head().id; {
	case h < id:
		return -1
	case h > id:
		return 1
	}
	return 0
}

// take takes a chain out; put gives it back.
func (s *schedule) take(c *chain) {
	switch c.place {
	case ready:
		s.ready.remove(c)
	case delayed:
		s.delayed.remove(c)
		if c.disliked >= enoughDislike {
			s.worn--
		}
	case held:
		s.held.remove(c)
	case barrier:
		s.drop(c)
	case underWay:
		s.busy--
		s.drop(c)
	case frozen:
		s.frozen--
	case nowhere:
	}
	c.place = nowhere
}

// drop takes c from the barriers, if it is one.
func (s *schedule) drop(c *chain) {
	if i := slices.Index(s.barriers, c); i >= 0 {
		s.barriers = slices.Delete(s.barriers, i, i+1)
	}
}

// freeze keeps a chain that is not under way as it is until thaw: nothing of it is sent, and no younger On or Off.
func (s *schedule) freeze(c *chain) {
	s.take(c)
	c.place = frozen
	s.frozen++
}

// thaw ends freeze. If the chain is empty, it is no longer the schedule's.
func (s *schedule) thaw(c *chain, now time.Time) {
	s.take(c)
	if len(c.entries) > 0 {
		s.put(c, now)
	}
}

// hold puts those that are behind a new first barrier where they belong. A barrier is younger than all that is there
// already, except when one comes back that was under way.
func (s *schedule) hold() {
	id := s.frontier()
	for _, heap := range []*chains{&s.ready, &s.delayed} {
		for _, c := range slices.Clone(heap.list) {
			if c.head().id > id {
				s.take(c)
				c.place = held
				s.held.add(c)
			}
		}
	}
}

// release lets those go that no barrier holds up any more, if the frontier is not where it was.
func (s *schedule) release(frontier uint64, now time.Time) {
	if s.frontier() == frontier {
		return
	}
	for _, c := range s.held.take() {
		c.place = nowhere
		s.put(c, now)
	}
}

// pick returns the chain whose head is to be sent now, which is then under way until done, failed or returned; or nil,
// and when to ask again, if nothing else happens before; zero: not before something happens.
func (s *schedule) pick(now time.Time) (c *chain, again time.Time) {
	s.wakeUp(now)
	c, again = s.next(now)
	if c == nil {
		return nil, again
	}
	if c.place != barrier { // which holds up others while it is under way too
		s.take(c)
	}
	if c.attempts == 0 {
		c.seen = s.acknowledged
	}
	c.place, c.probe = underWay, s.failing
	s.busy++
	return c, time.Time{}
}

// wakeUp makes those ready that are due.
func (s *schedule) wakeUp(now time.Time) {
	for c := s.delayed.first(); c != nil && !c.due.After(now); c = s.delayed.first() {
		s.take(c)
		s.put(c, now)
	}
}

// next is what pick would take.
func (s *schedule) next(now time.Time) (c *chain, again time.Time) {
	switch {
	case s.failing && s.busy > 0, s.busy >= s.width:
		return nil, time.Time{}
	case s.failing && s.until.After(now):
		return nil, s.until
	case s.failing && s.outside > 0 && len(s.barriers) > 0:
		return s.outOfTurn(), time.Time{}
	}
	if c := s.ready.first(); c != nil {
		return c, time.Time{}
	}
	if c := s.delayed.first(); c != nil {
		again = c.due
	}
	if len(s.barriers) > 0 && s.busy+s.frozen == 0 && s.worn == s.delayed.Len() {
		b := s.barriers[0]
		if s.failing || !b.due.After(now) {
			return b, time.Time{}
		}
		if again.IsZero() || b.due.Before(again) {
			again = b.due
		}
	}
	return nil, again
}

// outOfTurn is what may be tried in spite of a barrier, to find out whether the sink takes anything at all.
func (s *schedule) outOfTurn() *chain {
	b := slices.MinFunc(s.barriers, func(a, b *chain) int {
		if byFailures(a, b) {
			return -1
		}
		return 1
	})
	if h := s.held.first(); h != nil && byFailures(h, b) {
		return h
	}
	return b
}

// failed says that the sink did not take the head of c. It returns true if the sink is failing from now on.
func (s *schedule) failed(c *chain, now time.Time) bool {
	frontier := s.frontier()
	s.take(c)
	c.attempts++
	c.fails++
	most := maxPause
	if s.acknowledged != c.seen {
		c.disliked++
	}
	c.seen = s.acknowledged
	if c.disliked >= enoughDislike {
		most = maxDislike
	} else {
		s.streak++
	}
	c.due = now.Add(jittered(doubled(c.fails, most)))
	began := false
	switch {
	case s.failing && c.probe && s.outside > 1:
		s.outside--
	case s.failing && c.probe && s.outside == 0 && s.countProbe() && frontier != math.MaxUint64:
		s.outside = 2 // at once: in a pause the sink might have become well, and what is in turn should be first then
	case s.failing && c.probe:
		s.outside = 0
		s.pauses++
		s.until = now.Add(jittered(doubled(s.pauses, maxPause)))
	case !s.failing && s.streak >= failingAfter:
		began, s.failing, s.pauses, s.probes, s.outside = true, true, 1, 0, 0
		s.until = now.Add(jittered(doubled(s.pauses, maxPause)))
	}
	s.put(c, now)
	s.release(frontier, now)
	return began
}

// countProbe counts a regular try that failed, and says whether it is time for one out of turn.
func (s *schedule) countProbe() bool {
	s.probes++
	return s.probes%outOfTurn == 0
}

// returned takes a chain back that was under way and of which nothing is known.
func (s *schedule) returned(c *chain, now time.Time) {
	s.take(c)
	s.put(c, now)
}

// done says that the head of c has left the storage. It returns true if the sink was failing until now. The chain may be
// empty then, and is no longer the schedule's.
func (s *schedule) done(c *chain, now time.Time) bool {
	frontier := s.frontier()
	s.take(c)
	c.entries = c.entries[1:]
	c.fresh()
	s.acknowledged++
	s.streak = 0
	ended := s.failing
	if ended {
		s.well(now, enoughDislike)
	}
	if len(c.entries) > 0 {
		s.put(c, now)
	}
	s.release(frontier, now)
	return ended
}

// poke makes everything due, and forgets every failure: the sink is another one.
func (s *schedule) poke(now time.Time) { s.well(now, 0) }

// well ends the failing of the sink, and makes all chains due that it has failed for no fault of theirs: those that have
// been disliked less than limit times, or all if that is 0.
func (s *schedule) well(now time.Time, limit int) {
	s.failing, s.streak, s.pauses, s.probes, s.outside, s.until = false, 0, 0, 0, 0, time.Time{}
	reset := func(c *chain) {
		if limit == 0 {
			c.disliked, c.seen = 0, s.acknowledged
		}
		if limit == 0 || c.disliked < limit {
			c.fails, c.due = 0, time.Time{}
		}
	}
	s.worn = 0
	all := slices.Concat(s.ready.take(), s.delayed.take(), s.held.take())
	for _, b := range s.barriers {
		reset(b)
	}
	for _, c := range all {
		reset(c)
		c.place = nowhere
	}
	for _, c := range all {
		s.put(c, now)
	}
}
