package checksum

import (
	"encoding/binary"
	"math/bits"
)

// block is how many octets one turn of Add's loop takes.
const block = 64

// Add adds the octets of p to sum. Of pieces that are added one after the other all but the last must have an even
// length; an odd octet at the end counts as if a zero followed (RFC 1071 section 4.1).
func Add(sum uint64, p []byte) uint64 {
	// Little-endian, as most machines load: that exchanges the octets of each word, and a turn by 8 bits at the end
	// exchanges those of the sum back (RFC 1071 section 2 B). 64 bits at once: 2^64-1 is a multiple of 2^16-1. Two chains
	// of additions, so that one need not wait for the other's carries.
	var a, b, carry uint64
	for len(p) >= block {
		q := p[:block:block]
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(q), 0)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(q[8:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(q[16:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(q[24:]), carry)
		a += carry // without another: a sum that has just carried is not all ones
		b, carry = bits.Add64(b, binary.LittleEndian.Uint64(q[32:]), 0)
		b, carry = bits.Add64(b, binary.LittleEndian.Uint64(q[40:]), carry)
		b, carry = bits.Add64(b, binary.LittleEndian.Uint64(q[48:]), carry)
		b, carry = bits.Add64(b, binary.LittleEndian.Uint64(q[56:]), carry)
		b += carry
		p = p[block:]
	}
	if len(p) >= block/2 {
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(p), 0)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(p[8:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(p[16:]), carry)
		a, carry = bits.Add64(a, binary.LittleEndian.Uint64(p[24:]), carry)
		a += carry
		p = p[block/2:]
	}
	a = plus(a, b)
	for len(p) >= 8 {
		a = plus(a, binary.LittleEndian.Uint64(p))
		p = p[8:]
	}
	if len(p) >= 4 {
		a = plus(a, uint64(binary.LittleEndian.Uint32(p)))
		p = p[4:]
	}
	if len(p) >= 2 {
		a = plus(a, uint64(binary.LittleEndian.Uint16(p)))
		p = p[2:]
	}
	if len(p) == 1 {
		a = plus(a, uint64(p[0]))
	}
	return plus(sum, bits.RotateLeft64(a, 8))
}

// plus is ones' complement addition of 64 bits.
func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum + carry
}

// Fold adds the carries of sum until 16 bits are left. Over data that has its own checksum in it the result is 0xffff when
// that is right; the checksum itself is the complement of the result.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff // at most 33 bits
	sum = sum>>16 + sum&0xffff     // at most 18
	sum = sum>>16 + sum&0xffff     // at most 17
	return uint16(sum>>16 + sum)
}

// Pseudo is the sum of the pseudo header that TCP and UDP put before a segment of length octets, their own header included
// (RFC 9293 section 3.1, RFC 768).
func Pseudo(src, dst [4]byte, protocol uint8, length int) uint64 {
	return uint64(binary.BigEndian.Uint32(src[:])) + uint64(binary.BigEndian.Uint32(dst[:])) + uint64(protocol) +
		uint64(uint16(length))
}

// Of is the checksum of p alone: what belongs into its checksum field if that is 0 now, and 0 if it is there and right.
func Of(p []byte) uint16 { return ^Fold(Add(0, p)) }
