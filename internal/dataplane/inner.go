package dataplane

import (
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/pktbuf"
)

// tunOut is a packet that waits in the coalescer.
type tunOut struct {
	call *call // whose it is; nil: the shard's own
	net  *network
	size int // octets
}

// gone says that a TUN queue's device was deleted.
func gone(errno unix.Errno) bool { return errno == unix.EBADFD || errno == unix.EBADF }

// toNetwork gives an inner packet of c, or of the shard's own, to a network's device. b must stay as it is until the flush.
func (s *shard) toNetwork(c *call, n *network, b *pktbuf.Buf) { // 8
	if n.gone {
		s.drop(c, DropTUNGone)
		return
	}
	if c != nil && len(c.inner) != 0 {
		c.inner.Put(b.Bytes())
	}
	if s.coalescer.Full() {
		s.flushTUN()
	}
	out := extend(&s.tunOuts)
	out.call, out.net, out.size = c, n, b.Len()
	s.coalescer.Add(n.queue, b)
}

// flushTUN writes what waits for TUN devices, packets of one flow as one where the device takes that.
func (s *shard) flushTUN() {
	if len(s.tunOuts) == 0 {
		return
	}
	before := s.at
	s.at = blame{}
	s.coalescer.Flush()
	for i := range s.tunOuts {
		it := &s.tunOuts[i]
		switch errno := s.coalescer.Errno(i); {
		case errno == 0:
			s.stats.TUNOutPackets++
			if it.call != nil {
				it.call.countIn(s.now, it.size)
			}
		case gone(errno):
			s.loseNetwork(it.net)
			s.drop(it.call, DropTUNGone)
		default:
			s.drop(it.call, DropTUNWrite)
		}
	}
	s.coalescer.Reset()
	clear(s.tunOuts)
	s.tunOuts = s.tunOuts[:0]
	s.at = before
}
