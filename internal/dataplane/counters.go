package dataplane

import "time"

// Counters are those of one call. Octets and packets are of inner IPv4 packets that passed; In is from the client.
type Counters struct {
	InBytes, OutBytes     uint64
	InPackets, OutPackets uint64
	// LastInbound is how long ago the last inner packet came from the client; since the call was opened if none did.
	LastInbound time.Duration
	// LastActivity is how long ago the last inner packet passed, either way.
	LastActivity time.Duration
	Lost         uint64 // GRE or L2TP sequence numbers that never came
	Drops        DropCounts
}

// ShardStats are a shard's own numbers, of all its calls since the start.
type ShardStats struct {
	Shard   int
	CPU     int           // that the thread is pinned to; -1 if that failed
	CPUTime time.Duration // that the thread has used
	Calls   int
	// Outer packets and octets, IP header not counted on the way out.
	WireInPackets, WireOutPackets, WireInBytes, WireOutBytes uint64
	// Inner packets to and from the TUN devices.
	TUNInPackets, TUNOutPackets uint64
	// WrongShard counts packets that arrived here and belonged elsewhere. It stands still when steering works.
	WrongShard uint64
	// ReceiveErrors counts failed reads of a socket.
	ReceiveErrors uint64
	// SendBuffers counts messages that the kernel had no buffers for, SendRefused those that it did not let out.
	SendBuffers, SendRefused uint64
	// Panics counts faults of our own that were contained.
	Panics uint64
	Drops  DropCounts // including the calls'
}

// countIn counts one packet of n octets that came from the client.
func (c *call) countIn(now int64, n int) {
	c.counters.InPackets++
	c.counters.InBytes += uint64(n)
	c.lastInbound, c.lastActivity = now, now
}

// countOut counts one packet of n octets that went to the client.
func (c *call) countOut(now int64, n int) {
	c.counters.OutPackets++
	c.counters.OutBytes += uint64(n)
	c.lastActivity = now
}
