package gre

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/gre"
)

const ms = int64(time.Millisecond)

// receiver runs packets through a session as a shard does and collects the numbers that are delivered.
type receiver struct {
	t    testing.TB
	s    *Session
	pool *pktbuf.Pool
	got  []uint32
	now  int64
	kept map[uint32]Evidence // what the session was told about those that it keeps
}

func newReceiver(t testing.TB) *receiver {
	pool := pktbuf.NewPool(Window)
	return &receiver{t: t, s: NewSession(7, pool), pool: pool, kept: map[uint32]Evidence{}}
}

func (r *receiver) accept(seq uint32, e Evidence) Outcome {
	r.t.Helper()
	var b pktbuf.Buf
	b.Reset()
	binary.BigEndian.PutUint32(b.Append(4), seq)
	place := r.s.Place(seq)
	if again := r.s.Place(seq); again != place {
		r.t.Fatalf("Place moves something: %v, then %v", place, again)
	}
	o := r.s.Accept(seq, &b, e, r.now)
	if o == Held {
		r.kept[seq] = e
	}
	if o == Deliver {
		r.got = append(r.got, seq)
	}
	r.pop()
	if o == DeliverLast {
		r.got = append(r.got, seq)
	}
	return o
}

// pop collects what was kept, which must be what was given.
func (r *receiver) pop() {
	r.t.Helper()
	for {
		p, ok := r.s.Pop()
		if !ok {
			return
		}
		if n := binary.BigEndian.Uint32(p.Buf.Bytes()); n != p.Seq || p.Evidence != r.kept[p.Seq] {
			r.t.Fatalf("popped %d with number %d, evidence %v", n, p.Seq, p.Evidence)
		}
		r.pool.Put(p.Buf)
		r.got = append(r.got, p.Seq)
	}
}

// tick lets the time pass, expiring what is due.
func (r *receiver) tick(d int64) {
	r.now += d
	if r.s.Expire(r.now) {
		r.pop()
	}
}

func (r *receiver) want(seqs ...uint32) {
	r.t.Helper()
	if !slices.Equal(r.got, seqs) {
		r.t.Fatalf("delivered %d, want %d", r.got, seqs)
	}
	r.got = nil
}

// step is one packet and what must become of it, with all packets that are delivered then.
type step struct {
	seq  uint32
	e    Evidence
	want Outcome
	got  []uint32
}

