package capture

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	// ringLen is the length of a tap's ring, octets, a power of two: what 1.6 Gbit/s bring in 20 ms.
	ringLen = 4 << 20
	// tries is how often a shard asks for the ring while another one puts, before it counts a packet as missed. It is a
	// microsecond or so; a packet takes less.
	tries = 64
)

// Limits bound what a tap keeps. When the first is reached it is done and keeps nothing more.
type Limits struct {
	Snap    int   // octets of each packet that are kept; 0: MaxSnap
	Packets int64 // how many packets; 0: no limit
	Octets  int64 // of packets, without what the file format adds; 0: no limit
}

// Tap takes copies of packets. Shards put, one goroutine reads.
type Tap struct {
	limits Limits
	ring   []byte

	putting atomic.Bool   // a shard has the ring; it guards packets and octets, and who writes tail
	tail    atomic.Uint64 // octets of records put so far
	head    atomic.Uint64 // octets of records read so far; the reader writes it
	packets int64
	octets  int64
	given   int64 // how many packets have been read; the reader's

	done   atomic.Bool
	missed atomic.Uint64
}

// New makes a tap, with its ring.
func New(l Limits) *Tap {
	if l.Snap <= 0 || l.Snap > MaxSnap {
		l.Snap = MaxSnap
	}
	return &Tap{limits: l, ring: make([]byte, ringLen)}
}

// Snap is how many octets of each packet are kept at most.
func (t *Tap) Snap() int { return t.limits.Snap }

// Put copies a packet that begins with its IPv4 header. It never waits and doesn't allocate.
func (t *Tap) Put(packet []byte) { t.put(nil, packet) }

// PutBehind copies a packet whose headers are to be rebuilt.
func (t *Tap) PutBehind(h *Headers, payload []byte) {
	var room [ipv4Len + udpLen]byte
	t.put(h.append(room[:0], len(payload)), payload)
}

// put copies a packet that is made of two parts.
func (t *Tap) put(head, rest []byte) {
	if t.done.Load() {
		return
	}
	for n := 0; !t.putting.CompareAndSwap(false, true); n++ {
		if n == tries {
			t.missed.Add(1)
			return
		}
	}
	t.keep(head, rest)
	t.putting.Store(false)
}

// keep is put's part with the ring in hand.
func (t *Tap) keep(head, rest []byte) {
	if t.done.Load() {
		return // another shard has just put the last
	}
	size := len(head) + len(rest)
	kept := min(size, t.limits.Snap)
	if t.limits.Octets > 0 && t.octets+int64(kept) > t.limits.Octets {
		t.done.Store(true)
		return
	}
	tail := t.tail.Load()
	if tail-t.head.Load()+uint64(RecordHeaderLen+kept) > uint64(len(t.ring)) {
		t.missed.Add(1)
		return
	}
	record := recordHeader(time.Now(), kept, size)
	t.write(tail, record[:])
	at := tail + RecordHeaderLen
	head = head[:min(len(head), kept)]
	t.write(at, head)
	t.write(at+uint64(len(head)), rest[:kept-len(head)])
	t.packets++
	t.octets += int64(kept)
	t.tail.Store(at + uint64(kept))
	if t.packets == t.limits.Packets || t.octets == t.limits.Octets {
		t.done.Store(true)
	}
}

// write copies p to a position, around the end of the ring.
func (t *Tap) write(at uint64, p []byte) {
	n := copy(t.ring[at%uint64(len(t.ring)):], p)
	copy(t.ring, p[n:])
}

// read fills p from a position.
func (t *Tap) read(p []byte, at uint64) {
	n := copy(p, t.ring[at%uint64(len(t.ring)):])
	copy(p[n:], t.ring)
}

// Read appends what has been put, records as they stand in a file, as many whole ones as there is capacity for in b. A
// capacity of RecordHeaderLen and Snap is enough for any. It belongs to one goroutine.
func (t *Tap) Read(b []byte) []byte {
	at, tail := t.head.Load(), t.tail.Load()
	for at != tail {
		var h [RecordHeaderLen]byte
		t.read(h[:], at)
		n := RecordHeaderLen + int(binary.LittleEndian.Uint32(h[capturedAt:]))
		if n > cap(b)-len(b) {
			break
		}
		b = b[:len(b)+n]
		t.read(b[len(b)-n:], at)
		at += uint64(n)
		t.given++
	}
	t.head.Store(at)
	return b
}

// End makes the tap keep nothing more.
func (t *Tap) End() { t.done.Store(true) }

// Done says that nothing more will come, but for what is to be read yet: a limit is reached, or End was called.
func (t *Tap) Done() bool { return t.done.Load() }

// Missed is how many packets were not kept because the reader was too slow.
func (t *Tap) Missed() uint64 { return t.missed.Load() }

// Packets is how many packets Read has given. It belongs to the reader's goroutine.
func (t *Tap) Packets() int64 { return t.given }
