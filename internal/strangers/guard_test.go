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
	g := NewGuard(10, 3)
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
}

func TestWhoHasLoggedIn(t *testing.T) {
	g := NewGuard(0, 0)
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

// TestAgainIsBounded: who asks for everything twice gets as much by it as who asks once.
func TestAgainIsBounded(t *testing.T) {
	g := NewGuard(10, 3)
	now := time.Unix(1000, 0)
	count := func() (n int) {
		for i := range 100 {
			if g.Again(now, netip.AddrPortFrom(addr(i), 500), []byte("SA")) {
				n++
			}
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d for the first time", n)
	}
	now = now.Add(time.Second)
	if n := count(); n != 3 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(200 * time.Millisecond)
	if n := count(); n != 2 {
		t.Errorf("%d after 200 ms", n)
	}
}

// TestAsk: a leave to begin costs nothing until it is taken, and who asks again has one of his own.
func TestAsk(t *testing.T) {
	g := NewGuard(10, 2)
	now := time.Unix(1000, 0)
	ask := func(i int) Turn { return g.Ask(now, netip.AddrPortFrom(addr(i), 500), []byte("SA")) }
	for i := range 100 {
		if ask(i) != (Turn{g.begin}) {
			t.Fatalf("stranger %d may not begin, though nobody has", i)
		}
	}
	first, second, late := ask(200), ask(201), ask(202)
	if !first.Take(now) || !second.Take(now) || late.Take(now) || (Turn{}).Take(now) {
		t.Error("not two of three took their turn")
	}
	if ask(203) != (Turn{}) {
		t.Error("nobody may begin now, but for who asks again")
	}
	now = now.Add(50 * time.Millisecond) // half a token
	if ask(204) != (Turn{}) {
		t.Error("a part of a turn is one")
	}
	now = now.Add(repeatAfter)
	for range 2 {
		if !ask(1).Take(now) {
			t.Error("who asks again may not begin")
		}
	}
	if got := ask(2); got != (Turn{g.begin}) {
		t.Errorf("where as many as may have asked again: %v", got)
	}
}
