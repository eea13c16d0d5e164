package dataplane

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/steer"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// espItem is an ESP packet of a batch that has found its SA.
type espItem struct {
	sa       *sa
	buf      *pktbuf.Buf // from the ESP header on; after opening from the UDP header on
	from, to [4]byte
	port     uint16 // of the peer's UDP encapsulation
	seq      uint32 // as on the wire
}

// rawESP does step 2 for a packet that starts with its outer IPv4 header.
func (s *shard) rawESP(f *face, b *pktbuf.Buf, passed bool) {
	outer := b.Bytes()
	if len(outer) < ipMinHeader || outer[0]>>4 != 4 || outer[ipProtocol] != unix.IPPROTO_ESP {
		s.drop(nil, DropWireMalformed)
		return
	}
	length := int(outer[0]&0xf) * 4
	if length < ipMinHeader || length > len(outer) {
		s.drop(nil, DropWireMalformed)
		return
	}
	from, to := [4]byte(outer[ipSource:]), [4]byte(outer[ipDestination:])
	h, err := esphdr.ParseHeader(outer[length:])
	if err != nil {
		s.drop(nil, DropESPMalformed)
		return
	}
	if shard := int(h.SPI) % steer.MaxShards; shard != s.id { // 2
		if shard < len(s.peers) && !passed {
			s.pass(shard, false, f.index, outer)
		} else {
			s.drop(nil, DropESPUnknownSPI)
		}
		return
	}
	b.TOS = outer[ipTOS]
	b.TrimFront(length)
	s.findSA(b, h, from, to, 0, f, outer)
}

// datagram does step 2 for what came by UDP: IKE goes out to the control side, the rest to its shard.
func (s *shard) datagram(f *face, b *pktbuf.Buf, d *netio.Datagram, passed bool) {
	b.TOS = d.TOS
	switch f.kind {
	case faceIKE:
		s.handIKE(f, d, b.Bytes(), portIKE)
		return
	case faceL2TP:
		s.plainL2TP(f, b, d, passed)
		return
	default: // NAT-T
	}
	p := b.Bytes()
	switch esphdr.Classify(p) { // 2
	case esphdr.KindKeepalive:
		return
	case esphdr.KindIKE:
		s.handIKE(f, d, p[esphdr.MarkerLen:], portNATT)
		return
	case esphdr.KindMalformed:
		s.drop(nil, DropESPMalformed)
		return
	case esphdr.KindESP:
	}
	if len(d.Rest) > 0 {
		s.drop(nil, DropWireOversize)
		return
	}
	h, err := esphdr.ParseHeader(p)
	if err != nil {
		s.drop(nil, DropESPMalformed)
		return
	}
	if shard := int(h.SPI) % steer.MaxShards; shard != s.id {
		if shard < len(s.peers) && !passed {
			s.passDatagram(shard, f, d, p)
		} else {
			s.drop(nil, DropESPUnknownSPI)
		}
		return
	}
	s.findSA(b, h, d.From, d.To, d.FromPort, f, nil)
}

// handIKE copies an IKE message to the control side.
func (s *shard) handIKE(f *face, d *netio.Datagram, head []byte, port uint16) {
	msg := make([]byte, 0, len(head)+len(d.Rest))
	msg = append(append(msg, head...), d.Rest...)
	f.sink.IKE(netip.AddrPortFrom(netip.AddrFrom4(d.To), port), netip.AddrPortFrom(netip.AddrFrom4(d.From), d.FromPort), msg)
}

