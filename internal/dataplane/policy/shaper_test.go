package policy

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

const (
	second = int64(1_000_000_000)
	day    = 86_400 * second
)

// packetOf is a buffer of n octets that begins with a number.
func packetOf(n int, number uint32) *pktbuf.Buf {
	b := &pktbuf.Buf{}
	b.Reset()
	binary.BigEndian.PutUint32(b.Append(n), number)
	return b
}

// The rates of these tables make round times: 8 Mbit/s is an octet a microsecond.
func TestShaperOffer(t *testing.T) {
	type offer struct {
		at   int64 // µs
		n    int
		want Decision
	}
	for _, tt := range []struct {
		name   string
		bps    uint64
		burst  int
		offers []offer
	}{
		{"no limit", 0, 0, []offer{{0, 1500, ShapePass}, {0, 65535, ShapePass}, {0, 1500, ShapePass}}},
		{"the burst, then what the time brings", 8_000_000, 3000, []offer{
			{0, 1500, ShapePass},
			{0, 1500, ShapePass},
			{0, 1, ShapeQueue},
			{0, 0, ShapePass},
			{999, 1000, ShapeQueue},
			{1000, 1000, ShapePass},
			{1000, 1, ShapeQueue},
		}},
		{"the bucket doesn't overflow", 8_000_000, 4000, []offer{
			{0, 1000, ShapePass},
			{1500, 4000, ShapePass},
			{1500, 1, ShapeQueue},
			{day / 1000, 4000, ShapePass},
			{day / 1000, 1, ShapeQueue},
		}},
		{"the default burst is 50 ms", 8_000_000, 0, []offer{{0, 50_000, ShapePass}, {0, 1, ShapeQueue}}},
		{"the least burst", 8_000, 100, []offer{
			{0, 3000, ShapePass},
			{0, 1, ShapeQueue},
			{999, 1, ShapeQueue},
			{1000, 1, ShapePass},
		}},
		{"longer than the bucket", 8_000_000, 3000, []offer{
			{0, 9000, ShapePass},
			{6001, 1, ShapePass},
			{6001, 1, ShapeQueue},
			{6000, 0, ShapePass},
			{8999, 3000, ShapeQueue},
		}},
		{"time that goes back", 8_000_000, 3000, []offer{
			{5000, 3000, ShapePass},
			{4000, 1, ShapeQueue},
			{5000, 1, ShapeQueue},
			{5001, 1, ShapePass},
		}},
		{"a length that can't be", 8_000_000, 3000, []offer{
			{0, -1, ShapePass},
			{0, 3000, ShapePass},
			{0, math.MaxInt, ShapeQueue},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewShaper(tt.bps, tt.burst)
			for i, o := range tt.offers {
				if got := s.Offer(o.n, o.at*1000); got != o.want {
					t.Fatalf("%d: %d octets at %d µs: %d, want %d", i, o.n, o.at, got, o.want)
				}
			}
		})
	}
}

// While something waits nothing passes, however small it is and however much time went by; what waits leaves in order.
func TestShaperOrder(t *testing.T) {
	s := NewShaper(8_000_000, 3000) // an octet a µs; the queue holds 100 000
	s.Offer(3000, 0)
	for i := range uint32(4) {
		if d := s.Offer(1000, 0); d != ShapeQueue || !s.Push(packetOf(1000, i)) {
			t.Fatalf("packet %d: %d", i, d)
		}
	}
	if d := s.Offer(1, 10*second); d != ShapeQueue {
		t.Errorf("overtaken: %d", d)
	}
	s = NewShaper(8_000_000, 3000)
	s.Offer(3000, 0)
	for i := range uint32(4) {
		s.Push(packetOf(1000, i))
	}
	for i := range uint32(4) {
		due, ok := s.Due()
		if want := int64(i+1) * 1_000_000; !ok || due != want {
			t.Fatalf("packet %d: due %d %t, want %d", i, due, ok, want)
		}
		if s.Pop(due-1) != nil {
			t.Fatalf("packet %d leaves too early", i)
		}
		b := s.Pop(due)
		if b == nil || binary.BigEndian.Uint32(b.Bytes()) != i || s.Queued() != 3-int(i) {
			t.Fatalf("packet %d: %v, %d wait", i, b, s.Queued())
		}
	}
	if _, ok := s.Due(); ok || s.Pop(10*second) != nil {
		t.Error("something is left")
	}
	if d := s.Offer(1000, 5_000_000); d != ShapePass {
		t.Errorf("after the queue is empty: %d", d)
	}
}

