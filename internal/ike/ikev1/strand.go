package ikev1

import (
	"container/heap"
	"time"
)

// machine is a protocol machine: messages and the time come in, calls of the Host and the Peer and the next deadline go
// out. It starts nothing, sleeps never and has no lock: a strand runs it, one event at a time.
type machine interface {
	receive(now time.Time, p Path, msg []byte)
	// deadline is when tick wants to be called; zero for never.
	deadline() time.Time
	tick(now time.Time)
}

// event is a message for a machine, or something else to be done with it.
type event struct {
	path Path
	msg  []byte
	call func(now time.Time)
}

// strand is a machine with its queue. The Engine's workers take strands that have something to do, one event of each in
// turn, so that the Diffie-Hellman of one holds up nobody else. All fields but m are guarded by Engine.mu.
type strand struct {
	m      machine
	queue  []event
	active bool // on the ready list or on a worker
	ticked bool // the deadline has come
	dead   bool // takes no more events

	due   time.Time
	index int // in the Engine's timers; -1: not there
}

func newStrand() *strand { return &strand{index: -1} }

// timers is a heap of strands by their deadlines.
type timers []*strand

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	s := x.(*strand)
	s.index = len(*t)
	*t = append(*t, s)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := len(*t) - 1
	s := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	s.index = -1
	return s
}

// postLocked gives a strand an event. Messages are dropped and counted when limit of them wait already; calls never are.
func (e *Engine) postLocked(s *strand, ev event, limit int) {
	if s.dead {
		return
	}
	if ev.call == nil && len(s.queue) >= limit {
		e.stats.QueueFull++
		return
	}
	s.queue = append(s.queue, ev)
	e.readyLocked(s)
}

// post is postLocked for a call.
func (e *Engine) post(s *strand, call func(now time.Time)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.postLocked(s, event{call: call}, 0)
}

func (e *Engine) readyLocked(s *strand) {
	if !s.active {
		s.active = true
		e.ready = append(e.ready, s)
		e.wake.Signal()
	}
}

// endLocked ends a strand: its queue is thrown away and its machine is not called again.
func (e *Engine) endLocked(s *strand) {
	s.dead, s.queue = true, nil
	if s.index >= 0 {
		heap.Remove(&e.timers, s.index)
	}
}

// work is one worker.
func (e *Engine) work() {
	defer e.workers.Done()
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(e.ready) == 0 {
			if e.stopped {
				return
			}
			e.wake.Wait()
		}
		s := e.ready[0]
		e.ready[0] = nil
		if e.ready = e.ready[1:]; len(e.ready) == 0 {
			e.ready = nil // or the array would only ever move on
		}
		var ev event
		tick := s.ticked
		s.ticked = false
		if !tick && len(s.queue) > 0 {
			ev = s.queue[0]
			s.queue[0] = event{}
			if s.queue = s.queue[1:]; len(s.queue) == 0 {
				s.queue = nil
			}
		}
		if m := s.m; !s.dead { // a merge puts another machine there, which is another strand's
			e.mu.Unlock()
			handle(m, time.Now(), ev, tick)
			due := m.deadline()
			e.mu.Lock()
			if !s.dead {
				e.setTimerLocked(s, due)
			}
		}
		s.active = false
		if len(s.queue) > 0 || s.ticked {
			e.readyLocked(s)
		}
	}
}

// handle gives one event to a machine.
func handle(m machine, now time.Time, ev event, tick bool) {
	switch {
	case tick:
		m.tick(now)
	case ev.call != nil:
		ev.call(now)
	case ev.msg != nil:
		m.receive(now, ev.path, ev.msg)
	}
}

// setTimerLocked notes when a strand wants to be woken.
func (e *Engine) setTimerLocked(s *strand, due time.Time) {
	switch {
	case due.IsZero() && s.index >= 0:
		heap.Remove(&e.timers, s.index)
	case due.IsZero():
	case s.index >= 0:
		s.due = due
		heap.Fix(&e.timers, s.index)
	default:
		s.due = due
		heap.Push(&e.timers, s)
	}
	e.armLocked()
}

// armLocked sets the clock to the first deadline.
func (e *Engine) armLocked() {
	if len(e.timers) == 0 || e.stopped {
		return
	}
	if first := e.timers[0].due; !first.Equal(e.armed) {
		e.armed = first
		e.clock.Reset(time.Until(first))
	}
}

// strike runs when the clock strikes: it wakes every strand whose deadline has come.
func (e *Engine) strike() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.armed = time.Time{}
	now := time.Now()
	for len(e.timers) > 0 && !e.timers[0].due.After(now) {
		s := heap.Pop(&e.timers).(*strand)
		s.ticked = true
		e.readyLocked(s)
	}
	e.armLocked()
}
