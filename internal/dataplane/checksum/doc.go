// Package checksum is the Internet checksum of RFC 1071, fast enough for every octet that a shard carries.
//
// A sum is a uint64 on its way: a ones' complement sum of big-endian 16-bit words that still has its carries. Pseudo, Copy
// and Add make it, Add extends it, Fold ends it. To what Add gave nothing may be added by "+", which could lose a carry;
// what Pseudo, Copy and Fold gave has room for more. The functions keep nothing, allocate nothing and are safe for
// concurrent use.
//
// With AVX2, 64 octets and more are added by assembly that tools/asm writes (docs/crypto-kernels.md). The sums are as good
// as those of the Go code: the same when folded. Called by tun and l2tpdata. The package starts no goroutine.
package checksum
