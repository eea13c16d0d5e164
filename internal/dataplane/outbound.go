package dataplane

import (
	"encoding/binary"

	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/ppp"
)

// outboundItem is a packet of a batch on its way to a client of PPTP.
type outboundItem struct {
	call *call
	buf  *pktbuf.Buf // from the inner protocol number on, and after sealing from the MPPE header on
	size int         // of the inner packet, octets
	op   int         // index in shard.seals; -1: in the clear
}

// readTUN takes up to a batch of packets from a TUN queue, or to the end of a train, and says whether it was full.
func (s *shard) readTUN(n *network) (full bool) {
	if n.gone {
		return false
	}
	s.makeRoom()
	before := s.stats.TUNInPackets
	for s.used < batchSize && s.stats.TUNInPackets-before < batchSize {
		b := &s.in[s.used]
		what, errno := s.train.Read(n.queue, b) // 1
		if errno != 0 {
			if gone(errno) {
				s.loseNetwork(n)
			}
			break
		}
		switch what {
		case tun.Single:
			s.used++
			s.takeTUN(n, b)
		case tun.Several:
			s.cut(n)
		case tun.Oversize:
			s.drop(nil, DropTUNOversize)
		default:
			s.drop(nil, DropTUNOffload)
		}
	}
	read := int(s.stats.TUNInPackets - before)
	s.at = blame{}
	full = read >= batchSize
	s.fairOut.Batch(read, n.overflows(full), s.now)
	return full
}

// cut takes the packets of a train that the kernel has given in one piece. A train that fits a batch is not divided: it leaves
// in one piece as well where it can.
func (s *shard) cut(n *network) {
	if s.train.Left() > batchSize-s.used {
		s.flush()
	}
	for s.train.Left() > 0 {
		if s.used == batchSize {
			s.flush()
		}
		b := &s.in[s.used]
		if !s.train.Next(b) {
			return
		}
		s.used++
		s.takeTUN(n, b)
	}
}

func (s *shard) takeTUN(n *network, b *pktbuf.Buf) {
	s.stats.TUNInPackets++
	s.at = blame{} // until it is known
	s.route(n, b, false)
	if s.careful {
		s.flush()
	}
}

// route does steps 2 to 4 for an inner packet: the session, the policy and the PPP header. passed says that it came
// through the ring.
func (s *shard) route(n *network, b *pktbuf.Buf, passed bool) {
	var h policy.IPv4
	if !h.Parse(b.Bytes()) {
		s.drop(nil, DropIPMalformed)
		return
	}
	b.Truncate(h.TotalLen)
	to := n.table.lookup(h.Dst) // 2
	switch {
	case to == nil:
		s.drop(nil, DropNoSession)
		return
	case to.net != n:
		s.drop(nil, DropOtherNetwork)
		return
	case to.shard != s.id:
		if passed { // it moves just now
			s.drop(nil, DropNoSession)
			return
		}
		s.pass(to.shard, true, n.index, b.Bytes())
		return
	}
	c := to.call
	s.at = blame{call: c}
	switch { // 3
	case !c.open:
		s.drop(c, DropNotOpen)
		return
	case c.requireMPPE && c.encrypt == nil:
		s.drop(c, DropMPPERequired)
		return
	}
	if !s.fairOut.Admit(&c.share, s.now) {
		s.drop(c, DropShardBusy)
		return
	}
	if c.acl != nil && !c.acl.Permit(false, b.Bytes(), &h) {
		s.drop(c, DropACL)
		return
	}
	policy.ClampMSS(b.Bytes(), &h, c.mtu)
	b.TOS = c.dscp.Outer(policy.TOS(b.Bytes()))
	if h.TotalLen > c.mtu && h.DontFragment {
		s.tooBig(n, c, b, &h)
		return
	}
	if s.withinRate(c, c.down, b) {
		s.toClient(c, b, &h)
	}
}

// toClient gives an inner packet, in pieces where it is longer than the session takes, to what encapsulates it.
func (s *shard) toClient(c *call, b *pktbuf.Buf, h *policy.IPv4) {
	if len(c.inner) != 0 {
		c.inner.Put(b.Bytes())
	}
	if h.TotalLen <= c.mtu {
		s.encapsulate(c, b)
		return
	}
	pieces, ok := policy.Fragment(b.Bytes(), h, c.mtu)
	if !ok {
		s.drop(c, DropTooBig)
		return
	}
	for {
		piece := s.buf()
		if piece == nil {
			s.drop(c, DropNoRoom)
			return
		}
		if !pieces.Next(piece) {
			return
		}
		piece.TOS = b.TOS
		s.encapsulate(c, piece)
	}
}

