package mppe

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// sealPair is a session whose packets are sealed twice: with others, and one by one.
type sealPair struct {
	together, alone *Sender
}

// same reports whether both senders are in the same state.
func (p *sealPair) same() bool {
	a, b := *p.together, *p.alone
	if a.stream != nil && *a.stream != *b.stream {
		return false
	}
	a.stream, b.stream = nil, nil
	return a == b
}

// TestSealBatch compares batches of several sessions, of all modes and lengths, with the same packets sealed one by one.
func TestSealBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20 {
		pairs := make([]sealPair, 1+r.IntN(20))
		for i := range pairs {
			p := params([]int{128, 56, 40}[r.IntN(3)], r.IntN(4) == 0)
			p.StartKey[0] = byte(r.Uint32())
			pairs[i] = sealPair{NewSender(p), NewSender(p)}
		}
		x, y := NewScratch(), NewScratch()
		for range 10 {
			sealRound(t, r, pairs, x, y)
		}
		if x.KeyChanges != y.KeyChanges {
			t.Fatalf("%d key changes, one by one %d", x.KeyChanges, y.KeyChanges)
		}
	}
}

// sealRound seals a batch.
func sealRound(t *testing.T, r *rand.Rand, pairs []sealPair, x, y *Scratch) {
	t.Helper()
	ops := make([]SealOp, r.IntN(50))
	want, oks := make([]pktbuf.Buf, len(ops)), make([]bool, len(ops))
	lengths := []int{0, 1, 20, 500, 1400, 1400, 1402, 1 + r.IntN(pktbuf.MaxRead)}
	for i := range ops {
		p := &pairs[r.IntN(len(pairs))]
		plain := make([]byte, lengths[r.IntN(len(lengths))])
		for j := range plain {
			plain[j] = byte(r.Uint32())
		}
		b := &pktbuf.Buf{}
		b.SetBytes(plain)
		if r.IntN(10) == 0 {
			b.Prepend(pktbuf.Headroom - r.IntN(2*headerLen)) // too little headroom, or just enough
		}
		want[i].CopyFrom(b)
		oks[i] = p.alone.Seal(&want[i], y)
		ops[i] = SealOp{Sender: p.together, Buf: b, OK: !oks[i]}
	}
	SealBatch(ops, x)
	for i := range ops {
		if ops[i].OK != oks[i] || !bytes.Equal(ops[i].Buf.Bytes(), want[i].Bytes()) {
			t.Fatalf("packet %d of %d: %t %.80x, want %t %.80x", i, len(ops), ops[i].OK, ops[i].Buf.Bytes(), oks[i], want[i].Bytes())
		}
	}
	for i := range pairs {
		if !pairs[i].same() {
			t.Fatalf("sender %d is in another state", i)
		}
		if r.IntN(50) == 0 {
			pairs[i].together.Reset()
			pairs[i].alone.Reset()
		}
	}
}
