package dataplane

import (
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
)

// longestControl is how many octets an outer packet has at most that may hold a control frame, which no rate limits.
const longestControl = 256

// worth says whether a packet of n octets from a peer is worth decrypting: not when it would be dropped for its session's
// rate anyway, and not when the shard is overloaded and the peer has had its share. Only what proved to be the peer's counts
// against its rate, so nobody can use it up by forging.
func (s *shard) worth(p *peer, n int) Drop {
	if c := p.only; c != nil && c.up != nil && n > longestControl && c.up.Deep(s.now) {
		return DropRateLimit
	}
	if !s.fairIn.Admit(&p.share, s.now) {
		return DropShardBusy
	}
	return Pass
}

// withinRate says whether an inner packet may go on now. Else a copy of it waits for its session's rate, or it is dropped.
func (s *shard) withinRate(c *call, by *policy.Shaper, b *pktbuf.Buf) bool {
	if by == nil {
		return true
	}
	switch by.Offer(b.Len(), s.now) {
	case policy.ShapePass:
		return true
	case policy.ShapeQueue:
		s.shape(c, by, b)
	case policy.ShapeDrop:
		s.drop(c, DropRateLimit)
	}
	return false
}

// shape keeps a copy of b until its session's rate allows it.
func (s *shard) shape(c *call, by *policy.Shaper, b *pktbuf.Buf) {
	kept := s.shaped.Get()
	if kept == nil {
		s.drop(c, DropRateLimit)
		return
	}
	kept.CopyFrom(b)
	by.Push(kept)
	due, _ := by.Due()
	if due = max(due, s.now+shapeGrain); len(s.shaping) == 0 || due < s.nextShaped {
		s.nextShaped = due
	}
	if !c.shaping {
		c.shaping = true
		s.shaping = append(s.shaping, c)
	}
}

// runShapers sends on what has waited long enough.
func (s *shard) runShapers() {
	if len(s.shaping) == 0 || s.now < s.nextShaped {
		return
	}
	soonest := int64(0)
	for i := 0; i < len(s.shaping); {
		c := s.shaping[i]
		s.at = blame{call: c}
		s.unshape(c)
		due, any := c.shapeDue()
		if !any {
			c.shaping = false
			last := len(s.shaping) - 1
			s.shaping[i], s.shaping[last] = s.shaping[last], nil
			s.shaping = s.shaping[:last]
			continue
		}
		if i == 0 || due < soonest {
			soonest = due
		}
		i++
	}
	s.at = blame{}
	s.nextShaped = max(soonest, s.now+shapeGrain)
}

// unshape sends on what c's rates allow now.
func (s *shard) unshape(c *call) {
	for b := next(c.up, s.now); b != nil; b = next(c.up, s.now) {
		s.lend(b, s.shaped)
		if c.net == nil {
			s.drop(c, DropNotOpen)
			continue
		}
		s.toNetwork(c, c.net, b)
	}
	for {
		if len(s.lent) >= batchSize {
			s.flush() // before the next is lent, which must outlive it
		}
		b := next(c.down, s.now)
		if b == nil {
			return
		}
		s.lend(b, s.shaped)
		var h policy.IPv4
		if !h.Parse(b.Bytes()) || !c.open || c.requireMPPE && c.encrypt == nil { // it has changed meanwhile
			s.drop(c, DropNotOpen)
			continue
		}
		s.toClient(c, b, &h)
	}
}

// next is the packet whose turn has come; nil: none, or no limit.
func next(by *policy.Shaper, now int64) *pktbuf.Buf {
	if by == nil {
		return nil
	}
	return by.Pop(now)
}

// shapeDue is when the next packet of c may pass that waits for its rate.
func (c *call) shapeDue() (due int64, any bool) {
	for _, by := range []*policy.Shaper{c.up, c.down} {
		if by == nil {
			continue
		}
		if at, waits := by.Due(); waits && (!any || at < due) {
			due, any = at, true
		}
	}
	return due, any
}

// setRates limits a call's rates, in bits a second; 0: no limit. What waits goes when its turn has come, or is dropped where
// nothing limits it any more.
func (s *shard) setRates(c *call, up, down uint64) {
	c.up = s.setRate(c, c.up, up)
	c.down = s.setRate(c, c.down, down)
}

func (s *shard) setRate(c *call, by *policy.Shaper, bps uint64) *policy.Shaper {
	switch {
	case bps != 0 && by != nil:
		by.SetRate(bps, 0)
		return by
	case bps != 0:
		return policy.NewShaper(bps, 0)
	}
	if by == nil {
		return nil
	}
	by.SetRate(0, 0)
	for b := by.Pop(s.now); b != nil; b = by.Pop(s.now) {
		s.shaped.Put(b)
		s.drop(c, DropRateLimit)
	}
	return nil
}

// wantTOS makes the shard's UDP sockets tell the outer Type of Service from now on.
func (s *shard) wantTOS() {
	for _, f := range s.faces {
		if f.udp == nil || f.tos {
			continue
		}
		if err := f.udp.WantTOS(); err != nil {
			s.stats.ReceiveErrors++
			continue
		}
		f.tos = true
	}
}
