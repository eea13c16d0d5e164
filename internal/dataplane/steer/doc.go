// Package steer writes the small kernel programs that bring a packet to the shard that owns its session, and keep away
// what belongs to none: a filter on raw sockets, GRE by call ID (RFC 2637 section 4.1) and ESP by SPI (RFC 4303 section 2);
// one that chooses among the UDP sockets of an address, by SPI on port 4500 (RFC 3948) and by session or tunnel ID on port
// 1701 (RFC 2661 section 3.1); and one that chooses the queue of a TUN device by inner prefix.
//
// It owns the programs and maps that it loads. Called by netio and tun, from the control side only. It starts no goroutine.
package steer
