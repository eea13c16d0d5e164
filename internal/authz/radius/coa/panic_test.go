package coa

import (
	"context"
	"net/netip"
	"testing"
)

// TestPanicIsContained: a request that makes us panic gets no answer, and the next one does.
func TestPanicIsContained(t *testing.T) {
	h := aHost()
	h.during = func(context.Context) { panic("bomb") }
	s := start(t, h, nil)
	replies := make(chan []byte, 3)
	reply := func(b []byte) error { replies <- b; return nil }
	s.receive(disconnect(text(acctSessionID, "s-1")).build(), origin{from: netip.MustParseAddrPort(here)}, reply)
	s.wg.Wait()
	h.during = nil
	second := disconnect(text(acctSessionID, "s-1"))
	second.id++
	s.receive(second.build(), origin{from: netip.MustParseAddrPort(here)}, reply)
	s.wg.Wait()
	if len(replies) != 1 || len(h.did()) != 1 {
		t.Errorf("%d replies, done was %q", len(replies), h.did())
	}
}
