package l2tpdata

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/l2tp"
)

// Numbers of UDP, RFC 768.
const (
	udpHeaderLen = 8
	udpProtocol  = 17
)

// StripUDP takes the UDP header off the transport payload in b, which starts with it, and leaves the L2TP message. Octets
// behind UDP's length are cut off: traffic flow confidentiality adds some (RFC 4303 section 2.7). The destination
// must be L2TP's port. srcPort is the peer's, which may be any (RFC 3193 section 4).
//
// With check, a checksum that is there must be right for the outer addresses src and dst. Behind a NAT it was computed with
// others and must not be checked (RFC 3948 section 3.1.2).
func StripUDP(b *pktbuf.Buf, check bool, src, dst [4]byte) (srcPort uint16, v Verdict) {
	p := b.Bytes()
	if len(p) < udpHeaderLen {
		return 0, Malformed
	}
	n := int(binary.BigEndian.Uint16(p[4:]))
	if n < udpHeaderLen || n > len(p) {
		return 0, Malformed
	}
	if binary.BigEndian.Uint16(p[2:]) != l2tp.Port {
		return 0, Port
	}
	if check && binary.BigEndian.Uint16(p[6:]) != 0 &&
		checksum.Fold(checksum.Add(checksum.Pseudo(src, dst, udpProtocol, n), p[:n])) != 0xffff {
		return 0, Checksum
	}
	srcPort = binary.BigEndian.Uint16(p)
	b.Truncate(n)
	b.TrimFront(udpHeaderLen)
	return srcPort, OK
}

// PrependUDP puts a UDP header from L2TP's port to dstPort before the message in b. The checksum is 0, none: the ICV of
// ESP is better, and RFC 3948 section 3.1.2 lets the receiver do without. False, and nothing has changed, if b has no room.
func PrependUDP(b *pktbuf.Buf, dstPort uint16) bool {
	h := b.Prepend(udpHeaderLen)
	if h == nil {
		return false
	}
	binary.BigEndian.PutUint16(h, l2tp.Port)
	binary.BigEndian.PutUint16(h[2:], dstPort)
	binary.BigEndian.PutUint16(h[4:], uint16(b.Len()))
	binary.BigEndian.PutUint16(h[6:], 0)
	return true
}
