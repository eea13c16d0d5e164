package dataplane

import (
	"slices"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/pktbuf"
)

// Side is where packets of a session are captured.
type Side uint8

// The sides of a session.
const (
	// Inner are the client's IP packets as the tenant's network sees them: what is dropped on its way in is not there, and
	// what is too long for the session is still in one piece.
	Inner Side = iota
	// Outer is what goes over the line between the client and us: PPTP's GRE; L2TP in clear; all ESP of the client's SAs,
	// whatever is in it. What logs the client in is zeros. IKE, NAT-keepalives and PPTP's TCP are not there: they belong to no session.
	Outer
)

// Tap gives t a copy of each packet of the call, at a side. Untap and Close end it, and so does t itself by its limits. It
// has begun when this returns; ErrStopped if it never will.
func (c *Call) Tap(side Side, t *capture.Tap) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		t.End()
		return nil
	}
	var control *controlTap
	err := c.do(func(*shard) {
		c.call.tap(side, t)
		if l := c.call.l2tp; side == Outer && l != nil && l.peer.plain {
			x := newControlTap(c.call, t)
			control = &x
		}
	})
	if err != nil || control == nil {
		return err
	}
	return c.d.onAll(func(s *shard) { s.controlTaps = append(s.controlTaps, *control) })
}

// Untap undoes Tap: t has ended when this returns.
func (c *Call) Untap(t *capture.Tap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.End()
	if !c.closed {
		_ = c.do(func(s *shard) { c.call.untap(s, t) }) // after Stop nothing comes anyway
	}
}

// tap begins to copy. In an L2TP session the outer side is its peer's: whose session it is an ESP packet does not show
// before it is decrypted, in place.
func (c *call) tap(side Side, t *capture.Tap) {
	if side == Inner {
		c.inner = append(c.inner, t)
		return
	}
	c.outer = append(c.outer, t)
	if c.l2tp != nil {
		c.l2tp.peer.outer = append(c.l2tp.peer.outer, t)
	}
}

func (c *call) untap(s *shard, t *capture.Tap) {
	c.inner, c.outer = c.inner.Without(t), c.outer.Without(t)
	if c.l2tp == nil {
		return
	}
	c.l2tp.peer.outer = c.l2tp.peer.outer.Without(t)
	if c.l2tp.peer.plain {
		for _, other := range s.peers {
			other.inbox.push(func(s *shard) { s.untapControl(t) })
		}
	}
}

// endTaps is for a call that is removed.
func (c *call) endTaps(s *shard) {
	for _, t := range slices.Concat(c.inner, c.outer) {
		t.End()
		c.untap(s, t)
	}
}

// tapGRE copies a GRE packet that goes out.
func (c *call) tapGRE(b *pktbuf.Buf) {
	c.outer.PutBehind(&capture.Headers{
		From: c.local, To: c.remote, TOS: b.TOS, Protocol: unix.IPPROTO_GRE,
	}, b.Bytes())
}

// tapIn copies what came from a peer: with the outer header that came with it or, of a datagram, a new one.
func (p *peer) tapIn(f *face, outer []byte, from [4]byte, port uint16, b *pktbuf.Buf) {
	if outer != nil {
		p.outer.Put(outer)
		return
	}
	payload := b.Bytes()
	if p.plain {
		payload = maskL2TP(payload)
	}
	p.outer.PutBehind(&capture.Headers{
		From: from, To: p.local, FromPort: port, ToPort: f.port(), TOS: b.TOS, Protocol: unix.IPPROTO_UDP,
	}, payload)
}

// tapOut copies what goes to a peer by UDP or, if f is of raw ESP, in IP.
func (p *peer) tapOut(f *face, b *pktbuf.Buf) {
	h := capture.Headers{From: p.local, To: p.remote, TOS: b.TOS, Protocol: unix.IPPROTO_ESP}
	if f.udp != nil {
		h.Protocol, h.FromPort, h.ToPort = unix.IPPROTO_UDP, f.port(), p.port
	}
	p.outer.PutBehind(&h, b.Bytes())
}

// port is our UDP port; 0 of a raw socket.
func (f *face) port() uint16 {
	switch f.kind {
	case faceIKE:
		return portIKE
	case faceNATT:
		return portNATT
	case faceL2TP:
		return portL2TP
	default:
		return 0
	}
}
