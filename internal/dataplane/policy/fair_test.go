package policy

import (
	"math/rand/v2"
	"slices"
	"testing"

	"concentrator/internal/corpus"
)

// world is a shard of packets without contents: they arrive in a socket's buffer, the shard reads batches of them and takes
// its time with each: a little for one that it refuses or that has no session, more for one that goes on. It can do
// about 970 000 packets a second, or read and refuse 3 million.
type world struct {
	fair     Fair
	unfair   bool        // the answers of fair don't count
	crowded  func() bool // nil: every full read
	now      int64
	rand     *rand.Rand
	sessions []load
	queue    []int // whose packets wait
	longest  int
}

// load is one session's packets.
type load struct {
	share                          Share
	garbage                        bool // of no session
	interval                       int64
	next                           int64 // arrival
	offered, lost, refused, passed int   // lost: at the socket
}

const (
	worldBuffer  = 2000
	worldBatch   = 64
	worldRead    = 2_000 // ns
	worldPass    = 1_000
	worldRefused = 300
)

// newWorld makes a shard with sessions of so many packets a second.
func newWorld(perSecond ...int) *world {
	w := &world{rand: rand.New(rand.NewPCG(1, 2)), sessions: make([]load, len(perSecond))}
	for i, r := range perSecond {
		w.rate(i, r)
	}
	return w
}

func (w *world) rate(i, perSecond int) {
	s := &w.sessions[i]
	s.interval = 0
	if perSecond > 0 {
		s.interval = 1_000_000_000 / int64(perSecond)
		s.next = w.now + w.rand.Int64N(s.interval)
	}
}

// reset begins to count anew.
func (w *world) reset() {
	for i := range w.sessions {
		s := &w.sessions[i]
		s.offered, s.lost, s.refused, s.passed = 0, 0, 0, 0
	}
	w.longest = 0
}

// arrive puts what has come up to now into the buffer, in order.
func (w *world) arrive() {
	for {
		first := -1
		for i := range w.sessions {
			s := &w.sessions[i]
			if s.interval > 0 && s.next <= w.now && (first < 0 || s.next < w.sessions[first].next) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		s := &w.sessions[first]
		s.next += 1 + w.rand.Int64N(2*s.interval-1)
		s.offered++
		if len(w.queue) == worldBuffer {
			s.lost++
			continue
		}
		w.queue = append(w.queue, first)
		w.longest = max(w.longest, len(w.queue))
	}
}

func (w *world) run(ms int) {
	for end := w.now + int64(ms)*1_000_000; w.now < end; {
		w.arrive()
		n := min(len(w.queue), worldBatch)
		if n == 0 {
			w.now += 1000
			continue
		}
		w.now += worldRead
		crowded := n == worldBatch
		if w.crowded != nil {
			crowded = crowded && w.crowded()
		}
		w.fair.Batch(n, crowded, w.now)
		came := w.now
		for _, i := range w.queue[:n] {
			s := &w.sessions[i]
			switch {
			case s.garbage:
				w.now += worldRefused
			case w.fair.Admit(&s.share, came) || w.unfair:
				w.now += worldPass
				s.passed++
			default:
				w.now += worldRefused
				s.refused++
			}
		}
		w.queue = slices.Delete(w.queue, 0, n)
	}
}

// percent is how much of what the session sent came to nothing.
func (s *load) percent() float64 { return 100 * float64(s.lost+s.refused) / float64(s.offered) }

func (w *world) refused() int {
	n := 0
	for i := range w.sessions {
		n += w.sessions[i].refused
	}
	return n
}

func repeat(n, perSecond int) []int { return slices.Repeat([]int{perSecond}, n) }

// One session floods at ten times what nine others send, and all of it is too much. The nine lose next to nothing, where
// without Fair they lose as much as the flooder.
func TestFairFlooder(t *testing.T) {
	rates := append([]int{600_000}, repeat(9, 60_000)...)
	without := newWorld(rates...)
	without.unfair = true
	without.run(1000)
	w := newWorld(rates...)
	w.run(1000)
	for i := 1; i < len(rates); i++ {
		if p := without.sessions[i].percent(); p < 10 {
			t.Errorf("without Fair session %d loses %.1f %%: there is no overload", i, p)
		}
		if p := w.sessions[i].percent(); p >= 1 {
			t.Errorf("session %d loses %.2f %%", i, p)
		}
		if n := w.sessions[i].refused; n != 0 {
			t.Errorf("session %d: %d packets refused", i, n)
		}
	}
	// What the shard could do if it knew the future: 540 000 in full, of the flooder's 600 000 x in full and the rest refused.
	const reads = 1_140_000 / worldBatch * worldRead
	const best = (1_000_000_000 - reads - 540_000*worldPass - 600_000*worldRefused) / (worldPass - worldRefused)
	if got := w.sessions[0].passed; got < best*80/100 {
		t.Errorf("of the flooder %d packets pass, %d could", got, best)
	}
	// Once it is in control the sockets' buffers don't fill: that is what the nine wait for.
	w.reset()
	w.run(1000)
	if w.longest > worldBuffer/2 {
		t.Errorf("%d packets waited", w.longest)
	}
}

func TestFair(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rates   []int
		garbage bool      // the first is no session
		most    []float64 // percent that each may lose; further ones as the last
		refused bool      // somebody is refused
	}{
		{"a flooder and one that is rarely there", []int{1_300_000, 50}, false, []float64{60, 2}, true},
		{"two flooders", append(repeat(2, 500_000), repeat(8, 50_000)...), false, []float64{75, 75, 1}, true},
		{"a flooder among a hundred", append([]int{600_000}, repeat(100, 5_000)...), false, []float64{70, 1}, true},
		{"no overload", append([]int{450_000}, repeat(9, 50_000)...), false, []float64{0}, false},
		{"alone", []int{1_500_000}, false, []float64{40}, false},
		{"all ask for the same", repeat(10, 200_000), false, []float64{55}, false},
		{"garbage", append([]int{5_000_000, 100_000}, repeat(8, 10_000)...), true, []float64{100, 50}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(tt.rates...)
			w.sessions[0].garbage = tt.garbage
			w.run(500)
			for i := range w.sessions {
				if p, most := w.sessions[i].percent(), tt.most[min(i, len(tt.most)-1)]; p > most {
					t.Errorf("session %d loses %.2f %%, want at most %.0f", i, p, most)
				}
			}
			if n := w.refused(); n > 0 != tt.refused {
				t.Errorf("%d packets refused", n)
			}
		})
	}
}

