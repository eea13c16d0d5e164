package gre

import (
	"time"

	"concentrator/internal/dataplane/pktbuf"
)

// Limits of the receiver. All times are in nanoseconds of the caller's monotonic clock.
const (
	// Window is how many packets after the missing one are kept while it may still come.
	Window = 32
	// HoldTime is how long an early packet is kept, in nanoseconds. Packets that overtake each other are some
	// milliseconds apart; every lost one makes those behind it wait so long.
	HoldTime = int64(50 * time.Millisecond)
	// FarJump is how far from the last packet a single credible packet may move the position. Beyond it
	// two in a row are needed.
	FarJump = 1024
	// AckEvery is how many packets may be unacknowledged before a bare acknowledgement is due.
	AckEvery = 16
	// AckDelay is how long a packet may stay unacknowledged, in nanoseconds.
	AckDelay = int64(50 * time.Millisecond)
)

// Place is where a sequence number falls.
type Place uint8

// The places.
const (
	_ Place = iota
	// Next is the number that is expected.
	Next
	// Early is inside the reorder window: at least one packet before it is missing.
	Early
	// Jump is beyond the reorder window, but not more than FarJump from the last packet.
	Jump
	// Far is more than FarJump away, in either direction.
	Far
	// Late has been passed over: the packet was given up and counted as lost, or is older than the memory of
	// what was delivered.
	Late
	// Duplicate has been delivered or is being kept.
	Duplicate
)

// String is the place in lower case.
func (p Place) String() string {
	switch p {
	case Next:
		return "next"
	case Early:
		return "early"
	case Jump:
		return "jump"
	case Far:
		return "far"
	case Late:
		return "late"
	case Duplicate:
		return "duplicate"
	}
	return "unset"
}

// Evidence says why the caller believes that a packet comes from the peer.
type Evidence uint8

// The kinds of evidence.
const (
	_ Evidence = iota
	// Clear is a credible clear frame of a session that doesn't decrypt.
	Clear
	// Control is a credible clear frame (LCP, CCP) of a session that does decrypt. Anyone can write one, so
	// it never moves the position far.
	Control
	// Verified is a frame that decrypted to something credible.
	Verified
	// Confirmed is a frame that decrypted to something credible at a position that the cipher has taken over, giving
	// up what was before it (mppe.Resynced): the second in a row of a stateless session, a flushed one of a
	// stateful.
	Confirmed
	// Unverified is an early frame of a stateful cipher, which can't be decrypted before those it depends
	// on. It is only ever kept in the reorder window.
	Unverified
)

// Outcome is what the caller does with the packet that it gave to Accept.
type Outcome uint8

// The outcomes.
const (
	_ Outcome = iota
	// Deliver: pass the packet on, then what Pop returns.
	Deliver
	// DeliverLast: pass on what Pop returns, then the packet.
	DeliverLast
	// Held: the session keeps a copy. Pass on what Pop returns.
	Held
	// Waiting: the packet was far away and credible; the next one like it moves the position. Drop it.
	Waiting
	// Refused: late, duplicate, far without sufficient evidence, or no buffer to keep it. Drop it.
	Refused
)

// String is the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Deliver:
		return "deliver"
	case DeliverLast:
		return "deliver_last"
	case Held:
		return "held"
	case Waiting:
		return "waiting"
	case Refused:
		return "refused"
	}
	return "unset"
}

// Packet is a packet that was kept and whose turn has come.
type Packet struct {
	// Buf holds it, just as Accept was given it. It belongs to the caller now, who puts it back into the pool.
	Buf *pktbuf.Buf
	// Seq is its sequence number.
	Seq uint32
	// Evidence is what Accept was told. An Unverified packet must still be opened.
	Evidence Evidence
}

// slot keeps an early packet; buf is nil when it is empty.
type slot struct {
	buf      *pktbuf.Buf
	at       int64
	seq      uint32
	evidence Evidence
}