// findSA does step 3: SPI → SA, which must be one of the address that the packet came to, and come as it was agreed. From
// where it came is only asked of raw ESP: in UDP a NAT may have moved it, and only what the SA has proved counts. port is the
// peer's in UDP, outer the whole packet of raw ESP.
func (s *shard) findSA(b *pktbuf.Buf, h esphdr.Header, from, to [4]byte, port uint16, f *face, outer []byte) {
	a := s.lookupSA(h.SPI) // 3
	if a == nil {
		s.drop(nil, DropESPUnknownSPI)
		return
	}
	p := a.peer
	mine := p.raw == f && from == p.remote
	if a.encap {
		mine = p.udp == f
	}
	if !mine || a.encap != (f.kind == faceNATT) || to != p.local {
		s.drop(nil, DropESPWrongAddress)
		return
	}
	s.at = blame{peer: p}
	if len(p.outer) != 0 {
		p.tapIn(f, outer, from, port, b)
	}
	if d := s.worth(p, b.Len()); d != Pass {
		s.drop(p.only, d)
		return
	}
	it, op := extend(&s.espItems), extend(&s.espOpens)
	it.sa, it.buf, it.from, it.to, it.port, it.seq = a, b, from, to, port, h.Seq
	op.SA, op.Buf = a.in, b
}

// openESP does steps 4 to 8 for the packets in s.espItems. Decryption is one call for all of them.
func (s *shard) openESP() {
	esp.OpenBatch(s.espOpens, s.espScratch) // 4
	for i := range s.espItems {
		s.at = blame{peer: s.espItems[i].sa.peer}
		s.acceptESP(&s.espItems[i], &s.espOpens[i])
	}
	s.at = blame{}
	clear(s.espItems)
	clear(s.espOpens)
	s.espItems, s.espOpens = s.espItems[:0], s.espOpens[:0]
}

// espDrops says how a verdict of ESP is counted.
var espDrops = [...]Drop{
	esp.OK:        Pass,
	esp.Malformed: DropESPMalformed,
	esp.Replay:    DropESPReplay,
	esp.Auth:      DropESPAuth,
	esp.Padding:   DropESPPadding,
	esp.Dummy:     DropESPDummy,
	esp.Exhausted: DropESPExhausted,
	esp.NoRoom:    DropNoRoom,
}

// acceptESP takes what an SA has proved to be its peer's.
func (s *shard) acceptESP(it *espItem, op *esp.OpenOp) {
	a, p := it.sa, it.sa.peer
	if f := a.in.Form(); f > p.form { // a dummy packet shows it too
		s.learnForm(p, f)
	}
	if d := espDrops[op.Verdict]; d != Pass {
		s.drop(nil, d)
		s.checkLimit(p, a.spi, &a.inLimit, a.in.PastSoft(), a.in.PastHard())
		return
	}
	p.lastInbound = s.now
	if a.encap && (it.port != p.port || it.from != p.remote) && it.seq == uint32(a.in.Packets()) {
		// The peer's NAT gave it another mapping. Only the newest packet tells where it is now (RFC 3947 section 7).
		p.remote, p.port = it.from, it.port
		p.sink.Moved(netip.AddrPortFrom(netip.AddrFrom4(it.from), it.port))
	}
	if !a.used {
		s.firstUse(a)
	}
	s.checkLimit(p, a.spi, &a.inLimit, a.in.PastSoft(), a.in.PastHard())
	if op.NextHeader != unix.IPPROTO_UDP {
		s.drop(nil, DropESPNextHeader)
		return
	}
	// RFC 3948 section 3.1.2: behind a NAT the inner checksum is over addresses that we don't see, and the ICV has
	// vouched for the packet.
	port, v := l2tpdata.StripUDP(it.buf, !a.encap, it.from, it.to) // 5
	if v != l2tpdata.OK {
		s.drop(nil, l2tpDrops[v])
		return
	}
	var h wirel2tp.Header
	frame, v := l2tpdata.Read(it.buf, &h)
	switch v {
	case l2tpdata.OK:
	case l2tpdata.Control:
		p.sink.Control(port, append(make([]byte, 0, it.buf.Len()), it.buf.Bytes()...))
		return
	default:
		s.drop(nil, l2tpDrops[v])
		return
	}
	if int(h.SessionID)%steer.MaxShards != s.id {
		s.drop(nil, DropL2TPUnknownSession)
		return
	}
	s.l2tpData(p, port, it.buf, &h, frame)
}

// checkLimit tells the control side, once each, that an SA's use has come near its lifetime or reached it.
func (s *shard) checkLimit(p *peer, inbound uint32, told *limit, soft, hard bool) {
	switch {
	case hard && !told.hard:
		told.soft, told.hard = true, true
		p.sink.SALimit(inbound, true)
	case soft && !told.soft:
		told.soft = true
		p.sink.SALimit(inbound, false)
	}
}