// When the flood ends nothing is refused any more after 8 ms, not even of a session that then takes nearly all there is.
func TestFairEnds(t *testing.T) {
	w := newWorld(append([]int{900_000, 0}, repeat(8, 50_000)...)...)
	w.run(200)
	if w.refused() == 0 {
		t.Fatal("nothing is refused in the flood")
	}
	w.rate(0, 0)
	w.run(2 + 8) // the buffer must empty first
	if w.fair.limiting {
		t.Error("still limiting 8 ms after the flood")
	}
	w.reset()
	w.rate(1, 500_000)
	w.run(200)
	if n := w.refused(); n != 0 {
		t.Errorf("%d packets refused after the flood", n)
	}
}

// closedLoop sends trains of packets of chance sessions, each as likely as its weight, and a new train whenever one has been
// served: so many packets are under way at any time. Now and then the shard stands still for up to 3 ms. It returns how
// many of the packets were refused. calm: no read is taken to be crowded.
func closedLoop(f *Fair, underWay, train int, weights []int, calm bool) (refused, all int) {
	r := rand.New(rand.NewPCG(7, 8))
	var chances []int
	for i, w := range weights {
		chances = append(chances, slices.Repeat([]int{i}, w)...)
	}
	shares := make([]Share, len(weights))
	var queue []int
	for now := int64(0); now < 1_000_000_000; {
		for len(queue) <= underWay-train {
			queue = append(queue, slices.Repeat([]int{chances[r.IntN(len(chances))]}, train)...)
		}
		now += worldRead
		if r.IntN(30) == 0 {
			now += r.Int64N(3_000_000)
		}
		n := min(len(queue), worldBatch)
		f.Batch(n, n == worldBatch && !calm, now)
		came := now
		for _, i := range queue[:n] {
			all++
			if f.Admit(&shares[i], came) {
				now += worldPass
				continue
			}
			now += worldRefused
			refused++
		}
		queue = slices.Delete(queue, 0, n)
	}
	return refused, all
}

// Sessions that keep the shard busy with all reads full, but wait for answers: those that ask for the same in the long run
// are refused next to nothing, and where the sockets are known not to be crowded nobody is refused anything.
func TestFairClosedLoop(t *testing.T) {
	equal := slices.Repeat([]int{1}, 9)
	for _, tt := range []struct {
		name            string
		underWay, train int
		weights         []int
		calm            bool // no read is crowded
	}{
		{"a batch", 64, 16, equal, false},
		{"many batches", 1024, 16, equal, false},
		{"long trains", 1024, 45, equal, false},
		{"many sessions", 1024, 45, slices.Repeat([]int{1}, 100), false},
		{"two that do most", 1024, 16, append([]int{100, 100}, equal...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f Fair
			refused, all := closedLoop(&f, tt.underWay, tt.train, tt.weights, tt.calm)
			if refused*200 > all || tt.calm && refused > 0 {
				t.Errorf("%d of %d packets refused", refused, all)
			}
		})
	}
}

