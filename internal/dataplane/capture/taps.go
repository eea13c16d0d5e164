package capture

import "slices"

// Taps are those at one point of a session. The zero value is none. It belongs to the shard.
type Taps []*Tap

// Put gives a packet, which begins with its IPv4 header, to all.
func (s Taps) Put(packet []byte) {
	for _, t := range s {
		t.Put(packet)
	}
}

// PutBehind gives a packet whose headers are to be rebuilt to all.
func (s Taps) PutBehind(h *Headers, payload []byte) {
	for _, t := range s {
		t.PutBehind(h, payload)
	}
}

// Without returns the taps but one.
func (s Taps) Without(t *Tap) Taps {
	return slices.DeleteFunc(s, func(o *Tap) bool { return o == t })
}

// End ends all.
func (s Taps) End() {
	for _, t := range s {
		t.End()
	}
}
