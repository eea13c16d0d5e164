package dataplane

import (
	"bytes"
	"errors"
	"testing"

	"concentrator/internal/wire/ppp"
)

// TestMergeOfClosed: a peer that can't be merged, because one of the two is gone, stays what it was: its SAs work, and go
// with it.
func TestMergeOfClosed(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	free := l.d.spis[0].n
	old := l.ipsec(g, o, gcm, true, 0)
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	old.peer.Close()
	if err := e.peer.Merge(old.peer); !errors.Is(err, ErrClosed) {
		t.Fatalf("merged into a peer that is gone: %v", err)
	}
	if err := old.peer.Merge(e.peer); !errors.Is(err, ErrClosed) {
		t.Fatalf("a peer that is gone was merged: %v", err)
	}
	p := echo("10.50.0.7", "192.0.2.9", 1, 40, true)
	e.up(e.message(e.data(ppp.ProtocolIPv4, p)))
	if got := e.inside(); !bytes.Equal(got, p) {
		t.Errorf("% x came through", got)
	}
	e.call.Close()
	e.peer.Close()
	if l.d.spis[0].n != free {
		t.Errorf("%d SPIs are free, %d were", l.d.spis[0].n, free)
	}
}
