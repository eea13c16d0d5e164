package mppe

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

// openPair is a session whose packets are opened twice: with others, and one by one.
type openPair struct {
	sender          *Sender
	seq             uint32 // of the next packet
	n               int
	sent            []packet // the latest
	together, alone *Receiver
}

// openWorld is several sessions on a bad way. What happens, pick chooses: it returns a number below n.
type openWorld struct {
	t     testing.TB
	pick  func(n int) int
	most  int // packets in a batch
	pairs []*openPair
	last  *openPair
	now   int64
	// gullible makes one in four forged packets credible.
	gullible bool
	// The scratches of together, alone and the senders.
	x, y, z *Scratch
	// What the last batch asked, together and one by one.
	asked, askedAlone []question

	packets  int
	verdicts map[Verdict]int
	ahead    int // after so many batches a receiver knew keys that it wouldn't have known one by one
}

// question is what a Credible was asked.
type question struct {
	head string
	n    int
	far  bool
}

func newOpenWorld(t testing.TB, sessions int, gullible bool, pick func(n int) int) *openWorld {
	w := &openWorld{
		t: t, pick: pick, most: batchLen, gullible: gullible,
		x: NewScratch(), y: NewScratch(), z: NewScratch(), verdicts: map[Verdict]int{},
	}
	for i := range sessions {
		p := params([]int{128, 56, 40}[pick(3)], pick(4) == 0)
		p.StartKey[0] = byte(i)
		w.pairs = append(w.pairs, &openPair{
			sender: NewSender(p), seq: []uint32{0, 1 << 20, 0xffffff00}[pick(3)], together: NewReceiver(p), alone: NewReceiver(p),
		})
	}
	w.last = w.pairs[0]
	return w
}

// credible writes down what it is asked.
func (w *openWorld) credible(asked *[]question) Credible {
	return func(head []byte, n int, far bool) bool {
		*asked = append(*asked, question{string(head), n, far})
		return credible(head, n, far) || w.gullible && head[len(head)-1]%4 == 0
	}
}

// send makes the next packet of a session.
func (w *openWorld) send(p *openPair, size int) packet {
	var b pktbuf.Buf
	b.SetBytes(frameFrom(p.n, netip.MustParseAddr("10.1.0.2"), size))
	p.sender.Seal(&b, w.z)
	out := packet{p.n, p.seq, bytes.Clone(b.Bytes())}
	p.n++
	p.seq++
	if len(p.sent) == 100 {
		p.sent = p.sent[1:]
	}
	p.sent = append(p.sent, out)
	return out
}

// lose sends n packets that never arrive.
func (w *openWorld) lose(p *openPair, n int) {
	for range n {
		w.send(p, 28)
	}
}

// arrival is the next packet that comes in for a session.
func (w *openWorld) arrival(p *openPair) packet {
	sizes := []int{28, 40, 60, 60, 61, 62, 63, 100, 300, 1400}
	size := sizes[w.pick(len(sizes))]
	switch w.pick(40) {
	case 0, 1: // once more
		if len(p.sent) > 0 {
			return p.sent[w.pick(len(p.sent))]
		}
	case 2, 3: // out of order
		w.lose(p, w.pick(5))
		w.send(p, size)
		return p.sent[len(p.sent)-1-w.pick(min(8, len(p.sent)))]
	case 4:
		w.lose(p, w.pick(NearKeys+10))
	case 5:
		if w.pick(8) == 0 {
			w.lose(p, w.pick(300))
		}
	case 6:
		if w.pick(100) == 0 {
			w.lose(p, w.pick(5000))
		}
	case 7: // forged, near
		d := []int{w.pick(3), w.pick(2*NearKeys+20) - NearKeys - 10}[w.pick(2)]
		return forge(p.n+d, p.seq+uint32(d+[]int{-1, 0, 1, 500}[w.pick(4)]), byte(w.pick(256)))
	case 8: // forged, anywhere
		return forge(w.pick(countSpace), p.seq+uint32(w.pick(1<<14))-1<<13, byte(w.pick(256)))
	case 9: // any header, any length
		out := packet{-1, p.seq + uint32(w.pick(10)), make([]byte, w.pick(80))}
		for i := range out.wire {
			out.wire[i] = byte(w.pick(256))
		}
		if len(out.wire) >= headerLen {
			binary.BigEndian.PutUint16(out.wire, uint16(p.n+w.pick(20)-10)&countMask|uint16(w.pick(16)<<12))
		}
		return out
	case 10: // the sequence number runs away from the count
		p.seq += uint32(w.pick([]int{20, 20, 20, 2000}[w.pick(4)]))
	case 11:
		p.sender.Reset()
	}
	return w.send(p, size)
}

