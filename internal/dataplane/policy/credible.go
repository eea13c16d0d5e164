package policy

import (
	"encoding/binary"

	"concentrator/internal/wire/ppp"
)

// CredibleInner judges a decrypted MPPE frame from its first octets: head begins with the protocol field, n is
// the length of the whole frame. Garbage must fail it, since it decides whether a key that was tried is the right
// one: only IPv4 with a right header checksum passes (about 1 in 2^40), and IPv6 whose lengths fit. For a
// position far away the source must be one of src's too. Near by it need not: a client that sends from a foreign
// address still has the right key, and what it sends is refused later, as spoofed.
//
// Other protocols never pass, legal or not: nothing here takes them encrypted, and two octets prove too little.
func CredibleInner(head []byte, n int, src *Sources, far bool) bool {
	if len(head) < 2 {
		return false
	}
	protocol, used := uint16(head[0]), 1
	if protocol&1 == 0 {
		protocol, used = binary.BigEndian.Uint16(head), 2
	}
	head, n = head[used:], n-used
	switch protocol {
	case ppp.ProtocolIPv4:
		var h IPv4
		return h.parseHead(head, n) && (!far || src.Allow(h.Src))
	case ppp.ProtocolIPv6:
		return !far && plausibleIPv6(head, n)
	}
	return false
}

// CredibleFrame judges a frame that came in the clear. info is what follows the protocol number, which
// ppp.ParseFrame has found to be legal. Near by, a control packet must have a length that fits, an IPv4 packet
// a right header, and everything else passes: it must be answered with a Protocol-Reject. For a position far away an
// IPv4 packet must also come from src, and what can't be checked doesn't pass.
func CredibleFrame(protocol uint16, info []byte, src *Sources, far bool) bool {
	switch {
	case protocol == ppp.ProtocolIPv4:
		var h IPv4
		return h.Parse(info) && (!far || src.Allow(h.Src))
	case protocol == ppp.ProtocolLQR: // a control protocol without code, identifier and length
		return !far
	case protocol >= 0x8000:
		return plausibleControl(info)
	}
	return !far
}

// plausibleControl reports whether p can be a control packet: code, identifier, length (RFC 1661 section 5), then
// perhaps padding.
func plausibleControl(p []byte) bool {
	if len(p) < 4 || p[0] == 0 {
		return false
	}
	n := int(binary.BigEndian.Uint16(p[2:]))
	return n >= 4 && n <= len(p)
}

// plausibleIPv6 reports whether head begins an IPv6 packet of n octets (RFC 8200 section 3).
func plausibleIPv6(head []byte, n int) bool {
	const headerLen = 40
	return len(head) >= headerLen && head[0]>>4 == 6 && int(binary.BigEndian.Uint16(head[4:]))+headerLen == n
}
