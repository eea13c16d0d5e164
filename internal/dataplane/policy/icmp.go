package policy

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
	"concentrator/internal/dataplane/pktbuf"
)

const (
	icmpHeaderLen       = 8
	icmpUnreachable     = 3 // RFC 792
	icmpFragNeeded      = 4 // RFC 792; next-hop MTU in the last two octets: RFC 1191 section 4
	icmpSourceQuench    = 4
	icmpRedirect        = 5
	icmpTimeExceeded    = 11
	icmpParameterBad    = 12
	maxErrorLen         = 576  // RFC 1812 section 4.3.2.3
	precedenceInternet  = 0xc0 // RFC 1812 section 4.3.2.5
	defaultTTL          = 64
	loopbackNet         = 127
	firstMulticastOctet = 224
)

// FragmentationNeeded makes b the ICMP message that tells the sender of p, whose header is h, that only packets of mtu
// octets get through (RFC 792, RFC 1191 section 4). from is our address, in host order. It reports false, and leaves b
// empty, when no error may be sent about p (RFC 1122 section 3.2.2): it is an ICMP error itself, a fragment but the
// first, or not from and to single hosts.
func FragmentationNeeded(b *pktbuf.Buf, p []byte, h *IPv4, from uint32, mtu int) bool {
	b.Reset()
	if h.FragmentOffset != 0 || !singleHost(h.Src) || !singleHost(h.Dst) || isICMPError(p, h) {
		return false
	}
	quoted := p[:min(h.TotalLen, maxErrorLen-minHeaderLen-icmpHeaderLen)]
	out := b.Append(minHeaderLen + icmpHeaderLen + len(quoted))
	header, message := out[:minHeaderLen], out[minHeaderLen:]

	clear(header)
	header[0], header[1] = 0x45, precedenceInternet
	binary.BigEndian.PutUint16(header[2:], uint16(len(out)))
	binary.BigEndian.PutUint16(header[6:], flagDontFragment) // so that identification 0 is right: RFC 6864 section 4.1
	header[8], header[9] = defaultTTL, protocolICMP
	binary.BigEndian.PutUint32(header[12:], from)
	binary.BigEndian.PutUint32(header[16:], h.Src)
	putChecksum(header)

	clear(message[:icmpHeaderLen])
	message[0], message[1] = icmpUnreachable, icmpFragNeeded
	binary.BigEndian.PutUint16(message[6:], uint16(min(max(mtu, 0), 0xffff)))
	copy(message[icmpHeaderLen:], quoted)
	binary.BigEndian.PutUint16(message[2:], checksum.Of(message))
	return true
}

// singleHost reports whether an ICMP error may go to a.
func singleHost(a uint32) bool {
	top := a >> 24
	return top != 0 && top != loopbackNet && top < firstMulticastOctet
}

// isICMPError reports whether p is an ICMP error message, or too short to tell.
func isICMPError(p []byte, h *IPv4) bool {
	if h.Protocol != protocolICMP {
		return false
	}
	if h.TotalLen == h.HeaderLen {
		return true
	}
	switch p[h.HeaderLen] {
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameterBad:
		return true
	}
	return false
}
