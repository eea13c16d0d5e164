package mppe

const (
	// nearSlots holds the keys of NearKeys positions up to top and as many ahead of it.
	nearSlots = 2 * NearKeys
	// markEvery is the distance between marks, markSlots how many the latest of them are remembered: they reach
	// back half a cycle of the coherency count.
	markEvery = 64
	markSlots = countSpace/2/markEvery + 1
	// freeSteps is how far from a candidate its confirmation may be without asking the budget, so that forged
	// packets that eat the budget can't keep a peer from being found again.
	freeSteps = 8
)

// stateless is what a stateless receiver knows of the key chain. Every packet has a key of its own, each made
// from the one before.
type stateless struct {
	// near is a ring of keys by position, for the NearKeys positions up to top, and on to known.
	near  [nearSlots]key
	known uint64
	// derived is the highest position near by that a packet was tried at. known can be higher, when a packet that was
	// foreseen there turned out to be elsewhere: what follows mustn't depend on how packets were batched.
	derived uint64
	// used has bit i set when position top-i was decrypted, or its key isn't known any more.
	used uint64

	// What was derived in search of positions far ahead: up to frontier, with a mark at every multiple of
	// markEvery that is passed.
	frontier    uint64
	frontierKey key
	marks       [markSlots]key

	// candidate is a position far ahead where a packet was credible.
	hasCandidate bool
	candidate    uint64
	candidateSeq uint32
	candidateKey key
}

// openStateless decrypts a packet of a session that changes its key with every packet (RFC 3078 section 8.1).
func (r *Receiver) openStateless(op *OpenOp, sl *slot, count uint16, now int64, x *Scratch) Verdict {
	nearest, farthest := r.ahead(count, op.Seq)
	switch {
	case r.late(nearest):
		return Late
	case nearest <= NearKeys:
		if r.remote(op.Seq) {
			if r.maySpend(op.Seq, now) < 1 {
				return OverBudget
			}
			r.budget.spend(1, now)
		}
		if pos := r.at(nearest); r.tryNear(op, sl, pos, x) {
			r.acceptNear(pos, op.Seq)
			return OK
		}
		if farthest == nearest {
			return Implausible
		}
	}
	return r.openFar(op, r.top+uint64(farthest), now, x)
}

// late reports whether a packet this far ahead is behind the window, or a replay.
func (r *Receiver) late(ahead int) bool {
	return ahead <= 0 && (ahead <= -NearKeys || uint64(-ahead) >= r.top || r.stateless.used>>-ahead&1 != 0)
}

// at is the position so far ahead of top.
func (r *Receiver) at(ahead int) uint64 {
	return uint64(int64(r.top) + int64(ahead))
}

// tryNear decrypts the packet if it is credible at a position near by. If the position was foreseen, the buffer holds
// the plaintext only after openRests.
func (r *Receiver) tryNear(op *OpenOp, sl *slot, pos uint64, x *Scratch) bool {
	k := r.nearKey(pos, x)
	if sl != nil && sl.position == pos {
		sl.accepted = op.judge(sl.head[:], false, x)
		if sl.accepted {
			op.Buf.TrimFront(headerLen)
		}
		return sl.accepted
	}
	x.rc4.init(&k, r.schedule.n)
	if !op.try(false, x) {
		return false
	}
	op.finish(x)
	return true
}

// nearKey is the key of a position between top-NearKeys and top+NearKeys. Keys ahead are derived when first asked for and
// kept: each position costs one key change, however often it is asked for.
func (r *Receiver) nearKey(pos uint64, x *Scratch) key {
	s := &r.stateless
	for s.known < pos {
		k := s.near[s.known%nearSlots]
		r.schedule.change(&k, x)
		s.known++
		s.near[s.known%nearSlots] = k
	}
	s.derived = max(s.derived, pos)
	return s.near[pos%nearSlots]
}

// acceptNear marks a position as used, and makes it the top if it is ahead.
func (r *Receiver) acceptNear(pos uint64, seq uint32) {
	s := &r.stateless
	s.hasCandidate = false // what was seen far away isn't in a row with what follows
	if pos <= r.top {
		s.used |= 1 << (r.top - pos)
		return
	}
	s.used = s.used<<(pos-r.top) | 1
	r.moveTop(pos, seq)
}

// openFar decrypts a packet more than NearKeys ahead, if its key can be reached within the budget. The first that is
// credible becomes the candidate and is held; the second one near it moves the receiver.
func (r *Receiver) openFar(op *OpenOp, pos uint64, now int64, x *Scratch) Verdict {
	if pos > r.top+MaxAhead {
		return FarJump
	}
	s := &r.stateless
	k, ok := r.farKey(pos, op.Seq, now, x)
	if !ok {
		return OverBudget
	}
	x.rc4.init(&k, r.schedule.n)
	if !op.try(true, x) {
		return Implausible
	}
	if s.hasCandidate && pos == s.candidate {
		return FarJump // it may be the candidate once more
	}
	if !s.hasCandidate || max(pos, s.candidate)-min(pos, s.candidate) > NearKeys {
		s.hasCandidate, s.candidate, s.candidateSeq, s.candidateKey = true, pos, op.Seq, k
		return FarJump
	}
	op.finish(x)
	seq := op.Seq
	if s.candidate > pos {
		pos, seq, k = s.candidate, s.candidateSeq, s.candidateKey
	}
	r.takeOver(pos, seq, k)
	return Resynced
}

// takeOver makes pos the top, with key k. The keys before it are unknown.
func (r *Receiver) takeOver(pos uint64, seq uint32, k key) {
	s := &r.stateless
	s.near[pos%nearSlots] = k
	s.known, s.derived = pos, pos
	s.used = ^uint64(0)
	s.hasCandidate = false
	r.moveTop(pos, seq)
}

// farKey seeks the key of a position far ahead on a copy of the chain. It spends the budget, one for each key change and
// one for trying the result. When the budget doesn't reach, what it does reach is kept for the next packet.
func (r *Receiver) farKey(pos uint64, seq uint32, now int64, x *Scratch) (key, bool) {
	s := &r.stateless
	if s.hasCandidate && pos >= s.candidate && pos-s.candidate <= freeSteps {
		k := s.candidateKey
		for range pos - s.candidate {
			r.schedule.change(&k, x)
		}
		return k, true
	}
	from, k, extends := s.nearestKnown(pos)
	left := r.maySpend(seq, now)
	steps, reached := int(pos-from), true
	if steps+1 > left {
		if !extends || left == 0 {
			return key{}, false
		}
		steps, reached = left, false
		r.budget.spend(steps, now)
	} else {
		r.budget.spend(steps+1, now)
	}
	for range steps {
		r.schedule.change(&k, x)
		from++
		if extends && from%markEvery == 0 {
			s.marks[from/markEvery%markSlots] = k
		}
	}
	if extends {
		s.frontier, s.frontierKey = from, k
	}
	return k, reached
}

// nearestKnown is the known position nearest before pos, or pos itself, with its key. extends says that the keys
// from there on are new, and so the frontier moves with them.
func (s *stateless) nearestKnown(pos uint64) (from uint64, k key, extends bool) {
	from, k = s.derived, s.near[s.derived%nearSlots]
	if s.frontier <= from {
		return from, k, true
	}
	if s.frontier <= pos {
		return s.frontier, s.frontierKey, true
	}
	mark := pos - pos%markEvery
	if mark <= from {
		return from, k, false
	}
	if s.frontier-mark < markSlots*markEvery {
		return mark, s.marks[mark/markEvery%markSlots], false
	}
	return from, k, true // the frontier has run so far ahead that its marks are no help: begin anew
}