// plainL2TP takes what came by UDP 1701 outside an SA.
func (s *shard) plainL2TP(f *face, b *pktbuf.Buf, d *netio.Datagram, passed bool) {
	if !f.plain {
		s.drop(nil, DropL2TPCleartext)
		return
	}
	var h wirel2tp.Header
	frame, v := l2tpdata.Read(b, &h)
	switch v {
	case l2tpdata.OK:
	case l2tpdata.Control:
		for i := range s.controlTaps {
			s.controlTaps[i].received(d, b.Bytes())
		}
		msg := append(make([]byte, 0, b.Len()), b.Bytes()...)
		f.sink.PlainL2TP(netip.AddrFrom4(d.To), netip.AddrPortFrom(netip.AddrFrom4(d.From), d.FromPort), msg)
		return
	default:
		s.drop(nil, l2tpDrops[v])
		return
	}
	if shard := int(h.SessionID) % steer.MaxShards; shard != s.id {
		if shard < len(s.peers) && !passed {
			s.passDatagram(shard, f, d, b.Bytes())
		} else {
			s.drop(nil, DropL2TPUnknownSession)
		}
		return
	}
	c := s.calls[h.SessionID>>steer.ShardBits]
	if c == nil || c.l2tp == nil {
		s.drop(nil, DropL2TPUnknownSession)
		return
	}
	p := c.l2tp.peer
	if !p.plain || p.udp != f || d.From != p.remote || d.To != p.local || d.FromPort != p.port {
		s.drop(nil, DropL2TPWrongPeer)
		return
	}
	s.at = blame{call: c}
	if len(p.outer) != 0 {
		p.tapIn(f, nil, d.From, d.FromPort, b)
	}
	if d := s.worth(p, b.Len()); d != Pass {
		s.drop(c, d)
		return
	}
	s.l2tpData(p, d.FromPort, b, &h, frame)
}

// l2tpDrops says how a verdict of l2tpdata is counted.
var l2tpDrops = [...]Drop{
	l2tpdata.OK:        Pass,
	l2tpdata.Malformed: DropL2TPMalformed,
	l2tpdata.Checksum:  DropL2TPChecksum,
	l2tpdata.Port:      DropL2TPWrongPort,
	l2tpdata.Late:      DropL2TPLate,
	l2tpdata.Far:       DropL2TPFarJump,
	l2tpdata.Control:   DropL2TPMalformed, // looked at before
}

// strayInterval is how often, in nanoseconds, a peer's data for another peer's tunnel is told of.
const strayInterval = int64(time.Second)

// l2tpData takes a data message of a peer, whose header h was read and whose PPP frame has frame octets: session ID → call,
// which must be the peer's, in the tunnel that the header names (RFC 2661 section 3.1).
func (s *shard) l2tpData(p *peer, port uint16, b *pktbuf.Buf, h *wirel2tp.Header, frame int) {
	l2tpdata.Cut(b, h, frame) // 5
	c := s.calls[h.SessionID>>steer.ShardBits]
	if c == nil || c.l2tp == nil {
		s.drop(nil, DropL2TPUnknownSession)
		return
	}
	if c.l2tp.peer != p || c.l2tp.localTunnel != h.TunnelID {
		s.drop(nil, DropL2TPWrongPeer)
		if !p.plain && s.now-p.strayed >= strayInterval {
			p.strayed = s.now
			p.sink.Stray(port, h.TunnelID)
		}
		return
	}
	s.at = blame{call: c}
	if h.HasSequence {
		if d := l2tpDrops[c.l2tp.sequence.Accept(h.Ns)]; d != Pass {
			s.drop(c, d)
			return
		}
	}
	s.deliverFrame(c, b, false)
}

// markerOf is what stands before an IKE message on UDP 4500 (RFC 3948 section 2.2).
func markerOf(msg []byte) []byte {
	return append(make([]byte, esphdr.MarkerLen, esphdr.MarkerLen+len(msg)), msg...)
}