// tooBig tells the sender of an inner packet that it does not fit the session (RFC 1191 section 4).
func (s *shard) tooBig(n *network, c *call, b *pktbuf.Buf, h *policy.IPv4) {
	s.drop(c, DropTooBig)
	answer := s.buf()
	if answer == nil || n.gateway == [4]byte{} {
		return
	}
	from := binary.BigEndian.Uint32(n.gateway[:])
	if !policy.FragmentationNeeded(answer, b.Bytes(), h, from, c.mtu) {
		return
	}
	s.toNetwork(nil, n, answer)
}

// encapsulate puts the headers before an inner packet of L2TP, while it is in the cache, and of PPTP the inner protocol number
// only, and adds it to the batch.
func (s *shard) encapsulate(c *call, b *pktbuf.Buf) { // 4
	if c.l2tp != nil {
		s.sendL2TP(c, b, b.Len(), c.acfc, c.pfc, ppp.ProtocolIPv4)
		return
	}
	if len(s.outs) == cap(s.outs) {
		s.drop(c, DropNoRoom)
		return
	}
	size, op := b.Len(), -1
	if c.encrypt != nil {
		// Inside MPPE the number is never compressed: Linux and Windows send it whole whatever was negotiated.
		protocol := b.Prepend(2)
		if protocol == nil {
			s.drop(c, DropNoRoom)
			return
		}
		binary.BigEndian.PutUint16(protocol, ppp.ProtocolIPv4)
		op = len(s.seals)
		seal := extend(&s.seals)
		seal.Sender, seal.Buf = c.encrypt, b
	}
	it := extend(&s.outs)
	it.call, it.buf, it.size, it.op = c, b, size, op
}

// sendAll does steps 5 to 7: one call encrypts all of MPPE, then each packet in s.outs gets its GRE header, and one call
// encrypts all of ESP.
func (s *shard) sendAll() {
	mppe.SealBatch(s.seals, s.scratch) // 5
	for i := range s.outs {
		it := &s.outs[i]
		s.at = blame{call: it.call}
		protocol := ppp.ProtocolIPv4
		if it.op >= 0 {
			if !s.seals[it.op].OK {
				s.drop(it.call, DropNoRoom)
				continue
			}
			protocol = ppp.ProtocolCompressed
		}
		if s.send(it.call, it.buf, protocol, it.call.acfc, it.call.pfc) {
			it.call.countOut(s.now, it.size)
		}
	}
	s.at = blame{}
	s.sealESP()
	clear(s.outs)
	clear(s.seals)
	s.outs, s.seals = s.outs[:0], s.seals[:0]
}

// send puts PPP and GRE headers before b and queues it. False, and counted, if there is no room for them.
func (s *shard) send(c *call, b *pktbuf.Buf, protocol uint16, acfc, pfc bool) bool {
	if !putFrameHeader(b, protocol, acfc, pfc) || !c.gre.Wrap(b) { // 6
		s.drop(c, DropNoRoom)
		return false
	}
	s.queue(c, b)
	return true
}

// putFrameHeader is ppp.AppendHeader in place: RFC 1661 section 6.5 and 6.6 say what may be left out.
func putFrameHeader(b *pktbuf.Buf, protocol uint16, acfc, pfc bool) bool {
	room := b.Prepend(ppp.HeaderLen(protocol, acfc, pfc))
	if room == nil {
		return false
	}
	ppp.AppendHeader(room[:0], protocol, acfc, pfc)
	return true
}

// sendControl sends a control frame in the order of the inbox. Nothing is compressed in its header.
func (s *shard) sendControl(c *call, protocol uint16, packet []byte) {
	if c.removed {
		return
	}
	if s.spare.Free() == 0 {
		s.flush() // a burst of commands: nothing else uses the buffers now
	}
	b := s.buf()
	if b == nil || !b.SetBytes(packet) {
		s.drop(c, DropNoRoom)
		return
	}
	if c.l2tp != nil {
		s.sendL2TP(c, b, 0, false, false, protocol)
		s.sealESP()
		return
	}
	s.send(c, b, protocol, false, false)
}
