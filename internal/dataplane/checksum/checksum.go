package checksum

import (
	"encoding/binary"
	"math/bits"
)

// Add adds the octets of p to sum. Of pieces that are added one after the other all but the last must have an even
// length; an odd octet at the end counts as if a zero followed (RFC 1071 section 4.1).
func Add(sum uint64, p []byte) uint64 { return add(sum, p) }

// Copy copies as many octets as both have room for, as the language's copy does, and returns their sum in the same pass;
// it has 33 bits, so there is room to add to it by "+". Unlike with copy, dst and src must not overlap, unless they begin
// at the same octet: otherwise both what is copied and the sum are undefined.
func Copy(dst, src []byte) uint64 {
	n := min(len(dst), len(src))
	return copyAdd(dst[:n], src[:n])
}

// plus is ones' complement addition of 64 bits.
func plus(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum + carry
}

// lessen keeps what sum is but for the carries, which are added: 33 bits are left.
func lessen(sum uint64) uint64 { return sum>>32 + sum&0xffffffff }

// Fold adds the carries of sum until 16 bits are left. Over data that has its own checksum in it the result is 0xffff when
// that is right; the checksum itself is the complement of the result.
func Fold(sum uint64) uint16 {
	sum = lessen(sum)          // at most 33 bits
	sum = sum>>16 + sum&0xffff // at most 18
	sum = sum>>16 + sum&0xffff // at most 17
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

// RightIPv4 says whether the checksum in an IPv4 header without options is right (RFC 791 section 3.1).
func RightIPv4(header *[20]byte) bool {
	// The order of octets does not matter to all ones.
	sum, carry := bits.Add64(binary.NativeEndian.Uint64(header[:]), binary.NativeEndian.Uint64(header[8:]), 0)
	sum, carry = bits.Add64(sum, uint64(binary.NativeEndian.Uint32(header[16:])), carry)
	return Fold(sum+carry) == 0xffff // a sum that has just carried is small
}
