package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestOverlapping: what the lookup by length finds is what a comparison with every prefix finds.
func TestOverlapping(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	nets := []*Network{{}, {}, {}}
	some := func() netip.Prefix {
		bits := 32
		if r.IntN(3) == 0 {
			bits = 24 + r.IntN(9)
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 50, byte(r.IntN(2)), byte(r.IntN(256))}), bits).Masked()
	}
	sp := &space{taken: map[netip.Prefix]taken{}}
	overlaps := 0
	for range 5000 {
		p, n := some(), nets[r.IntN(len(nets))]
		want := false
		for q, k := range sp.taken {
			want = want || k.net != n && q.Overlaps(p)
		}
		q, got := sp.overlapping(n, p)
		if got != want {
			t.Fatalf("%v with %d taken: found %v, want %v", p, len(sp.taken), got, want)
		}
		if got {
			overlaps++
			if sp.taken[q].net == n || !q.Overlaps(p) {
				t.Fatalf("%v does not overlap %v, or is the same network's", q, p)
			}
			if r.IntN(2) == 0 {
				sp.giveBack(q)
			}
			continue
		}
		sp.take(p, taken{net: n})
		if r.IntN(4) == 0 {
			sp.giveBack(some()) // which may not be taken
		}
	}
	if overlaps < 100 || len(sp.taken) == 0 {
		t.Errorf("only %d overlaps, %d taken at the end", overlaps, len(sp.taken))
	}
	for p := range sp.taken {
		sp.giveBack(p)
	}
	if sp.lengths != [33]int{} {
		t.Errorf("nothing is taken, but the lengths are %v", sp.lengths)
	}
}
