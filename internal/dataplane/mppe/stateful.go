package mppe

import "time"

const (
	// resetEvery is the least time between two Reset-Requests, in nanoseconds; askAgain is the same while the last one
	// hasn't been followed by a packet that could be decrypted: it may be lost, or still be on its way.
	resetEvery = int64(50 * time.Millisecond)
	askAgain   = int64(250 * time.Millisecond)
	// maxLostResets is how many flushed packets that nobody saw a receiver reckons with.
	maxLostResets = 16
	// flagEvery is the distance of flag packets.
	flagEvery = 256
)

// stateful is what a stateful receiver has beside its position: the RC4 stream that continues with the next packet, and
// the key that it was made from.
type stateful struct {
	stream  rc4
	session key
	// asked counts the Reset-Requests since the last packet that could be decrypted. The last of all was at askedAt.
	asked     int
	askedAt   int64
	everAsked bool
}

// openStateful decrypts a packet of a session whose RC4 stream runs through its packets (RFC 3078 section 8.2). Nothing
// changes unless it turns out credible, so a forged packet costs at most a needless Reset-Request now and then.
func (r *Receiver) openStateful(op *OpenOp, count uint16, flushed bool, now int64, x *Scratch) Verdict {
	s := r.stateful
	nearest, farthest := r.ahead(count, op.Seq)
	if nearest <= 0 {
		return Late
	}
	if flushed {
		return r.openFlushed(op, farthest, now, x)
	}
	if nearest != 1 {
		return s.lost(now)
	}
	x.rc4 = s.stream
	if !op.try(false, x) {
		return s.lost(now)
	}
	op.finish(x)
	r.acceptStateful(r.top+1, op.Seq, x)
	return OK
}

// openFlushed decrypts a packet before which the sender began a new RC4 stream. How often it has changed its key since
// the last packet is known but for two things: whether it changes the key on a flushed packet that isn't a flag packet
// (Linux does, RFC 3078 doesn't), and how many such packets were lost.
func (r *Receiver) openFlushed(op *OpenOp, ahead int, now int64, x *Scratch) Verdict {
	s := r.stateful
	pos := r.top + uint64(ahead)
	changes := int((pos-1)/flagEvery - r.top/flagEvery) // flag packets in between
	if changes > NearKeys {
		return FarJump
	}
	tries := 2 + min(2*s.asked, maxLostResets)
	if isFlag(uint16((pos - 1) % countSpace)) {
		changes++
		tries--
	}
	if ahead > 1 {
		if r.maySpend(op.Seq, now) < changes+tries {
			return OverBudget
		}
		r.budget.spend(changes+tries, now)
	}
	k := s.session
	for range changes {
		r.schedule.change(&k, x)
	}
	for {
		x.rc4.init(&k, r.schedule.n)
		if op.try(false, x) {
			op.finish(x)
			s.session = k
			r.acceptStateful(pos, op.Seq, x)
			if ahead > 1 {
				return Resynced
			}
			return OK
		}
		if tries--; tries == 0 {
			return s.lost(now)
		}
		r.schedule.change(&k, x)
	}
}

// acceptStateful goes on from the packet that was just decrypted with x.
func (r *Receiver) acceptStateful(pos uint64, seq uint32, x *Scratch) {
	r.stateful.stream = x.rc4
	r.stateful.asked = 0
	r.moveTop(pos, seq)
}

// lost is the verdict on a packet that can't be decrypted.
func (s *stateful) lost(now int64) Verdict {
	wait := resetEvery
	if s.asked > 0 {
		wait = askAgain
	}
	if s.everAsked && now-s.askedAt < wait {
		return OutOfSync
	}
	s.asked++
	s.askedAt, s.everAsked = now, true
	return NeedReset
}
