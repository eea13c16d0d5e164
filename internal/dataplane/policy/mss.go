package policy

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
)

const (
	tcpHeaderLen  = 20
	tcpFlagSYN    = 0x02
	tcpOptEnd     = 0
	tcpOptNop     = 1
	tcpOptMSS     = 2
	tcpOptMSSLen  = 4
	headersOfTCP4 = minHeaderLen + tcpHeaderLen
)

// ClampMSS lowers the maximum segment size that a TCP SYN announces to what fits packets of mtu octets, and
// corrects the checksum (RFC 1624). It never raises it, and leaves alone what isn't a SYN in the first fragment, or
// is malformed. h is the header of p. It reports whether it changed p, whose TCP checksum must be a finished one.
func ClampMSS(p []byte, h *IPv4, mtu int) bool {
	if h.Protocol != protocolTCP || h.FragmentOffset != 0 || mtu <= headersOfTCP4 {
		return false
	}
	tcp := p[h.HeaderLen:h.TotalLen]
	if len(tcp) < tcpHeaderLen || tcp[13]&tcpFlagSYN == 0 {
		return false
	}
	end := int(tcp[12]>>4) * 4
	if end < tcpHeaderLen || end > len(tcp) {
		return false
	}
	most := uint16(min(mtu-headersOfTCP4, 0xffff))
	for at := tcpHeaderLen; at < end; {
		kind := tcp[at]
		if kind == tcpOptEnd {
			return false
		}
		if kind == tcpOptNop {
			at++
			continue
		}
		if at+1 >= end {
			return false
		}
		n := int(tcp[at+1])
		if n < 2 || at+n > end {
			return false
		}
		if kind == tcpOptMSS && n == tcpOptMSSLen {
			return lowerMSS(tcp, at+2, most)
		}
		at += n
	}
	return false
}

// lowerMSS replaces the segment size at tcp[at:] by most if that is less.
func lowerMSS(tcp []byte, at int, most uint16) bool {
	old := binary.BigEndian.Uint16(tcp[at:])
	if old <= most {
		return false
	}
	binary.BigEndian.PutUint16(tcp[at:], most)
	from, to := old, most
	if at%2 != 0 {
		// The two octets lie in two words of the sum, which comes to the same as one word with the octets
		// exchanged (RFC 1071 section 2 B).
		from, to = from<<8|from>>8, to<<8|to>>8
	}
	sum := uint32(^binary.BigEndian.Uint16(tcp[16:])) + uint32(^from) + uint32(to)
	binary.BigEndian.PutUint16(tcp[16:], ^checksum.Fold(uint64(sum)))
	return true
}