// batch opens a batch in both ways and compares all that can be seen.
func (w *openWorld) batch() {
	w.t.Helper()
	w.now += []int64{0, second / 1000, second / 10, 2 * second}[w.pick(4)]
	w.asked, w.askedAlone = w.asked[:0], w.askedAlone[:0]
	ops := make([]OpenOp, 1+w.pick(w.most))
	models := make([]OpenOp, len(ops))
	for i := range ops {
		if w.pick(3) == 0 {
			w.last = w.pairs[w.pick(len(w.pairs))]
		}
		in := w.arrival(w.last)
		a, b := &pktbuf.Buf{}, &pktbuf.Buf{}
		a.SetBytes(in.wire)
		b.SetBytes(in.wire)
		ops[i] = OpenOp{Receiver: w.last.together, Buf: a, Seq: in.seq, Credible: w.credible(&w.asked)}
		models[i] = OpenOp{Receiver: w.last.alone, Buf: b, Seq: in.seq, Credible: w.credible(&w.askedAlone)}
	}
	OpenBatch(ops, w.now, w.x)
	for i := range models {
		models[i].Verdict = models[i].Receiver.open(&models[i], nil, w.now, w.y)
	}
	for i := range ops {
		got, want := &ops[i], &models[i]
		if got.Verdict != want.Verdict || !bytes.Equal(got.Buf.Bytes(), want.Buf.Bytes()) {
			w.t.Fatalf("packet %d of %d: %v %.80x, one by one %v %.80x",
				i, len(ops), got.Verdict, got.Buf.Bytes(), want.Verdict, want.Buf.Bytes())
		}
		w.verdicts[got.Verdict]++
	}
	w.packets += len(ops)
	if !slices.Equal(w.asked, w.askedAlone) {
		w.t.Fatal("what is credible was asked for other packets, or in another order, than one by one")
	}
	w.checkStates()
	if w.pick(4) == 0 {
		seq := w.last.seq
		w.last.seq++
		w.last.together.NoteClear(seq)
		w.last.alone.NoteClear(seq)
	}
}

// checkStates compares the receivers, and what both ways have cost.
func (w *openWorld) checkStates() {
	w.t.Helper()
	lead := 0
	for i, p := range w.pairs {
		n, ok := sameState(p.together, p.alone)
		if !ok {
			w.t.Fatalf("receiver %d is in another state than one by one", i)
		}
		lead += n
	}
	if lead > 0 {
		w.ahead++
	}
	// Keys that are known ahead are given up when a position is taken over, and only then.
	more := int(w.x.KeyChanges) - int(w.y.KeyChanges) - lead
	if limit := NearKeys * w.verdicts[Resynced]; more < 0 || more > limit {
		w.t.Fatalf("%d needless key changes, limit %d", more, limit)
	}
	if x, y := w.x.KeySetups, w.y.KeySetups; x < y || x > y+uint64(w.packets) {
		w.t.Fatalf("%d key setups for %d packets, one by one %d", x, w.packets, y)
	}
}

// sameState reports whether a receiver whose packets were opened together is as one that opened them one by one, and how
// many keys it knows that the other doesn't.
func sameState(together, alone *Receiver) (lead int, ok bool) {
	a, b := *together, *alone
	if (a.stateful == nil) != (b.stateful == nil) || a.stateful != nil && *a.stateful != *b.stateful {
		return 0, false
	}
	a.stateful, b.stateful = nil, nil
	s := &a.stateless
	if s.known < s.derived || s.known > a.top+NearKeys && s.known > s.derived || b.stateless.known != s.derived {
		return 0, false
	}
	lead = int(s.known - s.derived)
	x, k := NewScratch(), s.near[s.derived%nearSlots]
	for pos := s.derived + 1; pos <= s.known; pos++ {
		a.schedule.change(&k, x)
		if s.near[pos%nearSlots] != k {
			return 0, false // wrong
		}
	}
	s.known = s.derived
	a.stateless.near, b.stateless.near = inUse(together), inUse(alone)
	return lead, a == b
}

// inUse is the keys near by that can still be asked for; what is in the other places doesn't matter.
func inUse(r *Receiver) (keys [nearSlots]key) {
	s := &r.stateless
	for i := range min(uint64(NearKeys), r.top) {
		if s.used>>i&1 == 0 {
			keys[(r.top-i)%nearSlots] = s.near[(r.top-i)%nearSlots]
		}
	}
	for pos := r.top; pos <= s.derived; pos++ {
		keys[pos%nearSlots] = s.near[pos%nearSlots]
	}
	return keys
}

