package ikev1

import (
	"slices"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// maxHalfOpenOctets bounds the SA payloads that half-open exchanges keep, in all.
const maxHalfOpenOctets = 1 << 20

// halfOpen is an exchange of which only message 1 has come: what messages 2 and 4 and the hashes need, and nothing else.
// With the SA payload of a usual client it takes about 300 octets.
type halfOpen struct {
	id      SAID
	path    Path
	created time.Time
	sa      []byte // SAi_b, a copy
	vendor  wireike.Vendor
	choice  choice
	replies uint8 // how often a copy of message 1 was answered
	gone    bool
}

// choice is a transform of an SA payload, by place.
type choice struct{ proposal, transform uint8 }

func (h *halfOpen) initiatorKey() initiatorKey {
	return initiatorKey{h.id.Initiator, h.path.Remote.Addr()}
}

// halfOpenTable holds the half-open exchanges, bounded in number and in octets; the oldest goes first. It is guarded by
// Engine.mu.
type halfOpenTable struct {
	max         int
	octets      int
	byID        map[SAID]*halfOpen
	byInitiator map[initiatorKey]*halfOpen
	order       []*halfOpen // oldest first; those that have gone are skipped
}

func (t *halfOpenTable) init(limit int) {
	t.max = limit
	t.byID, t.byInitiator = map[SAID]*halfOpen{}, map[initiatorKey]*halfOpen{}
}

func (t *halfOpenTable) len() int { return len(t.byID) }

// get returns a half-open exchange by its cookies, nil if there is none.
func (t *halfOpenTable) get(id SAID) *halfOpen { return t.byID[id] }

// crowded says whether there are so many that first messages must come twice.
func (t *halfOpenTable) crowded() bool {
	return len(t.byID) >= t.max/2 || t.octets >= maxHalfOpenOctets/2
}

// add puts an exchange in and returns those that had to go for it.
func (t *halfOpenTable) add(h *halfOpen) (pushed []*halfOpen) {
	for len(t.byID) >= t.max || t.octets+len(h.sa) > maxHalfOpenOctets {
		old := t.oldest()
		if old == nil {
			break
		}
		t.remove(old)
		pushed = append(pushed, old)
	}
	if len(t.order) > 2*t.max {
		t.order = slices.DeleteFunc(t.order, func(h *halfOpen) bool { return h.gone })
	}
	t.byID[h.id] = h
	t.byInitiator[h.initiatorKey()] = h
	t.order = append(t.order, h)
	t.octets += len(h.sa)
	return pushed
}

// renew makes an exchange the youngest.
func (t *halfOpenTable) renew(now time.Time, h *halfOpen) {
	if h.gone {
		return
	}
	young := *h
	young.created = now
	t.remove(h)
	t.add(&young)
}

// oldest returns the oldest exchange, nil if there is none.
func (t *halfOpenTable) oldest() *halfOpen {
	for len(t.order) > 0 && t.order[0].gone {
		t.order[0] = nil
		t.order = t.order[1:]
	}
	if len(t.order) == 0 {
		t.order = nil
		return nil
	}
	return t.order[0]
}

func (t *halfOpenTable) remove(h *halfOpen) {
	if h.gone {
		return
	}
	h.gone = true
	delete(t.byID, h.id)
	if t.byInitiator[h.initiatorKey()] == h {
		delete(t.byInitiator, h.initiatorKey())
	}
	t.octets -= len(h.sa)
}

// removeHalfLocked removes a half-open exchange that has come to nothing.
func (e *Engine) removeHalfLocked(h *halfOpen) {
	if !h.gone {
		e.sources.remove(h.path.Remote.Addr())
	}
	e.half.remove(h)
}

// addHalfLocked puts a half-open exchange in.
func (e *Engine) addHalfLocked(h *halfOpen) {
	e.sources.add(h.path.Remote.Addr())
	for _, old := range e.half.add(h) {
		e.stats.Pushed++
		e.sources.remove(old.path.Remote.Addr())
	}
}

// promoteLocked turns a half-open exchange into a handshake, as a message with our cookie has proved its address. It
// returns nil if there are too many handshakes, or the message comes from another address.
func (e *Engine) promoteLocked(h *halfOpen, p Path) *strand {
	switch {
	case h.path.Remote.Addr() != p.Remote.Addr():
		e.stats.Unexpected++
		return nil
	case !e.roomLocked():
		e.stats.Limited++
		return nil
	}
	e.half.remove(h) // the source keeps its exchange
	s := newStrand()
	_, known := e.lastGood.get(p.Remote.Addr())
	s.stranger = !known
	s.m = newResponder(e, s, h)
	e.enterLocked(s, h.id, h.initiatorKey())
	return s
}

// roomLocked sees to it that there is room for one more handshake: where there are as many as there may be, the oldest of a
// stranger makes room. False: there is none.
func (e *Engine) roomLocked() bool {
	if e.handshakes < e.cfg.MaxHandshakes {
		return true
	}
	oldest := e.strangers.Front()
	if oldest == nil {
		return false
	}
	hs, ok := oldest.Value.(*handshake)
	if !ok {
		return false
	}
	e.stats.Pushed++
	e.loseLocked(hs)
	hs.s.queue = nil // its Diffie-Hellman, if that was not done yet, is done for nobody
	e.postLocked(hs.s, event{call: func(time.Time) { hs.close() }}, 0)
	return true
}

// enterLocked makes the Engine find a handshake, whose source has been counted already.
func (e *Engine) enterLocked(s *strand, id SAID, key initiatorKey) {
	if hs, ok := s.m.(*handshake); ok && s.stranger {
		hs.place = e.strangers.PushBack(hs)
	}
	e.handshakes++
	e.routes[id] = s
	e.initiators[key] = s
	e.setTimerLocked(s, s.m.deadline())
}

// Bounds of what is remembered of refused first messages: clients repeat theirs for some minutes.
const (
	maxRefused      = 1024
	refusedLifetime = 4 * time.Minute
)

// refusedTable remembers which first messages were refused, so that their copies are neither reported nor worked on. It
// belongs to the door. The zero table is ready.
type refusedTable struct {
	m     map[initiatorKey]*refusedFirst
	order [maxRefused]initiatorKey // ring
	next  int
}

type refusedFirst struct {
	at      time.Time
	replies int
}

func (t *refusedTable) put(now time.Time, k initiatorKey) {
	if t.m == nil {
		t.m = map[initiatorKey]*refusedFirst{}
	}
	delete(t.m, t.order[t.next])
	t.order[t.next] = k
	t.next = (t.next + 1) % maxRefused
	t.m[k] = &refusedFirst{at: now}
}

// has says whether a first message is a copy of one that was refused.
func (t *refusedTable) has(now time.Time, k initiatorKey) bool {
	r := t.m[k]
	return r != nil && now.Sub(r.at) < refusedLifetime
}

// again says whether a copy shall be answered once more.
func (t *refusedTable) again(now time.Time, k initiatorKey) bool {
	if !t.has(now, k) || t.m[k].replies >= maxReplies {
		return false
	}
	t.m[k].replies++
	return true
}