func u(ns ...uint32) []uint32 { return ns }

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		lost  uint64
	}{
		{"in order", []step{{0, Clear, Deliver, u(0)}, {1, Clear, Deliver, u(1)}, {2, Clear, Deliver, u(2)}}, 0},
		{"a peer that starts at 1", []step{{1, Clear, Deliver, u(1)}, {2, Clear, Deliver, u(2)}}, 0},
		{"the first ones are lost", []step{{30, Clear, Deliver, u(30)}, {29, Clear, Refused, nil}, {31, Clear, Deliver, u(31)}}, 0},
		{"duplicate", []step{{0, Clear, Deliver, u(0)}, {0, Clear, Refused, nil}, {1, Clear, Deliver, u(1)}}, 0},
		{"exchanged", []step{{0, Clear, Deliver, u(0)}, {2, Clear, Held, nil}, {1, Clear, Deliver, u(1, 2)}}, 0},
		{"held one twice", []step{{0, Clear, Deliver, u(0)}, {2, Clear, Held, nil}, {2, Clear, Refused, nil}, {1, Clear, Deliver, u(1, 2)}}, 0},
		{"three held, two gaps", []step{
			{0, Clear, Deliver, u(0)}, {4, Clear, Held, nil}, {2, Clear, Held, nil}, {3, Clear, Held, nil}, {1, Clear, Deliver, u(1, 2, 3, 4)},
		}, 0},
		{"end of the window", []step{{0, Clear, Deliver, u(0)}, {Window, Clear, Held, nil}, {1, Clear, Deliver, u(1)}}, 0},
		{"beyond the window, what is held goes first", []step{
			{0, Clear, Deliver, u(0)},
			{2, Clear, Held, nil},
			{2*Window + 1, Clear, DeliverLast, u(2, 2*Window+1)},
			{1, Clear, Refused, nil},
			{2*Window + 2, Clear, Deliver, u(2*Window + 2)},
		}, 2*Window - 1},
		{"just beyond the window, which slides", []step{
			{0, Clear, Deliver, u(0)},
			{2, Clear, Held, nil},
			{Window + 1, Clear, Held, u(2)},
			{1, Clear, Refused, nil},
			{4, Clear, Held, nil},
			{3, Clear, Deliver, u(3, 4)},
		}, 1},
		{"slides up to itself", slides(), 1},
		{"the widest jump at once", []step{{0, Verified, Deliver, u(0)}, {FarJump, Verified, DeliverLast, u(FarJump)}}, FarJump - 1},
		{"one more is held", []step{{0, Verified, Deliver, u(0)}, {FarJump + 1, Verified, Waiting, nil}, {1, Verified, Deliver, u(1)}}, 0},
		{"two in a row are followed", []step{
			{0, Verified, Deliver, u(0)},
			{5000, Verified, Waiting, nil},
			{5001, Verified, DeliverLast, u(5001)},
			{5002, Verified, Deliver, u(5002)},
			{5000, Verified, Refused, nil},
		}, 5000},
		{"clear ones too, but their losses mean nothing", []step{
			{0, Clear, Deliver, u(0)}, {5000, Clear, Waiting, nil}, {5003, Clear, DeliverLast, u(5003)},
		}, 0},
		{"what is held goes first", []step{
			{0, Verified, Deliver, u(0)}, {2, Verified, Held, nil}, {5000, Verified, Waiting, nil}, {5001, Verified, DeliverLast, u(2, 5001)},
		}, 4999},
		{"exchanged far away", []step{
			{0, Verified, Deliver, u(0)}, {5001, Verified, Waiting, nil}, {5000, Verified, DeliverLast, u(5000)}, {5002, Verified, Deliver, u(5002)},
		}, 5000},
		{"the same one twice isn't two in a row", []step{
			{0, Clear, Deliver, u(0)}, {5000, Clear, Waiting, nil}, {5000, Clear, Waiting, nil}, {5001, Clear, DeliverLast, u(5001)},
		}, 0},
		{"one near by in between breaks the row", []step{
			{0, Clear, Deliver, u(0)}, {5000, Clear, Waiting, nil}, {1, Clear, Deliver, u(1)}, {5001, Clear, Waiting, nil},
		}, 0},
		{"far from each other isn't in a row", []step{
			{0, Clear, Deliver, u(0)}, {5000, Clear, Waiting, nil}, {50000, Clear, Waiting, nil}, {5001, Clear, Waiting, nil},
		}, 0},
		{"back, after somebody moved it", []step{
			{0, Clear, Deliver, u(0)},
			{1 << 31, Clear, Waiting, nil},
			{1<<31 + 1, Clear, DeliverLast, u(1<<31 + 1)},
			{1, Clear, Waiting, nil},
			{2, Clear, DeliverLast, u(2)},
			{3, Clear, Deliver, u(3)},
		}, 0},
		{"confirmed by the cipher", []step{{0, Verified, Deliver, u(0)}, {9000, Confirmed, DeliverLast, u(9000)}}, 8999},
		{"confirmed in the window: what is missing is given up", []step{
			{0, Verified, Deliver, u(0)}, {2, Unverified, Held, nil}, {5, Confirmed, DeliverLast, u(2, 5)}, {6, Verified, Deliver, u(6)},
		}, 3},
		{"confirmed before a later one", []step{
			{0, Verified, Deliver, u(0)}, {6, Verified, Held, nil}, {5, Confirmed, Held, nil}, {1, Verified, Deliver, u(1)},
		}, 0},
		{"confirmed beyond the window, which doesn't slide then", []step{
			{0, Verified, Deliver, u(0)}, {2, Unverified, Held, nil}, {Window + 9, Confirmed, DeliverLast, u(2, Window+9)},
		}, Window + 7},
		{"a clear frame of an encrypted session isn't followed far", []step{
			{0, Verified, Deliver, u(0)}, {9000, Control, Refused, nil}, {9001, Control, Refused, nil}, {500, Control, DeliverLast, u(500)},
		}, 499},
		{"an unverified one is kept and no more", []step{
			{0, Verified, Deliver, u(0)},
			{100, Unverified, Refused, nil},
			{9000, Unverified, Refused, nil},
			{9001, Unverified, Refused, nil},
			{2, Unverified, Held, nil},
		}, 0},
		{"a first number far away", []step{{70000, Clear, Waiting, nil}, {70001, Clear, DeliverLast, u(70001)}, {70002, Clear, Deliver, u(70002)}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t)
			for i, st := range tt.steps {
				if o := r.accept(st.seq, st.e); o != st.want {
					t.Fatalf("step %d, number %d: %v, want %v", i, st.seq, o, st.want)
				}
				r.want(st.got...)
			}
			if r.s.Lost() != tt.lost {
				t.Errorf("%d lost, want %d", r.s.Lost(), tt.lost)
			}
			r.s.Close()
			if r.pool.Free() != Window {
				t.Errorf("%d buffers back after Close, want %d", r.pool.Free(), Window)
			}
		})
	}
}

