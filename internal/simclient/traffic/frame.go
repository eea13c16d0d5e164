package traffic

import (
	"encoding/binary"
	"net/netip"
)

// Layout of an inner packet: IPv4 (RFC 791), UDP (RFC 768), and what we measure by.
const (
	ipLen      = 20
	udpLen     = 8
	stampLen   = 24
	headLen    = ipLen + udpLen + stampLen
	protoUDP   = 17
	ttl        = 64
	dontFrag   = 0x4000
	clientPort = 40000 // of the clients' ends of all flows
)

// stamp is what every packet carries behind its UDP header.
type stamp struct {
	run  uint32 // tells this run's packets from others
	flow uint32 // the session
	seq  uint64 // from 0, of the flow and direction
	at   int64  // when it was made, nanoseconds since the run's beginning
}

func (s stamp) put(b []byte) {
	_ = b[:stampLen]
	binary.BigEndian.PutUint32(b, s.run)
	binary.BigEndian.PutUint32(b[4:], s.flow)
	binary.BigEndian.PutUint64(b[8:], s.seq)
	binary.BigEndian.PutUint64(b[16:], uint64(s.at))
}

// parseStamp reads the UDP payload b; false: it is none of this run's.
func parseStamp(b []byte, run uint32) (stamp, bool) {
	if len(b) < stampLen || binary.BigEndian.Uint32(b) != run {
		return stamp{}, false
	}
	return stamp{
		run, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint64(b[16:])),
	}, true
}

// sum adds up the 16-bit words of b, an odd octet at the end with a 0 behind it (RFC 1071).
func sum(b []byte) (s uint64) {
	for ; len(b) >= 4; b = b[4:] {
		s += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// fold ends a sum as a checksum.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// template makes inner packets of one length from clients to the responder, with right checksums: what the server does
// with packets depends on them.
type template struct {
	packet  []byte // with 0 where sessions and packets differ
	headSum uint64 // of the IPv4 header
	udpSum  uint64 // of pseudo header, UDP header and filling
}

// filling is what stands behind the stamp, of any length.
func filling(b []byte) {
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
}

func newTemplate(size int, to netip.AddrPort) *template {
	t := &template{packet: make([]byte, size)}
	p, dst := t.packet, to.Addr().As4()
	p[0], p[8], p[9] = 0x45, ttl, protoUDP
	binary.BigEndian.PutUint16(p[2:], uint16(size))
	binary.BigEndian.PutUint16(p[6:], dontFrag)
	copy(p[16:], dst[:])
	u := p[ipLen:]
	binary.BigEndian.PutUint16(u, clientPort)
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	filling(p[headLen:])
	t.headSum = sum(p[:ipLen])
	t.udpSum = sum(u) + sum(dst[:]) + protoUDP + uint64(len(u))
	return t
}

// put writes a packet from src, whose words add up to srcSum, into b, which is as long as the template's packet.
func (t *template) put(b []byte, src [4]byte, srcSum uint64, s stamp) {
	copy(b, t.packet)
	copy(b[12:], src[:])
	binary.BigEndian.PutUint16(b[10:], fold(t.headSum+srcSum))
	s.put(b[ipLen+udpLen:])
	c := fold(t.udpSum + srcSum + sum(b[ipLen+udpLen:headLen]))
	if c == 0 {
		c = 0xffff // 0 would mean none
	}
	binary.BigEndian.PutUint16(b[ipLen+6:], c)
}

// payload is the UDP payload of an inner IPv4 packet from the responder; false: it is another packet. Inner checksums are
// the kernel's and the server's business.
func payload(p []byte, from netip.AddrPort) ([]byte, bool) {
	if len(p) < ipLen+udpLen || p[0] != 0x45 || p[9] != protoUDP {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(p[2:]))
	if n > len(p) || n < ipLen+udpLen || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 { // a fragment
		return nil, false
	}
	u := p[ipLen:n]
	if [4]byte(p[12:]) != from.Addr().As4() || binary.BigEndian.Uint16(u) != from.Port() ||
		int(binary.BigEndian.Uint16(u[4:])) != len(u) {
		return nil, false
	}
	return u[udpLen:], true
}
