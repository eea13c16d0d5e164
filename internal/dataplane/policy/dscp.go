package policy

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
)

// DSCP says how the Differentiated Services fields of inner and outer packets are tied (RFC 2983 section 3).
type DSCP uint8

// The models.
const (
	// Pipe: outer packets carry 0, and the inner field is never touched.
	Pipe DSCP = iota
	// Uniform: the outer packet carries the inner one's field, and an inner packet is given the outer one's.
	Uniform
)

// dscpMask is the Differentiated Services field in the second octet of an IPv4 header (RFC 2474 section 3); the two bits
// below it are ECN (RFC 3168 section 5).
const dscpMask = 0xfc

// TOS is the second octet of the IPv4 header that p begins with; 0 if p is shorter than a header.
func TOS(p []byte) uint8 {
	if len(p) < minHeaderLen {
		return 0
	}
	return p[1]
}

// Outer is the second octet for the outer header of a packet whose inner one is tos. Its ECN bits are 0, so that no router
// marks it: nothing would carry the mark inwards (RFC 6040 section 4.3, compatibility mode).
func (d DSCP) Outer(tos uint8) uint8 {
	if d == Uniform {
		return tos & dscpMask
	}
	return 0
}

// Inner ties the inner packet p to the second octet of the outer header that it came in. p is as ParseIPv4 wants it.
func (d DSCP) Inner(p []byte, outer uint8) {
	if d == Uniform {
		SetDSCP(p, outer)
	}
}

// SetDSCP puts the upper six bits of tos into the IPv4 header that p begins with and corrects the header checksum
// (RFC 1624 section 3, equation 3). It keeps the packet's ECN bits. What is shorter than a header stays as it is.
func SetDSCP(p []byte, tos uint8) {
	if len(p) < minHeaderLen {
		return
	}
	was := p[1]
	now := tos&dscpMask | was&^dscpMask
	if now == was {
		return
	}
	p[1] = now
	// The word is version, header length and TOS; the first two stay, and cancel each other out.
	sum := uint32(^binary.BigEndian.Uint16(p[10:])) + uint32(^uint16(was)) + uint32(now)
	binary.BigEndian.PutUint16(p[10:], ^checksum.Fold(uint64(sum)))
}
