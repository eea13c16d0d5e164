package strangers

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func addr(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
	return netip.AddrFrom4(a)
}

func TestMay(t *testing.T) {
	g := Guard{PerSecond: 10, Burst: 3}
	now := time.Unix(1000, 0)
	count := func(tries int) (n int) {
		for range tries {
			if g.May(now) {
				n++
			}
		}
		return n
	}
	if n := count(100); n != 3 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(200 * time.Millisecond)
	if n := count(100); n != 2 {
		t.Errorf("%d after 200 ms", n)
	}
	now = now.Add(time.Hour)
	if n := count(100); n != 3 {
		t.Errorf("%d after an hour", n)
	}
	if (&Guard{}).May(now) {
		t.Error("the zero Guard lets strangers in")
	}
}

func TestWhoHasLoggedIn(t *testing.T) {
	var g Guard
	for range 2 {
		for i := range maxKnown {
			g.Know(addr(i))
		}
	}
	if !g.Knows(addr(0)) || g.Knows(addr(maxKnown)) {
		t.Error("who logged in is not known, or somebody else is")
	}
	g.Know(addr(maxKnown))
	if g.Knows(addr(0)) || !g.Knows(addr(1)) || !g.Knows(addr(maxKnown)) || len(g.known) != maxKnown {
		t.Errorf("not the oldest made room; %d are known", len(g.known))
	}
}

func TestAgain(t *testing.T) {
	var g Guard
	now := time.Unix(1000, 0)
	from := netip.AddrPortFrom(addr(1), 1701)
	request := []byte("SCCRQ")
	for _, step := range []struct {
		name  string
		after time.Duration
		from  netip.AddrPort
		body  string
		want  bool
	}{
		{"first", 0, from, "SCCRQ", false},
		{"a copy at once", repeatAfter - time.Millisecond, from, "SCCRQ", false},
		{"again", time.Millisecond, from, "SCCRQ", true},
		{"another port", 0, netip.AddrPortFrom(addr(1), 1702), "SCCRQ", false},
		{"another address", 0, netip.AddrPortFrom(addr(2), 1701), "SCCRQ", false},
		{"another request", 0, from, "SCCRP", false},
		{"too late", repeatUntil, from, "SCCRQ", false},
		{"and again", time.Second, from, "SCCRQ", true},
	} {
		now = now.Add(step.after)
		if got := g.Again(now, step.from, []byte(step.body)); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	// A flood of strangers pushes out some, not all.
	const flood, clients = 20_000, 100
	again := 0
	for i := range clients {
		g.Again(now, netip.AddrPortFrom(addr(i+1), 500), request)
	}
	for i := range flood {
		g.Again(now, netip.AddrPortFrom(addr(i+1000), 500), request)
	}
	now = now.Add(time.Second)
	for i := range clients {
		if g.Again(now, netip.AddrPortFrom(addr(i+1), 500), request) {
			again++
		}
	}
	if again < clients/2 {
		t.Errorf("%d of %d clients are remembered", again, clients)
	}
	if n := testing.AllocsPerRun(100, func() { g.Again(now, from, request) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
