// Package checksum is the Internet checksum of RFC 1071, fast enough for every octet that a shard carries.
//
// A sum is a uint64 on its way: a ones' complement sum of big-endian 16-bit words that still has its carries. Pseudo and
// Add make it, Add extends it, Fold ends it. To what Add gave nothing may be added by "+", which could lose a carry; what
// Pseudo and Fold gave has room for more. The functions keep nothing, allocate nothing and are safe for concurrent use.
// Called by tun. The package starts no goroutine.
package checksum