// slides is a full window behind one lost packet, and the next.
func slides() []step {
	steps := []step{{0, Clear, Deliver, u(0)}}
	var all []uint32
	for seq := uint32(2); seq <= Window; seq++ {
		steps = append(steps, step{seq, Clear, Held, nil})
		all = append(all, seq)
	}
	return append(steps, step{Window + 1, Clear, DeliverLast, append(all, Window+1)})
}

func TestPlace(t *testing.T) {
	r := newReceiver(t)
	for seq := range uint32(200) {
		r.accept(seq, Clear)
	}
	r.accept(203, Clear) // next is 200
	for _, tt := range []struct {
		seq  uint32
		want Place
	}{
		{200, Next},
		{201, Early},
		{203, Duplicate},
		{231, Early},
		{232, Jump},
		{199 + FarJump, Jump},
		{200 + FarJump, Far},
		{199, Duplicate},
		{136, Duplicate},
		{135, Late}, // older than the memory
		{0, Late},
		{0xffffffff, Late},
		{1<<32 + 200 - FarJump, Late},
		{1<<32 + 199 - FarJump, Far},
		{1 << 31, Far},
	} {
		if got := r.s.Place(tt.seq); got != tt.want {
			t.Errorf("%d is %v, want %v", tt.seq, got, tt.want)
		}
	}
}

// TestPlaceAfterJump: what was lost in a jump is late, what was delivered before it is a duplicate as long as that is known.
func TestPlaceAfterJump(t *testing.T) {
	r := newReceiver(t)
	for seq := range uint32(10) {
		r.accept(seq, Clear)
	}
	r.accept(10+2*Window, Confirmed)
	for seq, want := range map[uint32]Place{10 + 2*Window: Duplicate, 9 + 2*Window: Late, 10 + Window: Late, 9: Late} {
		if got := r.s.Place(seq); got != want {
			t.Errorf("%d is %v, want %v", seq, got, want)
		}
	}
	r.accept(20+2*Window, Confirmed)
	for seq, want := range map[uint32]Place{20 + 2*Window: Duplicate, 19 + 2*Window: Late, 11 + 2*Window: Late, 10 + 2*Window: Duplicate} {
		if got := r.s.Place(seq); got != want {
			t.Errorf("%d is %v, want %v", seq, got, want)
		}
	}
}

