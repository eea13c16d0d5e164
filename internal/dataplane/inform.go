package dataplane

import (
	"time"

	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
)

// A client may put so many questions at once, and then one in so many nanoseconds. Windows repeats an unanswered one after
// four seconds.
const (
	informBurst = 4
	informEvery = int64(time.Second)
)

// informer answers what one session's client asks of DHCP. It belongs to the shard.
type informer struct {
	answer *dhcp.Answer // nil: questions go into the network like all else
	server uint32       // to whom they go, if not to all
	next   int64        // when the next question is due, were they to come evenly
}

// set takes another answer. What has been asked before counts on.
func (f *informer) set(a *dhcp.Answer) {
	f.answer, f.server = a, 0
	if a != nil {
		f.server = a.Server()
	}
}

// hears says whether a packet to dst may be a question. All that it costs other packets is this.
func (f *informer) hears(dst uint32) bool { return dst == dhcp.Broadcast || dst == f.server }

// allow counts a question and says whether it is within the bounds.
func (f *informer) allow(now int64) bool {
	next := max(f.next, now)
	if next-now > (informBurst-1)*informEvery {
		return false
	}
	f.next = next + informEvery
	return true
}

// answerDHCP answers b, which the client sent to somebody that informer hears, if it asks a DHCP server. Then it reports
// true: b goes no further and is counted. The answer is a service of ours, as IPCP is: ACL and rates don't concern it.
func (s *shard) answerDHCP(c *call, b *pktbuf.Buf, h *policy.IPv4) bool {
	if c.inform.answer == nil || !dhcp.Asks(b.Bytes(), h) {
		return false
	}
	if c.requireMPPE && c.encrypt == nil {
		s.drop(c, DropMPPERequired)
		return true
	}
	if !c.inform.allow(s.now) {
		s.drop(c, DropDHCPRate)
		return true
	}
	answer := s.buf()
	if answer == nil {
		s.drop(c, DropNoRoom)
		return true
	}
	room := answer.Append(min(c.mtu, dhcp.MaxLen))
	p, ok := c.inform.answer.Append(room[:0], b.Bytes(), h, len(room))
	if !ok {
		s.drop(c, DropDHCPRefused)
		return true
	}
	answer.Truncate(len(p))
	c.countIn(s.now, h.TotalLen)
	if len(c.inner) != 0 {
		c.inner.Put(b.Bytes())
		c.inner.Put(answer.Bytes())
	}
	s.encapsulate(c, answer)
	return true
}
