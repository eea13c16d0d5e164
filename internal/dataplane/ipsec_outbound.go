package dataplane

import (
	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
)

// espOut is a packet of a batch that waits to be sealed.
type espOut struct {
	sa   *sa
	call *call // nil: a control message
	size int   // of the inner packet, octets; 0: none
	buf  *pktbuf.Buf
}

// sendL2TP puts PPP and L2TP headers before b and gives it to the peer. size is that of the inner packet, 0 if b is a
// control frame.
func (s *shard) sendL2TP(c *call, b *pktbuf.Buf, size int, acfc, pfc bool, protocol uint16) {
	if !putFrameHeader(b, protocol, acfc, pfc) || !c.l2tp.wrap(b) { // 6
		s.drop(c, DropNoRoom)
		return
	}
	s.sendToPeer(c.l2tp.peer, c, c.l2tp.port, b, size)
}

// sendToPeer sends an L2TP message: in clear at once, else it waits for sealESP.
func (s *shard) sendToPeer(p *peer, c *call, port uint16, b *pktbuf.Buf, size int) {
	if p.plain {
		if len(p.outer) != 0 {
			p.tapOut(p.udp, b)
		}
		if m := s.enqueue(p.udp, c); m != nil {
			m.Data, m.From, m.To, m.Port, m.TOS = b.Bytes(), p.local, p.remote, p.port, b.TOS
		}
		c.countSent(s.now, size)
		return
	}
	if p.out == nil {
		s.drop(c, DropESPNoSA)
		return
	}
	if !l2tpdata.PrependUDP(b, port) {
		s.drop(c, DropNoRoom)
		return
	}
	if len(s.espSeals) == cap(s.espSeals) {
		s.sealESP()
	}
	op, out := extend(&s.espSeals), extend(&s.espOuts)
	op.SA, op.Buf, op.NextHeader = p.out.out, b, unix.IPPROTO_UDP
	out.sa, out.call, out.size, out.buf = p.out, c, size, b
}

// sealESP encrypts what waits and queues it for the wire, in order.
func (s *shard) sealESP() {
	if len(s.espSeals) == 0 {
		return
	}
	before := s.at
	s.at = blame{}
	esp.SealBatch(s.espSeals, s.espScratch) // 7
	for i := range s.espOuts {
		it := &s.espOuts[i]
		a, p := it.sa, it.sa.peer
		s.at = blame{peer: p}
		if d := espDrops[s.espSeals[i].Verdict]; d != Pass {
			s.drop(it.call, d)
			s.checkLimit(p, a.spi, &a.outLimit, a.out.PastSoft(), a.out.PastHard())
			continue
		}
		f, port := p.raw, uint16(0)
		if a.encap {
			f, port = p.udp, p.port
		}
		if len(p.outer) != 0 {
			p.tapOut(f, it.buf)
		}
		if m := s.enqueue(f, it.call); m != nil {
			m.Data, m.From, m.To, m.Port, m.TOS = it.buf.Bytes(), p.local, p.remote, port, it.buf.TOS
		}
		it.call.countSent(s.now, it.size)
		s.checkLimit(p, a.spi, &a.outLimit, a.out.PastSoft(), a.out.PastHard())
	}
	clear(s.espSeals)
	clear(s.espOuts)
	s.espSeals, s.espOuts = s.espSeals[:0], s.espOuts[:0]
	s.at = before
}

// sendPeerControl sends an L2TP control message through the peer's SA, in the order of the inbox.
func (s *shard) sendPeerControl(p *peer, port uint16, msg []byte) {
	if p = p.now(); p.removed {
		return
	}
	if p.out == nil && !p.spoken && len(p.early) < maxEarly {
		p.early = append(p.early, controlMessage{port, msg})
		return
	}
	if s.spare.Free() == 0 {
		s.flush() // a burst of commands: nothing else uses the buffers now
	}
	b := s.buf()
	if b == nil || !b.SetBytes(msg) {
		s.drop(nil, DropNoRoom)
		return
	}
	s.sendToPeer(p, nil, port, b, 0)
	s.sealESP()
}

// countSent counts a packet that is on its way to the client; a control message or frame counts nowhere.
func (c *call) countSent(now int64, size int) {
	if c != nil && size > 0 {
		c.countOut(now, size)
	}
}
