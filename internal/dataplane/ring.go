package dataplane

import (
	"sync/atomic"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
)

// ringSlots is the length of a shard's ring, a power of two.
const ringSlots = 256

// ringItem is a packet for another shard.
type ringItem struct {
	turn atomic.Uint32 // whose turn the slot is: its position when free, position+1 when filled
	passed
	data [pktbuf.MaxRead]byte
}

// passed is what a packet that was passed on brings with it.
type passed struct {
	inner  bool   // outbound, from a TUN queue; else inbound, from the wire
	source uint32 // index of the network or of the face that it came by
	size   int
	// Of what came by UDP: from whom, and to which of our addresses.
	from, to [4]byte
	fromPort uint16
	tos      uint8
}

// ring takes packets that arrived on the wrong shard: every shard puts, the owner takes, and nobody waits (a bounded
// queue after Vyukov). Its memory is taken at the start.
type ring struct {
	slots [ringSlots]ringItem
	tail  atomic.Uint32 // next position to fill
	head  uint32        // next position to take; the owner's
}

func newRing() *ring {
	r := &ring{}
	for i := range r.slots {
		r.slots[i].turn.Store(uint32(i))
	}
	return r
}

// put copies packet into the ring; false if the ring is full or the packet over pktbuf.MaxRead.
func (r *ring) put(inner bool, source uint32, packet []byte) bool {
	return r.fill(inner, source, &netio.Datagram{}, packet)
}

// putDatagram is put for what came by UDP.
func (r *ring) putDatagram(source uint32, d *netio.Datagram, packet []byte) bool {
	return r.fill(false, source, d, packet)
}

func (r *ring) fill(inner bool, source uint32, d *netio.Datagram, packet []byte) bool {
	if len(packet) > pktbuf.MaxRead {
		return false
	}
	for {
		at := r.tail.Load()
		it := &r.slots[at%ringSlots]
		switch turn := it.turn.Load(); {
		case turn == at:
			if !r.tail.CompareAndSwap(at, at+1) {
				continue
			}
			it.inner, it.source, it.size = inner, source, copy(it.data[:], packet)
			it.from, it.fromPort, it.to, it.tos = d.From, d.FromPort, d.To, d.TOS
			it.turn.Store(at + 1)
			return true
		case int32(turn-at) < 0: // a lap behind: not yet taken
			return false
		}
	}
}

// take gives the oldest packet to use, which only copies it, and says whether there was one.
func (r *ring) take(use func(it *ringItem)) bool {
	it := &r.slots[r.head%ringSlots]
	if it.turn.Load() != r.head+1 {
		return false
	}
	use(it)
	it.turn.Store(r.head + ringSlots)
	r.head++
	return true
}

// waiting says whether there is a packet to take.
func (r *ring) waiting() bool {
	return r.slots[r.head%ringSlots].turn.Load() == r.head+1
}
