// Package policy is what a shard does to inner IPv4 packets beside moving them: header sanity, anti-spoofing,
// credibility of decrypted frames, TCP MSS clamping, fragmentation and ICMP "fragmentation needed"
// (RFC 791, 792, 1122, 1191, 1624, 1812), Differentiated Services (RFC 2474, 2983), access lists (ACL; RFC 1858 and 3128
// about fragments), rate limits (Shaper) and fairness between sessions under overload (Fair).
//
// The functions are pure: they work on the packet they are given and keep nothing. Shaper, Fair and Share have a state,
// which belongs to one shard; an ACL, which Compile makes on the control side, doesn't change and is for all of them. Nothing
// here has a clock, a goroutine or a lock, or allocates for a packet; the shards call it and say what time it is.
package policy
