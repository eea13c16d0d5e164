package ippool

import (
	"container/list"
	"slices"
	"time"
)

// historyCap bounds the released addresses that a pool remembers, with their users. The oldest is forgotten first, in
// quarantine or not; it can still be leased, but then in the order of addresses.
const historyCap = 1 << 14

// released is an address nobody holds, who had it last, and when it was given back.
type released struct {
	addr uint32
	user string
	at   time.Time
}

// history is the released addresses of a pool, each once.
type history struct {
	order  *list.List               // of released, longest free first
	byAddr map[uint32]*list.Element // each element of order
	byUser map[string][]uint32      // what a user gave back, the last at the end; "" is nobody
}

func newHistory() history {
	return history{list.New(), make(map[uint32]*list.Element), make(map[string][]uint32)}
}

func (h history) len() int { return h.order.Len() }

// oldest returns the address that is free longest. There must be one.
func (h history) oldest() released { return h.order.Front().Value.(released) }

// get returns what is remembered of an address.
func (h history) get(a uint32) (released, bool) {
	if e, ok := h.byAddr[a]; ok {
		return e.Value.(released), true
	}
	return released{}, false
}

// lastOf returns the address that a user gave back last.
func (h history) lastOf(user string) (uint32, bool) {
	if all := h.byUser[user]; len(all) > 0 {
		return all[len(all)-1], true
	}
	return 0, false
}

// add remembers an address that is not in it, as the one that is free shortest.
func (h history) add(r released) {
	h.byAddr[r.addr] = h.order.PushBack(r)
	if r.user != "" {
		h.byUser[r.user] = append(h.byUser[r.user], r.addr)
	}
}

// remove forgets an address, if it is there.
func (h history) remove(a uint32) {
	e, ok := h.byAddr[a]
	if !ok {
		return
	}
	user := h.order.Remove(e).(released).user
	delete(h.byAddr, a)
	left := h.byUser[user]
	if i := slices.Index(left, a); i >= 0 {
		left = slices.Delete(left, i, i+1)
	}
	if len(left) == 0 {
		delete(h.byUser, user)
	} else {
		h.byUser[user] = left
	}
}

// all goes through the history, longest free first. The address it stands at may be removed.
func (h history) all(yield func(released) bool) {
	for e := h.order.Front(); e != nil; {
		next := e.Next()
		if !yield(e.Value.(released)) {
			return
		}
		e = next
	}
}

// quarantined is how many addresses were given back after since.
func (h history) quarantined(since time.Time) (n int) {
	for e := h.order.Back(); e != nil && e.Value.(released).at.After(since); e = e.Prev() {
		n++
	}
	return n
}