// TestExpire: each early packet waits as long as HoldTime, and no longer.
func TestExpire(t *testing.T) {
	r := newReceiver(t)
	if _, ok := r.s.Deadline(); ok {
		t.Error("a deadline with nothing kept")
	}
	r.accept(0, Clear)
	r.accept(10, Clear)
	r.tick(HoldTime / 2)
	r.accept(5, Clear)
	r.accept(12, Clear)
	if at, ok := r.s.Deadline(); !ok || at != HoldTime {
		t.Errorf("deadline %d, want %d", at, HoldTime)
	}
	r.tick(HoldTime/2 - ms)
	r.want(0)
	r.tick(1 * ms) // 10 is due, and 5 goes before it; 12 still waits for 11
	r.want(5, 10)
	if at, ok := r.s.Deadline(); !ok || at != HoldTime/2+HoldTime {
		t.Errorf("deadline %d, want %d", at, HoldTime/2+HoldTime)
	}
	r.accept(9, Clear) // late
	r.tick(HoldTime / 2)
	r.want(12)
	if r.s.Lost() != 4+4+1 {
		t.Errorf("%d lost, want 9", r.s.Lost())
	}
	if p := r.s.Place(9); p != Late {
		t.Errorf("9 is %v, want late", p)
	}
	if p := r.s.Place(5); p != Duplicate {
		t.Errorf("5 is %v, want duplicate", p)
	}
}

// TestNoBuffer: with an empty pool an early packet is dropped, and counted as lost when it is passed over.
func TestNoBuffer(t *testing.T) {
	s := NewSession(7, pktbuf.NewPool(1))
	var b pktbuf.Buf
	b.SetBytes([]byte{1})
	for _, st := range []struct {
		seq  uint32
		want Outcome
	}{{0, Deliver}, {2, Held}, {3, Refused}, {1, Deliver}} {
		if o := s.Accept(st.seq, &b, Clear, 0); o != st.want {
			t.Fatalf("%d: %v, want %v", st.seq, o, st.want)
		}
	}
	if p, ok := s.Pop(); !ok || p.Seq != 2 {
		t.Fatalf("popped %v", p)
	}
	if s.Accept(4, &b, Clear, 0) != Refused || s.Accept(3, &b, Clear, 0) != Deliver || s.Lost() != 0 {
		t.Errorf("the gap wasn't closed, %d lost", s.Lost())
	}
}

// TestUndrained: a caller that forgets to Pop loses packets, nothing else.
func TestUndrained(t *testing.T) {
	pool := pktbuf.NewPool(4 * Window)
	s := NewSession(7, pool)
	var b pktbuf.Buf
	b.SetBytes([]byte{1})
	for round := range uint32(3) {
		for i := range uint32(Window) {
			s.Accept(round*(Window+1)+(i+1)%Window, &b, Clear, 0)
		}
	}
	n := 0
	for {
		if _, ok := s.Pop(); !ok {
			break
		}
		n++
	}
	if n == 0 || n > Window {
		t.Errorf("%d packets popped, at most %d", n, Window)
	}
}

// TestWay sends numbers over a way with loss, duplicates and reordering, across the wrap at 2^32. What isn't lost and comes
// in time is delivered once and in order, and the count of losses is right.
func TestWay(t *testing.T) {
	for _, first := range []uint32{0, 0xffffffff - 5000} {
		r, rng := newReceiver(t), rand.New(rand.NewPCG(1, uint64(first)))
		if first != 0 {
			r.accept(first-2, Verified)
			r.accept(first-1, Verified)
			r.got = nil
		}
		type arrival struct {
			seq uint32
			at  int
		}
		const total = 10000
		var way []arrival
		var sent []uint32
		for i := range total {
			seq := first + uint32(i)
			if rng.IntN(20) == 0 && i < total-1 && i > 0 {
				continue
			}
			sent = append(sent, seq)
			late := 0
			if i > 0 && i < total-Window {
				late = rng.IntN(20)
			}
			way = append(way, arrival{seq, i + late})
			if rng.IntN(20) == 0 {
				way = append(way, arrival{seq, i + 1 + rng.IntN(60)})
			}
		}
		slices.SortStableFunc(way, func(a, b arrival) int { return a.at - b.at })
		for i, p := range way {
			if i > 0 {
				r.tick(int64(p.at-way[i-1].at) * ms)
			}
			r.accept(p.seq, Verified)
		}
		r.tick(HoldTime)
		r.want(sent...)
		if want := uint64(total - len(sent)); r.s.Lost() != want {
			t.Errorf("from %d: %d lost, want %d", first, r.s.Lost(), want)
		}
		if r.pool.Free() != Window {
			t.Errorf("%d buffers in the pool, want %d", r.pool.Free(), Window)
		}
	}
}

