package ikev1

import (
	"container/heap"
	"maps"
	"runtime"
	"time"

	"concentrator/internal/tenant"
	"concentrator/internal/wipe"
	wireike "concentrator/internal/wire/ike"
)

// machine is a protocol machine: messages and the time come in, calls of the Host and the Peer and the next deadline go
// out. It starts nothing, sleeps never and has no lock: a strand runs it, one event at a time.
type machine interface {
	receive(now time.Time, p Path, msg []byte)
	// deadline is when tick wants to be called; zero for never.
	deadline() time.Time
	tick(now time.Time)
	// breakOff ends it after a panic, as far as it still can, and tells whom it concerns.
	breakOff()
	// String names it for logs.
	String() string
}

// event is a message for a machine, or something else to be done with it.
type event struct {
	path Path
	msg  []byte
	call func(now time.Time)
	at   time.Time // when it came, of a stranger's message
}

// strand is a machine with its queue. The Engine's workers take strands that have something to do, one event of each in
// turn, so that the Diffie-Hellman of one holds up nobody else. All fields but m are guarded by Engine.mu.
type strand struct {
	m        machine
	urgent   []event // go before those of queue
	queue    []event
	active   bool // waits for a worker or is on one
	ticked   bool // the deadline has come
	dead     bool // takes no more events
	stranger bool // a handshake with an address from which nobody has authenticated; it never changes

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
	if s.stranger {
		ev.at = time.Now()
	}
	s.queue = append(s.queue, ev)
	e.readyLocked(s)
}

// hurryLocked is postLocked for a message that goes before the others.
func (e *Engine) hurryLocked(s *strand, ev event, limit int) {
	if len(s.urgent) >= limit {
		e.stats.QueueFull++
		return
	}
	s.urgent = append(s.urgent, ev)
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
		e.ready.put(s)
		e.wake.Signal()
	}
}

// endLocked ends a strand: its queue is thrown away and its machine is not called again.
func (e *Engine) endLocked(s *strand) {
	s.dead, s.queue, s.urgent = true, nil, nil
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
		s := e.ready.take()
		for s == nil {
			if e.stopped && e.ready.empty() {
				e.wake.Broadcast()
				return
			}
			e.wake.Wait()
			s = e.ready.take()
		}
		var ev event
		tick := s.ticked
		s.ticked = false
		if !tick {
			ev = s.next()
		}
		if ev.msg != nil && s.stranger && time.Since(ev.at) > patience {
			e.stats.QueueFull++
			ev = event{}
		}
		if m := s.m; !s.dead { // a merge puts another machine there, which is another strand's
			e.mu.Unlock()
			due := time.Time{}
			work := func() { due = e.handle(m, s, ev, tick) }
			if _, first := m.(*door); first {
				work() // of a first message there are no keys
			} else {
				wipe.Stack(work)
			}
			if s.stranger {
				runtime.Gosched() // others have waited for this CPU
			}
			e.mu.Lock()
			if !s.dead {
				e.setTimerLocked(s, due)
			}
		}
		e.ready.done(s)
		s.active = false
		if len(s.queue) > 0 || len(s.urgent) > 0 || s.ticked {
			e.readyLocked(s)
		}
	}
}

// next takes the event whose turn it is; the zero event if there is none.
func (s *strand) next() (ev event) {
	q := &s.queue
	if len(s.urgent) > 0 {
		q = &s.urgent
	}
	if len(*q) == 0 {
		return ev
	}
	ev = (*q)[0]
	(*q)[0] = event{}
	if *q = (*q)[1:]; len(*q) == 0 {
		*q = nil
	}
	return ev
}

// handle gives one event to the machine of a strand and returns its next deadline. A machine that panics ends.
func (e *Engine) handle(m machine, s *strand, ev event, tick bool) (due time.Time) {
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Faults.Panicked(e.cfg.Log, m.String(), p)
			e.breakOff(m, s)
		}
	}()
	now := time.Now()
	switch {
	case tick:
		m.tick(now)
	case ev.call != nil:
		ev.call(now)
	case ev.msg != nil:
		m.receive(now, ev.path, ev.msg)
	}
	return m.deadline()
}

// ownFault is why something ends that has made us panic.
const ownFault = "a fault of the server's own"

// breakOff ends a machine that has panicked. What it can't do itself any more the Engine does: nothing finds it then.
func (e *Engine) breakOff(m machine, s *strand) {
	if e.cfg.Faults.Guard(e.cfg.Log, m.String(), m.breakOff) {
		return
	}
	e.mu.Lock()
	if s == e.door || s.dead {
		e.mu.Unlock()
		return
	}
	e.endLocked(s)
	if hs, ok := m.(*handshake); ok {
		e.leaveLocked(hs)
	}
	maps.DeleteFunc(e.routes, func(_ SAID, o *strand) bool { return o == s })
	maps.DeleteFunc(e.initiators, func(_ initiatorKey, o *strand) bool { return o == s })
	maps.DeleteFunc(e.ours, func(_ wireike.Cookie, o *strand) bool { return o == s })
	maps.DeleteFunc(e.peers, func(_ Peer, o *strand) bool { return o == s })
	e.mu.Unlock()
	if p, ok := m.(*peer); ok {
		e.cfg.Faults.Guard(e.cfg.Log, m.String(), func() { p.host.Empty(tenant.ReasonLostCarrier, ownFault) })
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
