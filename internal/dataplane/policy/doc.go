// Package policy is what a shard does to inner IPv4 packets beside moving them: header sanity, anti-spoofing,
// credibility of decrypted frames, TCP MSS clamping, fragmentation and ICMP "fragmentation needed"
// (RFC 791, 792, 1122, 1191, 1624, 1812).
//
// All functions are pure: they work on the packet they are given, keep nothing, allocate nothing, and belong to
// no goroutine. Shards call them.
package policy