// Session is the GRE state of one call, both directions.
type Session struct {
	pool       *pktbuf.Pool
	peerCallID uint16

	// Inbound. started is false until the first packet; next is the number expected then.
	started bool
	next    uint32
	// recent has bit i set when next-1-i was delivered.
	recent uint64
	// candidate is the number of a credible packet far away.
	hasCandidate bool
	candidate    uint32
	// unacked counts packets delivered since the last acknowledgement, the first of them at unackedAt.
	unacked   int
	unackedAt int64
	// lost counts the numbers that were passed over.
	lost uint64

	// Outbound: the next number to send.
	sendSeq uint32

	// What follows is for packets out of order; the rest, which all need, lies together.
	// slots keeps early packets at their number modulo Window; held of them are full.
	// ready is a ring of packets to be popped: ready[(head+i)%Window], i < readyLen.
	// held + readyLen never exceeds Window, so both always have room.
	held, head, readyLen int
	slots                [Window]slot
	ready                [Window]Packet
}

// NewSession returns the state of a new call. peerCallID is the call ID that the peer chose; it goes into every
// header that is sent. Early packets are kept in Bufs of pool, which belongs to the same goroutine.
func NewSession(peerCallID uint16, pool *pktbuf.Pool) *Session {
	return &Session{pool: pool, peerCallID: peerCallID}
}

// Place says where seq falls. It changes nothing.
func (s *Session) Place(seq uint32) Place {
	ahead := int32(seq - s.next)
	if !s.started {
		// Peers start at 0 or 1, and the first packets can be lost; there is nothing to wait for yet.
		if ahead >= 0 && ahead < FarJump {
			return Next
		}
		return Far
	}
	switch {
	case ahead == 0:
		return Next
	case ahead >= FarJump || ahead < -FarJump:
		return Far
	case ahead >= Window:
		return Jump
	case ahead > 0:
		if s.keeps(seq) {
			return Duplicate
		}
		return Early
	case ahead >= -64 && s.recent>>(-ahead-1)&1 != 0:
		return Duplicate
	}
	return Late
}

// Accept takes a credible packet at seq: it moves the position as the evidence allows and says what to do with b.
// b stays the caller's. now is in nanoseconds. Before the next call the caller must Pop until there is no more.
func (s *Session) Accept(seq uint32, b *pktbuf.Buf, evidence Evidence, now int64) Outcome {
	if s.unacked == 0 {
		s.unackedAt = now // true from the delivery that may follow
	}
	place := s.Place(seq)
	if place != Far && evidence != Unverified {
		// A packet near the position says that the position is right: what was seen far away before it
		// isn't "in a row" any more.
		s.hasCandidate = false
	}
	switch place {
	case Next:
		if !s.started {
			s.started, s.next = true, seq
		}
		s.pass(true)
		s.release()
		return Deliver
	case Early:
		if evidence != Confirmed || s.keepsAfter(seq) {
			return s.hold(seq, b, evidence, now)
		}
		// The cipher has gone on without what is missing.
		s.passTo(seq)
		s.pass(true)
		return DeliverLast
	case Jump:
		if evidence == Unverified {
			return Refused
		}
		if evidence != Confirmed && seq-s.next < 2*Window {
			// Not far beyond: something is missing and the others keep coming. Give up the oldest only.
			s.passTo(seq - Window + 1)
			s.release()
			if s.next != seq && s.hold(seq, b, evidence, now) == Held {
				return Held
			}
		}
		s.passTo(seq)
		s.pass(true)
		return DeliverLast
	case Far:
		return s.acceptFar(seq, evidence)
	case Late, Duplicate:
	}
	return Refused
}

// acceptFar moves the position to seq if that is confirmed.
func (s *Session) acceptFar(seq uint32, evidence Evidence) Outcome {
	last := seq
	switch evidence {
	case Clear, Verified:
		apart := int32(seq - s.candidate)
		if !s.hasCandidate || apart == 0 || apart > FarJump || apart < -FarJump {
			s.candidate, s.hasCandidate = seq, true
			return Waiting
		}
		if apart < 0 {
			last = s.candidate
		}
	case Confirmed:
	default:
		return Refused
	}
	lost := s.lost
	if ahead := int32(last - s.next); ahead > 0 && evidence != Clear && s.started {
		// What the cipher vouches for was lost indeed. Clear frames could make the counter say anything.
		lost += uint64(ahead) - uint64(s.held)
	}
	s.passTo(s.next + Window) // makes ready what is kept
	s.lost = lost
	s.started, s.hasCandidate = true, false
	s.next, s.recent = last+1, 1<<(last-seq)
	s.unacked++
	return DeliverLast
}