func TestShaperQueue(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bps     uint64
		n       int
		want    int // packets that it holds
		deepest bool
	}{
		{"128 packets", 8_000_000_000, 100, 128, true},
		{"100 ms", 8_000_000, 1000, 100, true},
		{"two full packets", 8_000, 1500, 2, true},
		{"two full packets, of small ones", 8_000, 100, 30, true},
		{"one that is longer", 8_000, 2000, 1, true},
		{"no limit holds none", 0, 1000, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewShaper(tt.bps, 0)
			now := int64(0)
			for s.Offer(tt.n, now) == ShapePass && tt.bps != 0 {
			}
			got := 0
			for range 200 {
				d := s.Offer(tt.n, now)
				if d == ShapeQueue && !s.Push(packetOf(tt.n, 0)) {
					t.Fatal("full though Offer said to queue")
				}
				if d != ShapeQueue {
					break
				}
				got++
			}
			if got != tt.want || s.Queued() != tt.want || s.Deep(now) != tt.deepest {
				t.Errorf("%d packets, %d, deep %t; want %d, %t", got, s.Queued(), s.Deep(now), tt.want, tt.deepest)
			}
			due, ok := s.Due()
			if !ok {
				return
			}
			// As soon as one may leave there will be room.
			if s.Deep(due-1) != true || s.Deep(due) {
				t.Error("deep does not end when the first may leave")
			}
			if s.Offer(tt.n, due) != ShapeDrop || s.Pop(due) == nil || s.Offer(tt.n, due) != ShapeQueue {
				t.Error("no room when the first has left")
			}
		})
	}
}

func TestShaperPushFull(t *testing.T) {
	s := NewShaper(8_000, 0)
	for i := range uint32(MaxQueue) {
		if !s.Push(packetOf(20, i)) {
			t.Fatalf("packet %d refused", i)
		}
	}
	if b := packetOf(20, MaxQueue); s.Push(b) || s.Queued() != MaxQueue {
		t.Error("one more is taken")
	}
}

// A session that ends takes its limit off and gets all its buffers back; so does one whose limit is lifted.
func TestShaperSetRate(t *testing.T) {
	s := NewShaper(8_000, 0)
	s.Offer(3000, 0)
	for i := range uint32(5) {
		s.Push(packetOf(100, i))
	}
	s.SetRate(0, 0)
	if d := s.Offer(100, 1); d != ShapeQueue {
		t.Errorf("with packets waiting: %d", d)
	}
	for i := range uint32(5) {
		if due, ok := s.Due(); !ok || due > 1 {
			t.Errorf("due %d %t", due, ok)
		}
		if b := s.Pop(1); b == nil || binary.BigEndian.Uint32(b.Bytes()) != i {
			t.Fatalf("packet %d: %v", i, b)
		}
	}
	if s.Offer(60_000, 1) != ShapePass {
		t.Error("limited without a limit")
	}
	s.SetRate(8_000_000, 4000)
	if s.Offer(4000, 2) != ShapePass || s.Offer(1, 2) != ShapeQueue {
		t.Error("the new limit does not begin with its burst")
	}
	s.SetRate(16_000_000, 8000) // no burst for nothing
	if s.Offer(1, 2) != ShapeQueue || s.Offer(20, 12_000) != ShapePass {
		t.Error("a change of the limit changes the credit")
	}
	var zero Shaper
	if zero.Offer(60_000, 0) != ShapePass || zero.Deep(0) || zero.Pop(0) != nil {
		t.Error("the zero value limits")
	}
}

// slowShaper is the same with fractions of any size and a list.
type slowShaper struct {
	rate, burst, most int64
	credit            *big.Rat // bits
	last              int64
	queue             []int
}

func (s *slowShaper) refill(now int64) {
	if now <= s.last {
		return
	}
	gain := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(s.rate), big.NewInt(now-s.last)), big.NewInt(second))
	s.credit.Add(s.credit, gain)
	if full := new(big.Rat).SetInt64(8 * s.burst); s.credit.Cmp(full) > 0 {
		s.credit = full
	}
	s.last = now
}

func (s *slowShaper) take(n int, now int64) bool {
	s.refill(now)
	if s.credit.Cmp(new(big.Rat).SetInt64(8*min(int64(n), s.burst))) < 0 {
		return false
	}
	s.credit.Sub(s.credit, new(big.Rat).SetInt64(8*int64(n)))
	return true
}

