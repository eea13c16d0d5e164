package l2tpdata

// farJump is how far from the expected one a single Ns may move the position. Beyond it, in either direction, two in a row
// are needed: outside ESP anybody can write one.
const farJump = 1024

// Sequencer keeps the sequence numbers of one session's data messages, both ways (RFC 2661 section 5.4). The zero value is a
// session's start. It belongs to one goroutine.
//
// Frames are delivered in the order of Ns, and at once: one that comes after a later one is late and dropped, because PPP
// takes a loss better than a wait. Messages without Ns never come here; the state waits for the next one that has it.
type Sequencer struct {
	ns       uint16 // of the next message sent
	expected uint16 // the next Ns of the peer
	far      uint16 // what a message far away says is next
	farKnown bool
	lost     uint64
}

// next takes the Ns of the next message to the peer.
func (s *Sequencer) next() uint16 {
	n := s.ns
	s.ns++
	return n
}

// Accept says what to do with a message of the peer's with this Ns: OK to deliver it, Late and Far to drop it.
func (s *Sequencer) Accept(ns uint16) Verdict {
	ahead := int(int16(ns - s.expected))
	switch {
	case ahead >= -farJump && ahead < 0:
		return Late
	case ahead >= 0 && ahead <= farJump:
		s.lost += uint64(ahead)
	case !s.farKnown || ns != s.far:
		s.far, s.farKnown = ns+1, true
		return Far
	}
	s.expected, s.farKnown = ns+1, false
	return OK
}

// Lost is how many numbers were passed over so far. One that comes late counts all the same.
func (s *Sequencer) Lost() uint64 { return s.lost }
