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
