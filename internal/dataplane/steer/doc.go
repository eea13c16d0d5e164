// Package steer writes the small kernel programs that bring a packet to the shard that owns its session: a classic
// filter on raw GRE sockets (RFC 2637 section 4.1, the key's call ID) and an eBPF program on TUN devices.
//
// It owns the programs and maps that it loads. Called by netio, from the control side only. It starts no goroutine.
package steer
