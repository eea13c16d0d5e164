package checksum

import (
	"encoding/binary"
	"math/bits"
)

// block is how many octets one turn of addPortable's loop takes.
const block = 64

// addPortable is Add without assembly.
func addPortable(sum uint64, p []byte) uint64 {
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

// copyPortable is Copy without assembly; dst is as long as src.
func copyPortable(dst, src []byte) uint64 {
	copy(dst, src)
	return lessen(addPortable(0, dst)) // which is in the cache now; src need not be
}