func (s *slowShaper) offer(n int, now int64) Decision {
	held := int64(0)
	for _, q := range s.queue {
		held += int64(q)
	}
	switch {
	case len(s.queue) == 0 && s.take(n, now):
		return ShapePass
	case len(s.queue) == MaxQueue || len(s.queue) > 0 && held+int64(n) > s.most:
		return ShapeDrop
	}
	return ShapeQueue
}

// FuzzShaper gives any packets at any times to a Shaper and to its slow twin.
func FuzzShaper(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(8_000), 0, []byte{0, 3, 0, 0, 0, 200, 1, 1, 9, 9})
	f.Add(uint64(100_000_000_000), 0, []byte{5, 255, 60, 255, 61, 255, 62, 255, 63, 255})
	f.Add(uint64(1_234_567), 5000, make([]byte, 600))
	f.Fuzz(func(t *testing.T, bps uint64, burst int, in []byte) {
		bps = 1 + bps%200_000_000_000
		s := NewShaper(bps, burst)
		slow := &slowShaper{rate: int64(bps), burst: s.capacity / unitsPerOctet, most: int64(s.most)}
		slow.credit = new(big.Rat).SetInt64(8 * slow.burst)
		if slow.burst < MinBurst || slow.burst > MaxBurst || burst >= MinBurst && burst <= MaxBurst && slow.burst != int64(burst) {
			t.Fatalf("burst %d of %d", slow.burst, burst)
		}
		now := int64(0)
		for i := 0; i+1 < len(in); i += 2 {
			now = min(now+int64(1)<<(in[i]%62)/7, math.MaxInt64/2)
			n := int(in[i+1]) * 8
			got, want := s.Offer(n, now), slow.offer(n, now)
			if got != want {
				t.Fatalf("%d: %d octets at %d: %d, want %d", i, n, now, got, want)
			}
			if got == ShapeQueue && in[i]%3 != 0 {
				s.Push(packetOf(max(n, 4), uint32(i)))
				slow.queue = append(slow.queue, max(n, 4))
			}
			if due, ok := s.Due(); ok && due > now {
				before := *slow
				before.credit = new(big.Rat).Set(slow.credit)
				if before.take(before.queue[0], due-1) || !before.take(before.queue[0], due) {
					t.Fatalf("%d: due %d", i, due)
				}
			}
			if in[i]%4 == 1 {
				b := s.Pop(now)
				ok := len(slow.queue) > 0 && slow.take(slow.queue[0], now)
				if (b != nil) != ok || ok && b.Len() != slow.queue[0] {
					t.Fatalf("%d: pop %v, want %t", i, b, ok)
				}
				if ok {
					slow.queue = slow.queue[1:]
				}
			}
		}
	})
}

// A thousand sessions of all rates, each offered ten times its limit for the time of a thousand packets: what passes is the
// limit within 1 % and never more than it and the burst; what waits comes out in order and in time. The shard looks at what
// is due exactly, or only every millisecond.
func TestShaperSimulation(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pool := pktbuf.NewPool(MaxQueue)
	for i := range 1000 {
		bps := uint64(8_000 * math.Pow(1.0095, float64(i))) // to 100 Mbit/s
		sim := simulation{bps: bps, size: 40 + r.IntN(1461), grain: int64(i % 2 * 1_000_000), pool: pool, rand: r}
		sim.run(t)
		if t.Failed() {
			return
		}
	}
}

type simulation struct {
	bps   uint64
	size  int
	grain int64 // how late the shard may look, ns
	pool  *pktbuf.Pool
	rand  *rand.Rand
}

