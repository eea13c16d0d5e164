// Package steer writes the small kernel programs that bring a packet to the shard that owns its session, and keep away
// what belongs to none: a filter on raw GRE sockets by call ID (RFC 2637 section 4.1), and one that chooses the queue of
// a TUN device by inner prefix.
//
// It owns the programs and maps that it loads. Called by netio, from the control side only. It starts no goroutine.
package steer