// With a look at the sockets' buffers the flooder of TestFairFlooder is held as well, and never fills them.
func TestFairCrowded(t *testing.T) {
	w := newWorld(append([]int{600_000}, repeat(9, 60_000)...)...)
	asked := 0
	w.crowded = func() bool {
		asked++
		return len(w.queue) > worldBuffer/4
	}
	w.run(1000)
	for i := 1; i < len(w.sessions); i++ {
		if p := w.sessions[i].percent(); p > 0 {
			t.Errorf("session %d loses %.2f %%", i, p)
		}
	}
	if w.refused() == 0 || w.longest == worldBuffer {
		t.Errorf("%d refused, up to %d waited", w.refused(), w.longest)
	}
	if asked == 0 {
		t.Error("no read came back full")
	}
}

// Bursts as long as a batch are not overload, however often the reads come back full.
func TestFairBursts(t *testing.T) {
	var f Fair
	var a, b Share
	for now := int64(0); now < 1_000_000_000; now += 2_000_000 {
		f.Batch(worldBatch, true, now)
		for i := range worldBatch {
			s := &a
			if i%16 == 0 {
				s = &b
			}
			if !f.Admit(s, now) {
				t.Fatalf("refused at %d ms", now/1_000_000)
			}
		}
	}
}

// Two sockets that are read in turns at one time are overloaded when one of them is.
func TestFairTwoSockets(t *testing.T) {
	for _, order := range [][2]int{{worldBatch, 3}, {3, worldBatch}} {
		var f Fair
		var flood, modest Share
		refused := 0
		for now := int64(0); now < 50_000_000; now += 100_000 {
			for _, n := range order {
				f.Batch(n, n == worldBatch, now)
				s := &modest
				if n == worldBatch {
					s = &flood
				}
				for range n {
					if f.Admit(s, now) {
						continue
					}
					refused++
					if s == &modest {
						t.Fatal("the modest one is refused")
					}
				}
			}
		}
		if refused == 0 {
			t.Errorf("reads of %v: nobody is refused", order)
		}
	}
}

// slowLevel is the max-min fair share by its definition: all demands rise together, and who has enough stops. In packets;
// -1 if all have enough.
func slowLevel(demands []int, target int) float64 {
	slices.Sort(demands)
	left := float64(target)
	for i, d := range demands {
		if each := left / float64(len(demands)-i); float64(d) > each {
			return each
		}
		left -= float64(d)
	}
	return -1
}

func TestFairLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var f Fair
		f.next(0)
		demands := make([]int, 1+r.IntN(40))
		sum := 0
		for i := range demands {
			demands[i] = 1 + r.IntN(1<<(1+r.IntN(9)))
			sum += demands[i]
			var s Share
			for range demands[i] {
				f.Admit(&s, 1)
			}
		}
		f.target = r.IntN(sum + 10)
		want := slowLevel(demands, f.target)
		got := float64(f.fairLevel()) / onePacket
		switch {
		case want < 0:
			if got != 0 {
				t.Fatalf("%v, target %d: level %f, want none", demands, f.target, got)
			}
		case got < max(want, 1)-0.001 || got > max(want, 1)+0.001: // never below a packet
			t.Fatalf("%v, target %d: level %f, want %f", demands, f.target, got, want)
		}
	}
}

// FuzzFair gives any reads at any times: no session that has been alone is refused, and nothing overflows.
func FuzzFair(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{64, 1, 100, 64, 1, 100, 3, 0, 0, 64, 7, 255}, uint8(2))
	f.Add(slices.Repeat([]byte{64, 0, 100}, 100), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, sessions uint8) {
		var fair Fair
		shares := make([]Share, int(sessions%8)+1)
		now := int64(0)
		for ; len(in) >= 3; in = in[3:] {
			now += int64(in[2]) * int64(in[2]) * 100
			if in[2] == 255 {
				now += 1 << 40
			}
			fair.Batch(int(in[0]), in[0] >= worldBatch, now)
			for range in[0] {
				ok := fair.Admit(&shares[int(in[1])%len(shares)], now)
				if !ok && len(shares) == 1 {
					t.Fatal("refused though alone")
				}
			}
			if fair.level < 0 || fair.target < 0 || fair.passed > fair.asked {
				t.Fatalf("%+v", fair.level)
			}
		}
	})
}

func TestFairDoesNotAllocate(t *testing.T) {
	var f Fair
	var a, b Share
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += 100_000
		f.Batch(worldBatch, true, now)
		for range worldBatch {
			f.Admit(&a, now)
		}
		f.Admit(&b, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if f.level == unlimited {
		t.Error("not overloaded: the test shows nothing")
	}
}

func BenchmarkAdmit(b *testing.B) {
	var f Fair
	shares := make([]Share, 1000)
	now, i := int64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		if i++; i%worldBatch == 0 {
			now += 100_000
			f.Batch(worldBatch, true, now)
		}
		f.Admit(&shares[i%len(shares)], now)
	}
}