// TestForgedFlood: packets far away that nothing vouches for move nothing, whatever is between them.
func TestForgedFlood(t *testing.T) {
	r := newReceiver(t)
	for seq := range uint32(1000) {
		if o := r.accept(seq, Verified); o != Deliver {
			t.Fatalf("%d: %v", seq, o)
		}
		for i := range uint32(66) {
			forged := (seq*66 + i) * 2654435761
			if p := r.s.Place(forged); p != Far {
				continue // the caller finds it not credible
			}
			if o := r.accept(forged, Control); o != Refused {
				t.Fatalf("forged %d: %v", forged, o)
			}
		}
	}
	if r.s.Lost() != 0 {
		t.Errorf("%d lost, want none", r.s.Lost())
	}
}

func TestWrap(t *testing.T) {
	s := NewSession(0xabcd, pktbuf.NewPool(0))
	var b pktbuf.Buf
	header := func() gre.Header {
		t.Helper()
		h, payload, err := gre.ParseHeader(b.Bytes())
		if err != nil || h.CallID != 0xabcd || string(payload) != "frame" {
			t.Fatalf("%v %q %v", h, payload, err)
		}
		return h
	}
	b.SetBytes([]byte("frame"))
	s.Wrap(&b)
	if h := header(); h.Seq != 0 || !h.HasSeq || h.HasAck || h.Len() != 12 {
		t.Errorf("first header %+v", h)
	}
	s.Accept(1, &b, Clear, 0)
	s.Accept(2, &b, Clear, 0)
	b.SetBytes([]byte("frame"))
	s.Wrap(&b)
	if h := header(); h.Seq != 1 || !h.HasAck || h.Ack != 2 {
		t.Errorf("second header %+v", h)
	}
	b.SetBytes([]byte("frame"))
	s.Wrap(&b)
	if h := header(); h.Seq != 2 || h.HasAck {
		t.Errorf("third header %+v", h)
	}
	var full pktbuf.Buf
	full.SetLen(10)
	if s.Wrap(&full) || full.Len() != 10 || s.sendSeq != 3 {
		t.Error("a packet without headroom was wrapped, or took a number")
	}
	s.sendSeq = 0xffffffff
	for _, want := range []uint32{0xffffffff, 0, 1} {
		b.SetBytes([]byte("frame"))
		s.Wrap(&b)
		if h := header(); h.Seq != want {
			t.Errorf("number %d, want %d", h.Seq, want)
		}
	}
}

func TestAck(t *testing.T) {
	r := newReceiver(t)
	if _, ok := r.s.AckDeadline(); ok || r.s.AckDue(1<<60) {
		t.Error("an acknowledgement is due before anything came")
	}
	r.now = 7 * ms
	r.accept(0, Clear)
	r.now = 8 * ms
	r.accept(1, Clear)
	r.accept(5, Clear) // held: not delivered
	if at, ok := r.s.AckDeadline(); !ok || at != 7*ms+AckDelay || r.s.AckDue(at-1) || !r.s.AckDue(at) {
		t.Errorf("deadline %d, want %d", at, 7*ms+AckDelay)
	}
	var b pktbuf.Buf
	r.s.Ack(&b)
	if h, payload, err := gre.ParseHeader(b.Bytes()); err != nil || h.HasSeq || !h.HasAck || h.Ack != 1 || h.CallID != 7 || len(payload) != 0 {
		t.Errorf("acknowledgement %+v, %v", h, err)
	}
	if _, ok := r.s.AckDeadline(); ok {
		t.Error("still due")
	}
	r.accept(100, Clear) // passes 5, too
	for seq := uint32(2); seq < AckEvery; seq++ {
		if r.s.AckDue(r.now) {
			t.Errorf("due after %d packets", seq)
		}
		r.accept(100+seq-1, Clear)
	}
	if !r.s.AckDue(r.now) {
		t.Errorf("not due after %d packets", AckEvery)
	}
}

