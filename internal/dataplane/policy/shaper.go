package policy

import (
	"math"
	"math/bits"

	"concentrator/internal/dataplane/pktbuf"
)

const (
	// MaxQueue is how many packets a Shaper holds back at most.
	MaxQueue = 128
	// MinBurst is the least burst and the least queue of a Shaper, in octets: two full packets, or TCP would starve
	// behind a slow limit.
	MinBurst = 2 * 1500
	// MaxBurst bounds a burst, in octets: 50 ms at more than 100 Gbit/s. Credit in bits times 1e9 must fit 63 bits.
	MaxBurst = 1 << 30

	// credit is counted in billionths of a bit, so that a rate in bit/s times a time in ns is a whole number of them.
	unitsPerOctet = 8 * 1_000_000_000
	// maxPacket is the longest packet that can be charged, in octets.
	maxPacket = math.MaxUint16

	burstsPerSecond = 20 // the default burst is 50 ms of the rate
	queuesPerSecond = 10 // the queue is 100 ms of the rate
)

// Decision is what is to be done with one packet.
type Decision uint8

// The decisions of Shaper.Offer.
const (
	ShapePass  Decision = iota // send it now: its tokens are taken
	ShapeQueue                 // keep a copy for later: Push it
	ShapeDrop                  // the queue is full
)

// Shaper limits the rate of one session's packets in one direction: a token bucket, and behind it a queue in order of
// arrival. While a packet waits, none overtakes it. The zero value passes all.
//
// The arithmetic is exact: over any time the limit lets pass what the rate says and one burst, to the bit. Times are
// nanoseconds of a monotonic clock that doesn't begin below 0; a time before the last one counts as the last one. A packet
// that is queued waits at most 100 ms, or as long as MinBurst takes at the rate if that is longer, if Pop is called when
// Due says.
//
// A Shaper belongs to one shard. Its queue is made when the first packet is pushed, once and for all; besides that nothing
// allocates.
type Shaper struct {
	rate     uint64 // bit/s; 0: no limit
	capacity int64  // of the bucket, units
	credit   int64  // units; below 0 after a packet longer than the bucket
	last     int64  // when credit was right
	most     int    // what the queue may hold, octets
	octets   int    // what it holds
	queue    *[MaxQueue]*pktbuf.Buf
	head     uint8 // of the packet that leaves first
	queued   uint8
}

// NewShaper limits to bps bits a second, with bursts of burst octets; burst 0 is 50 ms of the rate. The burst is kept
// between MinBurst and MaxBurst. The bucket begins full. bps 0 is no limit.
func NewShaper(bps uint64, burst int) *Shaper {
	s := &Shaper{}
	s.SetRate(bps, burst)
	s.credit = s.capacity
	return s
}

// SetRate changes the limit, as NewShaper. Packets that wait stay in the queue, and leave at the new rate: with 0 as soon
// as they are popped, which is also how a session that ends gets its buffers back. The time since the last call counts at
// the new rate.
func (s *Shaper) SetRate(bps uint64, burst int) {
	if burst <= 0 {
		burst = int(min(bps/(8*burstsPerSecond), MaxBurst))
	}
	before := s.rate
	s.rate = bps
	s.capacity = int64(min(max(burst, MinBurst), MaxBurst)) * unitsPerOctet
	s.most = max(int(min(bps/(8*queuesPerSecond), MaxQueue*pktbuf.Size)), MinBurst)
	if bps == 0 {
		s.most = MaxQueue * pktbuf.Size
	}
	if before == 0 {
		s.credit = s.capacity // what was not counted was not owed
	}
	s.credit = min(s.credit, s.capacity)
}

// Offer says what to do with an inner packet of n octets that has come now.
func (s *Shaper) Offer(n int, now int64) Decision {
	if s.queued > 0 {
		if s.full(n) {
			return ShapeDrop
		}
		return ShapeQueue
	}
	if s.take(n, now) {
		return ShapePass
	}
	return ShapeQueue // an empty queue takes any packet
}

// Push puts b, which Offer has just said to queue, behind the others; b.Len() is what it costs. It reports false if the
// queue is full, which Offer would have said. From here to Pop b is the Shaper's.
func (s *Shaper) Push(b *pktbuf.Buf) bool {
	if s.queued == MaxQueue {
		return false
	}
	if s.queue == nil {
		s.queue = new([MaxQueue]*pktbuf.Buf)
	}
	s.queue[(s.head+s.queued)%MaxQueue] = b
	s.queued++
	s.octets += b.Len()
	return true
}

// Pop takes out the first packet if it may leave now, and charges it; else it returns nil. The packet is the caller's.
func (s *Shaper) Pop(now int64) *pktbuf.Buf {
	if s.queued == 0 {
		return nil
	}
	b := s.queue[s.head]
	if !s.take(b.Len(), now) {
		return nil
	}
	s.queue[s.head] = nil
	s.head = (s.head + 1) % MaxQueue
	s.queued--
	s.octets -= b.Len()
	return b
}

// Due is when Pop will next give a packet; false if none waits.
func (s *Shaper) Due() (int64, bool) {
	if s.queued == 0 {
		return 0, false
	}
	missing := s.price(s.queue[s.head].Len()) - s.credit
	if s.rate == 0 || missing <= 0 {
		return s.last, true
	}
	wait := (uint64(missing)-1)/s.rate + 1
	return s.last + int64(min(wait, uint64(math.MaxInt64-s.last))), true
}

// Queued is how many packets wait.
func (s *Shaper) Queued() int { return int(s.queued) }

// Deep reports whether a packet that comes now would be dropped, unless it is shorter than a full one: a shard may then
// refuse it before it spends a decryption on it. Only what was offered counts, which is what was authentic, so that
// forged packets can't bring a session here. It must be asked only about packets too long for a control frame: control
// frames are not limited.
func (s *Shaper) Deep(now int64) bool {
	return s.queued > 0 && s.full(MinBurst/2) && !s.ready(now)
}

// full reports whether the queue, which is not empty, has no room for a packet of n octets.
func (s *Shaper) full(n int) bool { return s.queued == MaxQueue || s.octets+n > s.most }

// ready reports whether the first packet may leave now, and takes the credit up to now.
func (s *Shaper) ready(now int64) bool {
	s.refill(now)
	return s.rate == 0 || s.credit >= s.price(s.queue[s.head].Len())
}

// take charges a packet of n octets if there is credit for it.
func (s *Shaper) take(n int, now int64) bool {
	if s.rate == 0 {
		return true
	}
	s.refill(now)
	if s.credit < s.price(n) {
		return false
	}
	s.credit -= cost(n)
	return true
}

// refill takes the credit up to now.
func (s *Shaper) refill(now int64) {
	if now <= s.last {
		return
	}
	over, gained := bits.Mul64(s.rate, uint64(now-s.last))
	s.last = now
	if room := uint64(s.capacity - s.credit); over != 0 || gained >= room {
		s.credit = s.capacity
		return
	}
	s.credit += int64(gained)
}

// price is the credit that a packet of n octets needs to leave: what it costs, but never more than the bucket holds, or a
// packet longer than the bucket would wait for ever.
func (s *Shaper) price(n int) int64 { return min(cost(n), s.capacity) }

func cost(n int) int64 { return int64(min(max(n, 0), maxPacket)) * unitsPerOctet }
