package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
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

// TestNamespaceComesAndGoes: networks of one namespace open and close at once. It is there as long as one of them is, and
// gone with the last.
func TestNamespaceComesAndGoes(t *testing.T) {
	l := newLab(t, 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 30 {
				spec := NetworkSpec{Tenant: "acme", Namespace: "acme", Device: fmt.Sprint("vpn", i)}
				n, err := l.d.OpenNetwork(spec)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(i) * 20 * time.Microsecond) // others come and go
				l.o.mu.Lock()
				there := l.o.made["acme"]
				l.o.mu.Unlock()
				if !there {
					t.Error("the namespace was removed under an open network")
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if l.o.made["acme"] {
		t.Error("the namespace stayed")
	}
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if len(l.d.spaces) != 0 {
		t.Errorf("%d namespaces are remembered", len(l.d.spaces))
	}
}

// TestNamespaceWantedAgain: a network comes while the last one's namespace is being removed. It waits, and is known for the
// next that comes.
func TestNamespaceWantedAgain(t *testing.T) {
	l := newLab(t, 1)
	first, _ := l.network(acme)
	opened := make(chan *Network, 1)
	l.o.remove = func() {
		l.o.remove = nil
		go func() {
			n, err := l.d.OpenNetwork(acme)
			if err != nil {
				t.Error(err)
			}
			opened <- n
		}()
		for waits := false; !waits; {
			l.d.mu.Lock()
			waits = first.space.refs == 1
			l.d.mu.Unlock()
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := <-opened
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if second == nil || second.space != l.d.spaces["acme"] || !l.o.made["acme"] {
		t.Error("the namespace of an open network is forgotten or removed")
	}
}