// TestOpenBatch: packets opened together have the same verdicts and the same effects as one by one.
func TestOpenBatch(t *testing.T) {
	verdicts, ahead := map[Verdict]int{}, 0
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newOpenWorld(t, 1+r.IntN(20), seed%2 == 1, r.IntN)
		for range 60 {
			w.batch()
		}
		for v, n := range w.verdicts {
			verdicts[v] += n
		}
		ahead += w.ahead
	}
	for v := OK; v <= NeedReset; v++ {
		if verdicts[v] < 10 {
			t.Errorf("%v only %d times: the test doesn't test it", v, verdicts[v])
		}
	}
	if ahead == 0 {
		t.Error("no position was ever foreseen wrongly")
	}
	t.Logf("%v, %d batches with keys ahead", verdicts, ahead)
}

// openAll opens packets of one receiver in a batch.
func openAll(r *Receiver, x *Scratch, ps []packet) []OpenOp {
	ops := make([]OpenOp, len(ps))
	for i := range ops {
		b := &pktbuf.Buf{}
		b.SetBytes(ps[i].wire)
		ops[i] = OpenOp{Receiver: r, Buf: b, Seq: ps[i].seq, Credible: credible}
	}
	OpenBatch(ops, 0, x)
	return ops
}

// TestOpenBatchCost: in a stream without losses nothing is done twice.
func TestOpenBatchCost(t *testing.T) {
	p := params(128, false)
	r, x := NewReceiver(p), NewScratch()
	ps := stream(t, NewSender(p), 0, 5*batchLen, 0)
	for at := 0; at < len(ps); at += batchLen {
		for i, op := range openAll(r, x, ps[at:at+batchLen]) {
			if op.Verdict != OK || !bytes.Equal(op.Buf.Bytes(), frame(at+i)) {
				t.Fatalf("packet %d: %v", at+i, op.Verdict)
			}
		}
	}
	if n := uint64(len(ps)); x.KeyChanges != n || x.KeySetups != n {
		t.Errorf("%d key changes and %d key setups for %d packets", x.KeyChanges, x.KeySetups, n)
	}
}

// TestOpenBatchForgedCost: forged packets cost no more together than one by one.
func TestOpenBatchForgedCost(t *testing.T) {
	const n = 1000
	for _, tt := range []struct {
		name            string
		forged          func(i int) packet
		changes, setups uint64
	}{
		{"near", func(i int) packet { return forge(10+i%NearKeys, uint32(10+i%NearKeys), byte(i)) }, NearKeys, n},
		{"almost near", func(i int) packet { return forge(10+NearKeys, 10+NearKeys, byte(i)) }, KeyBudget, KeyBudget},
		{"sequence numbers far away", func(i int) packet { return forge(10, uint32(5000+i), byte(i)) }, KeyBudget, KeyBudget},
		{"late", func(i int) packet { return forge(i%10, uint32(i%10), byte(i)) }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params(128, false)
			r, x := NewReceiver(p), NewScratch()
			ps := stream(t, NewSender(p), 0, 11, 0)
			openAll(r, x, ps[:10])
			x.KeyChanges, x.KeySetups = 0, 0
			var flood []packet
			for i := range n {
				flood = append(flood, tt.forged(i))
			}
			for _, op := range openAll(r, x, flood) {
				if op.Verdict.Passed() {
					t.Fatal("a forged packet passed")
				}
			}
			if x.KeyChanges > tt.changes || x.KeySetups > tt.setups {
				t.Errorf("%d key changes and %d key setups, limits %d and %d", x.KeyChanges, x.KeySetups, tt.changes, tt.setups)
			}
			if v := openAll(r, x, ps[10:])[0].Verdict; v != OK {
				t.Errorf("the peer's next packet: %v", v)
			}
		})
	}
}

// FuzzOpenBatch is TestOpenBatch with what the input chooses; when it ends, nothing more goes wrong.
func FuzzOpenBatch(f *testing.F) {
	corpus.Add(f)
	f.Add(false, []byte{3, 0, 1, 2, 3, 4, 5, 6, 7})
	f.Add(true, []byte{1, 0, 1, 0, 63, 0, 0, 9, 12, 7, 30, 1, 200, 8, 255, 9})
	f.Add(true, bytes.Repeat([]byte{0, 16, 7, 9, 40, 4, 60, 8, 130, 6, 100}, 20))
	f.Fuzz(func(t *testing.T, gullible bool, choices []byte) {
		if len(choices) > 2000 {
			return
		}
		pick := func(n int) int {
			if len(choices) == 0 {
				return n - 1
			}
			c := int(choices[0])
			choices = choices[1:]
			if n > 256 && len(choices) > 0 {
				c = c<<8 | int(choices[0])
				choices = choices[1:]
			}
			return c % n
		}
		w := newOpenWorld(t, 1+pick(5), gullible, pick)
		w.most = 20
		for len(choices) > 0 {
			w.batch()
		}
	})
}