func (m *simulation) run(t *testing.T) {
	s := NewShaper(m.bps, 0)
	burst := max(int64(m.bps)/160, MinBurst)
	bound := max(second/10, int64(8*MinBurst)*second/int64(m.bps)) + m.grain + 1
	var arrived [1 << 13]int64 // by number, in a ring longer than the queue
	var number, next uint32
	var passed int64
	pop := func(now int64) {
		for b := s.Pop(now); b != nil; b = s.Pop(now) {
			n := binary.BigEndian.Uint32(b.Bytes())
			if n < next {
				t.Errorf("%d bit/s: packet %d after %d", m.bps, n, next)
			}
			if wait := now - arrived[n%uint32(len(arrived))]; wait > bound {
				t.Errorf("%d bit/s, %d octets: waited %d ns, bound %d", m.bps, m.size, wait, bound)
			}
			next = n + 1
			passed += int64(b.Len())
			m.pool.Put(b)
		}
	}
	gap := int64(m.size) * 8 * second / int64(m.bps*10)
	look, end := int64(0), 10_000*gap
	for now := int64(0); now < end; now += 1 + m.rand.Int64N(2*gap) {
		for due, ok := s.Due(); ok; due, ok = s.Due() {
			if m.grain > 0 {
				due = max(look, (due+m.grain-1)/m.grain*m.grain)
			}
			if due > now {
				break
			}
			look = due
			pop(due)
		}
		number++
		switch s.Offer(m.size, now) {
		case ShapePass:
			if number < next {
				t.Errorf("%d bit/s: packet %d passes %d", m.bps, number, next)
			}
			next = number + 1
			passed += int64(m.size)
		case ShapeQueue:
			b := m.pool.Get()
			binary.BigEndian.PutUint32(b.Append(m.size), number)
			arrived[number%uint32(len(arrived))] = now
			if !s.Push(b) {
				t.Fatal("full though Offer said to queue")
			}
		case ShapeDrop:
		}
		if passed*8 > int64(m.bps)*now/second+burst*8 {
			t.Fatalf("%d bit/s: %d octets by %d ns", m.bps, passed, now)
		}
	}
	want := float64(m.bps) / 8 * float64(end) / float64(second)
	if got := float64(passed); got < 0.99*want || got > 1.01*want+float64(burst) {
		t.Errorf("%d bit/s, packets of %d: %.0f octets, want %.0f", m.bps, m.size, got, want)
	}
	s.SetRate(0, 0)
	for b := s.Pop(0); b != nil; b = s.Pop(0) {
		m.pool.Put(b)
	}
	if m.pool.Free() != MaxQueue {
		t.Fatal("buffers are lost")
	}
}

// Over millions of packets at odd rates and times not a billionth of a bit is gained or lost.
func TestShaperDoesNotDrift(t *testing.T) {
	for _, bps := range []uint64{8_001, 1_234_577, 999_999_937, 100_000_000_000} {
		s := NewShaper(bps, 0)
		spend := func(now int64) (octets int64) {
			s.refill(now)
			for n := min(s.credit/unitsPerOctet, maxPacket); n > 0; n = min(s.credit/unitsPerOctet, maxPacket) {
				if s.Offer(int(n), now) != ShapePass {
					t.Fatal("refused with credit")
				}
				octets += n
			}
			return octets
		}
		spend(0) // the full bucket, to the last octet
		took, now := int64(0), int64(0)
		for i := range int64(100_000) {
			now += min(s.capacity/int64(bps)*2/3, 50_000) + i%1009
			took += spend(now)
		}
		want := new(big.Int).Mul(new(big.Int).SetUint64(bps), big.NewInt(now))
		got := new(big.Int).Mul(big.NewInt(took), big.NewInt(unitsPerOctet))
		got.Add(got, big.NewInt(s.credit))
		if got.Cmp(want) != 0 {
			t.Errorf("%d bit/s: %v units, want %v", bps, got, want)
		}
	}
}

// After days of silence at the highest rate there is one burst, and no more.
func TestShaperIdle(t *testing.T) {
	for _, idle := range []int64{0, 1, day, 10_000 * day} {
		s := NewShaper(100_000_000_000, 0)
		s.Offer(1500, 5)
		octets := 0
		for s.Offer(1500, 5+idle) == ShapePass {
			octets += 1500
		}
		want := 100_000_000_000 / 160
		if idle < 2 {
			want -= 1500
		}
		if octets > want+13 || octets <= want-1500 {
			t.Errorf("after %d ns: %d octets, want %d", idle, octets, want)
		}
	}
}

func TestShaperDoesNotAllocate(t *testing.T) {
	s := NewShaper(8_000_000, 0)
	b := packetOf(1000, 0)
	s.Push(b)
	s.Pop(0)
	now, passed, queued := int64(0), 0, 0
	if n := testing.AllocsPerRun(1000, func() {
		now += 500_000
		s.Deep(now)
		switch s.Offer(1000, now) {
		case ShapePass:
			passed++
		case ShapeQueue:
			s.Push(b)
			queued++
		case ShapeDrop:
		}
		s.Due()
		s.Pop(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if passed == 0 || queued == 0 {
		t.Errorf("%d passed, %d queued: the test shows nothing", passed, queued)
	}
}

func BenchmarkOffer(b *testing.B) {
	for _, tt := range []struct {
		name string
		bps  uint64
	}{{"none", 0}, {"1G", 1_000_000_000}} {
		b.Run(tt.name, func(b *testing.B) {
			s := NewShaper(tt.bps, 0)
			now := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				now += 11_200
				if s.Offer(1400, now) == ShapeDrop {
					b.Fatal("dropped")
				}
			}
		})
	}
}