func TestStrings(t *testing.T) {
	places, outcomes := map[string]bool{}, map[string]bool{}
	for p := Place(0); p <= Duplicate+1; p++ {
		places[p.String()] = true
	}
	for o := Outcome(0); o <= Refused+1; o++ {
		outcomes[o.String()] = true
	}
	if len(places) != int(Duplicate)+1 || len(outcomes) != int(Refused)+1 {
		t.Errorf("%v %v", places, outcomes)
	}
}

// TestNoAllocation: in order, exchanged, held and wrapped packets allocate nothing.
func TestNoAllocation(t *testing.T) {
	pool := pktbuf.NewPool(Window)
	s := NewSession(7, pool)
	var b pktbuf.Buf
	b.SetBytes([]byte("frame"))
	seq, now := uint32(0), int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += ms
		for _, d := range []uint32{0, 2, 1, 5} {
			s.Accept(seq+d, &b, Verified, now)
			for {
				p, ok := s.Pop()
				if !ok {
					break
				}
				pool.Put(p.Buf)
			}
		}
		s.Place(seq + 9999)
		s.Expire(now)
		seq += 4
		b.SetBytes([]byte("frame"))
		s.Wrap(&b)
		if s.AckDue(now) {
			s.Ack(&b)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSessionEvents gives a session any numbers, evidence and time. It never delivers a number twice within its memory,
// never forgets a buffer, and never keeps anything beyond HoldTime.
func FuzzSessionEvents(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 1, 0, 1, 2, 0, 3, 1, 0, 2, 3, 0})
	f.Add([]byte{0, 1, 0, 40, 1, 0, 250, 2, 5, 41, 3, 90})
	f.Fuzz(func(t *testing.T, events []byte) {
		r := newReceiver(t)
		base := uint32(0xfffffff0)
		for ; len(events) >= 3; events = events[3:] {
			seq, e := base+uint32(int8(events[0])), Evidence(events[1]%8)
			if events[1]&0x80 != 0 {
				seq, base = seq+3000, base+3000
			}
			was := r.s.Place(seq)
			before := len(r.got)
			o := r.accept(seq, e)
			if (was == Late || was == Duplicate) && (o != Refused || len(r.got) != before) {
				t.Fatalf("%d was %v: %v, delivered %d", seq, was, o, r.got[before:])
			}
			if delivered := r.got[before:]; (was == Next || was == Jump) && !slices.IsSortedFunc(delivered, func(a, b uint32) int { return int(int32(a - b)) }) {
				t.Fatalf("out of order: %d", delivered)
			}
			r.tick(int64(events[2]) * ms)
			if at, ok := r.s.Deadline(); ok && at <= r.now {
				t.Fatalf("deadline %d has passed at %d", at, r.now)
			}
		}
		r.s.Close()
		if r.pool.Free() != Window {
			t.Fatalf("%d buffers are missing", Window-r.pool.Free())
		}
	})
}

// BenchmarkAccept/reordered keeps and releases every second packet.
func BenchmarkAccept(b *testing.B) {
	for _, tt := range []struct {
		name  string
		order []uint32
	}{{"in-order", []uint32{0, 1}}, {"reordered", []uint32{1, 0}}} {
		b.Run(tt.name+"/1400B", func(b *testing.B) {
			pool := pktbuf.NewPool(Window)
			s := NewSession(7, pool)
			var buf pktbuf.Buf
			buf.SetBytes(make([]byte, 1400))
			s.Accept(0, &buf, Verified, 0)
			seq := uint32(1)
			b.SetBytes(1400 * 2)
			b.ReportAllocs()
			for b.Loop() {
				for _, d := range tt.order {
					s.Accept(seq+d, &buf, Verified, 0)
					if p, ok := s.Pop(); ok {
						pool.Put(p.Buf)
					}
				}
				seq += 2
			}
		})
	}
}
