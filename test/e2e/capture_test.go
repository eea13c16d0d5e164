package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/dataplane/capture/capturetest"
	"concentrator/internal/session"
	"concentrator/internal/tenant"
)

// capturing is a capture that runs.
type capturing struct {
	ended chan error
	all   session.Captured // once ended

	mu   sync.Mutex
	file bytes.Buffer
}

// capture begins one.
func (w *world) capture(name string, outer bool) *capturing {
	c := &capturing{ended: make(chan error, 1)}
	begun := make(chan struct{}, 1)
	go func() {
		var err error
		c.all, err = w.m.Capture(w.t.Context(), name, session.CaptureSpec{Outer: outer, Duration: time.Minute}, func(piece []byte) error {
			c.mu.Lock()
			c.file.Write(piece)
			c.mu.Unlock()
			select {
			case begun <- struct{}{}:
			default:
			}
			return nil
		})
		c.ended <- err
	}()
	select {
	case <-begun:
	case err := <-c.ended:
		w.t.Fatal(err)
	}
	return c
}

// packets waits for the end.
func (c *capturing) packets(t *testing.T) []capturetest.Packet {
	t.Helper()
	select {
	case err := <-c.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the capture does not end")
	}
	if c.all.Missed != 0 {
		t.Errorf("%d packets were missed", c.all.Missed)
	}
	return capturetest.File(t, c.file.Bytes())
}

// TestCapture: both sides of a session, raw and behind a NAT, until it ends; another session's packets are not among them.
func TestCapture(t *testing.T) {
	const pings = 20
	w := newWorld(t)
	w.user(acme, "ann")
	w.user(acme, "ben")
	w.start()
	ann := w.connected(windows.at("ann", "192.168.1.2", "203.0.113.9"))
	name := w.only().Name
	ben := w.connected(windows.at("ben", "203.0.113.77", ""))
	var bens string
	for _, s := range w.m.Sessions(acme) {
		if s.Name != name {
			bens = s.Name
		}
	}
	captures := map[*client][2]*capturing{
		ann: {w.capture(name, false), w.capture(name, true)},
		ben: {w.capture(bens, false), w.capture(bens, true)},
	}
	w.all([]*client{ann, ben}, "ping", func(ctx context.Context, _ int, c *client) error {
		for range pings {
			if err := c.ping(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range []string{name, bens} {
		if err := w.m.Disconnect(name, tenant.ReasonAdminDisconnect); err != nil {
			t.Fatal(err)
		}
	}
	for c, sides := range captures {
		var requests, replies int
		for _, p := range sides[0].packets(t) {
			switch src, dst := netip.AddrFrom4([4]byte(p.Data[12:])), netip.AddrFrom4([4]byte(p.Data[16:])); {
			case sum16(p.Data[:20]) != 0 || p.Size != len(p.Data) || binary.BigEndian.Uint32(p.Data[28:]) != c.mark:
				t.Errorf("%v: strange packet % x", c.own, p.Data)
			case p.Data[20] == echoRequest && src == c.Address() && dst == inside:
				requests++
			case p.Data[20] == echoReply && src == inside && dst == c.Address():
				replies++
			}
		}
		if requests != pings || replies != pings {
			t.Errorf("%v: %d requests, %d replies inside", c.own, requests, replies)
		}
		outer := c.nat
		protocol := byte(syscall.IPPROTO_UDP)
		if !outer.IsValid() {
			outer, protocol = c.own, syscall.IPPROTO_ESP
		}
		var in, out int
		for _, p := range sides[1].packets(t) {
			src, dst := netip.AddrFrom4([4]byte(p.Data[12:])), netip.AddrFrom4([4]byte(p.Data[16:]))
			switch {
			case sum16(p.Data[:20]) != 0 || p.Data[9] != protocol || p.Size != len(p.Data) || int(binary.BigEndian.Uint16(p.Data[2:])) != p.Size:
				t.Errorf("%v: strange outer packet % x", c.own, p.Data[:28])
			case protocol == syscall.IPPROTO_UDP && (src == outer) != (binary.BigEndian.Uint16(p.Data[22:]) == 4500):
				t.Errorf("%v: ports % x", c.own, p.Data[20:24])
			case src == outer && dst == server:
				in++
			case src == server && dst == outer:
				out++
			default:
				t.Errorf("%v: from %v to %v", c.own, src, dst)
			}
		}
		if in < pings || out < pings { // and the goodbye
			t.Errorf("%v: %d packets came, %d went outside", c.own, in, out)
		}
	}
	ann.check()
	ben.check()
}
