package gre

import (
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/gre"
)

// Wrap puts a header before the PPP frame in b: the next sequence number, and an acknowledgement if one is owed.
// It reports false, and changes nothing, when b has no room for it.
func (s *Session) Wrap(b *pktbuf.Buf) bool {
	h := gre.Header{
		CallID: s.peerCallID, PayloadLen: uint16(b.Len()),
		HasSeq: true, Seq: s.sendSeq,
		HasAck: s.unacked > 0, Ack: s.next - 1,
	}
	room := b.Prepend(h.Len())
	if room == nil {
		return false
	}
	h.Put(room)
	s.sendSeq++
	s.unacked = 0
	return true
}

// Ack makes b a bare acknowledgement of everything delivered so far.
func (s *Session) Ack(b *pktbuf.Buf) {
	h := gre.Header{CallID: s.peerCallID, HasAck: true, Ack: s.next - 1}
	b.Reset()
	h.Put(b.Prepend(h.Len()))
	s.unacked = 0
}

// AckDue reports whether a bare acknowledgement should be sent: AckEvery packets are owed one, or one has
// been owed it for AckDelay.
func (s *Session) AckDue(now int64) bool {
	return s.unacked >= AckEvery || s.unacked > 0 && now-s.unackedAt >= AckDelay
}

// AckDeadline is when AckDue will become true if nothing happens before, in nanoseconds; false when nothing is owed.
func (s *Session) AckDeadline() (int64, bool) {
	return s.unackedAt + AckDelay, s.unacked > 0
}