// hold copies an early packet into its slot.
func (s *Session) hold(seq uint32, b *pktbuf.Buf, evidence Evidence, now int64) Outcome {
	if s.held+s.readyLen == Window {
		return Refused
	}
	kept := s.pool.Get()
	if kept == nil {
		return Refused
	}
	kept.CopyFrom(b)
	s.slots[seq%Window] = slot{buf: kept, at: now, seq: seq, evidence: evidence}
	s.held++
	return Held
}

// keeps reports whether the packet at seq is in its slot.
func (s *Session) keeps(seq uint32) bool {
	sl := &s.slots[seq%Window]
	return sl.buf != nil && sl.seq == seq
}

// keepsAfter reports whether a packet later than seq is kept.
func (s *Session) keepsAfter(seq uint32) bool {
	for i := range s.slots {
		if s.slots[i].buf != nil && int32(s.slots[i].seq-seq) > 0 {
			return true
		}
	}
	return false
}

// pass moves the position by one number, which was delivered or not.
func (s *Session) pass(delivered bool) {
	s.next++
	s.recent <<= 1
	if delivered {
		s.recent |= 1
		s.unacked++
	} else {
		s.lost++
	}
}

// takeNext passes the next number, making the packet ready if it is kept.
func (s *Session) takeNext() {
	if !s.keeps(s.next) {
		s.pass(false)
		return
	}
	sl := &s.slots[s.next%Window]
	s.ready[(s.head+s.readyLen)%Window] = Packet{Buf: sl.buf, Seq: sl.seq, Evidence: sl.evidence}
	s.readyLen++
	*sl = slot{}
	s.held--
	s.pass(true)
}

// release makes the kept packets ready that follow without a gap.
func (s *Session) release() {
	for s.held > 0 && s.keeps(s.next) {
		s.takeNext()
	}
}

// passTo gives up what is missing before seq, which is ahead: the kept packets become ready, the others are lost.
func (s *Session) passTo(seq uint32) {
	for s.held > 0 && s.next != seq {
		s.takeNext()
	}
	rest := seq - s.next
	s.next = seq
	s.lost += uint64(rest)
	s.recent <<= rest // Go shifts everything out when rest is 64 or more
}

// Pop returns the next packet that was kept and whose turn has come, in order.
func (s *Session) Pop() (Packet, bool) {
	if s.readyLen == 0 {
		return Packet{}, false
	}
	p := s.ready[s.head]
	s.ready[s.head] = Packet{}
	s.head = (s.head + 1) % Window
	s.readyLen--
	return p, true
}

// Deadline is when Expire is wanted, in nanoseconds; false when nothing is kept.
func (s *Session) Deadline() (int64, bool) {
	if s.held == 0 {
		return 0, false
	}
	return s.slots[s.oldest()].at + HoldTime, true
}

// Expire gives up the missing packets that kept ones have been waiting for since HoldTime, and reports whether
// there is anything to Pop.
func (s *Session) Expire(now int64) bool {
	if s.unacked == 0 {
		s.unackedAt = now
	}
	for s.held > 0 {
		sl := &s.slots[s.oldest()]
		if now-sl.at < HoldTime {
			break
		}
		s.passTo(sl.seq + 1)
		s.release()
	}
	return s.readyLen > 0
}

// oldest is the index of the slot that was filled first; at least one must be full.
func (s *Session) oldest() int {
	found := -1
	for i := range s.slots {
		if s.slots[i].buf != nil && (found < 0 || s.slots[i].at < s.slots[found].at) {
			found = i
		}
	}
	return found
}

// Lost is how many packets of the peer were never seen, or came too late. A packet that comes late has been
// counted here before.
func (s *Session) Lost() uint64 {
	return s.lost
}

// Close gives every kept packet back to the pool. The session is of no use afterwards.
func (s *Session) Close() {
	for i := range s.slots {
		if s.slots[i].buf != nil {
			s.pool.Put(s.slots[i].buf)
			s.slots[i] = slot{}
		}
	}
	s.held = 0
	for {
		p, ok := s.Pop()
		if !ok {
			return
		}
		s.pool.Put(p.Buf)
	}
}
