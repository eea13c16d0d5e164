package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/ike/ikev1"
	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wireppp "concentrator/internal/wire/ppp"
)

// Client is one client with one connection. Its methods are safe for concurrent use.
type Client struct {
	stack  *Stack
	cfg    Config
	name   string
	policy *ikev1.Policy
	sas    sas
	link   link
	dead   atomic.Bool
	lost   atomic.Uint64
	once   sync.Once
	done   chan struct{}

	// Locks are taken in this order: sas.in, link.mu or the tunnel's own, the Gate, mu.
	mu      sync.Mutex // guards what follows
	changed chan struct{}
	path    ikev1.Path
	peer    *peer  // nil: there is no SA
	spi     uint32 // inbound one of the pair that is used; 0: none
	born    int    // ISAKMP SAs that were established
	refused error
	tunnel  *siml2tp.Client
	call    *siml2tp.Call // in the tunnel

	callGone time.Time // when Err saw that call is over; zero: not yet
}

// Connect logs in: both phases of IKE, the tunnel, the call, PPP. It returns when IP can be sent. An error is a
// *RefusedError, one of package l2tp or ppp of the simulated clients, or that of ctx, wrapped; the client is dead then.
func (c *Client) Connect(ctx context.Context) error {
	err := c.connect(ctx)
	if err != nil {
		c.Die()
	}
	return err
}

func (c *Client) connect(ctx context.Context) error {
	if err := c.negotiate(ctx, true); err != nil {
		return fmt.Errorf("IKE: %w", err)
	}
	t := siml2tp.New(c.cfg.L2TP, c.sendControl)
	c.update(func() { c.tunnel = t })
	if err := t.Start(ctx); err != nil {
		return err
	}
	call, err := t.Call(ctx, sessionID)
	if err != nil {
		return err
	}
	c.update(func() { c.call = call })
	c.startPPP(t, call)
	err = c.wait(ctx, func() (bool, error) {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		if c.link.over {
			return false, fmt.Errorf("PPP: %w", errors.Join(ErrDown, c.link.err))
		}
		return c.link.open, nil
	}, call.Done())
	if err != nil && call.Err() != nil {
		return fmt.Errorf("PPP: %w", errors.Join(call.Err(), err))
	}
	return err
}

// negotiate sets up an ISAKMP SA from port 500 and, if it wants one, a pair of ESP SAs.
func (c *Client) negotiate(ctx context.Context, child bool) error {
	return c.initiate(ctx, simike.Path(c.name, c.cfg.Own, c.cfg.Server), child, true)
}

func (c *Client) initiate(ctx context.Context, path ikev1.Path, child, first bool) error {
	i := c.cfg.IKE.Initiator(path, c.cfg.PSK)
	i.KeyLog = c.cfg.KeyLog
	if !child {
		i.Children = nil
	}
	i.InitialContact = i.InitialContact && first && !c.alive()
	c.mu.Lock()
	born, spi := c.born, c.spi
	c.refused = nil
	c.mu.Unlock()
	if c.dead.Load() {
		return ErrClosed
	}
	if err := c.stack.engine.Initiate(i); err != nil {
		return err
	}
	return c.wait(ctx, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.born > born && (!child || c.spi != spi && c.spi != 0), c.refused
	}, nil)
}

// alive says whether there is any SA.
func (c *Client) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer != nil
}

// established is Host.Established for this client.
func (c *Client) established(sa ikev1.SA) *peer {
	var p *peer
	c.update(func() {
		if c.peer == nil {
			c.peer = &peer{c}
		}
		p = c.peer
		c.path = sa.Path
		c.born++
	})
	return p
}

// update changes what mu guards and wakes those who wait.
func (c *Client) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f != nil {
		f()
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until a condition holds that update may change, or over is closed.
func (c *Client) wait(ctx context.Context, cond func() (bool, error), over <-chan struct{}) error {
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-over:
			return ErrDown
		case <-c.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// RekeyIKE makes a new ISAKMP SA from where the client is, as macOS does every 48 minutes. ESP goes on.
func (c *Client) RekeyIKE(ctx context.Context) error {
	c.mu.Lock()
	path := c.path
	c.mu.Unlock()
	if !c.alive() {
		return ErrNoSA
	}
	if err := c.initiate(ctx, path, false, false); err != nil {
		return fmt.Errorf("rekey IKE: %w", err)
	}
	return nil
}

// RekeyESP makes a new pair of ESP SAs in the newest ISAKMP SA.
func (c *Client) RekeyESP(ctx context.Context) error {
	c.mu.Lock()
	p, spi := c.peer, c.spi
	c.refused = nil
	c.mu.Unlock()
	if p == nil || spi == 0 {
		return ErrNoSA
	}
	c.stack.engine.Limit(p, spi, false)
	if err := c.wait(ctx, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.spi != spi, c.refused
	}, nil); err != nil {
		return fmt.Errorf("rekey ESP: %w", err)
	}
	return nil
}

// Renew makes new SAs of both kinds, from port 500, for the tunnel that there is, as a client does whose network has
// changed.
func (c *Client) Renew(ctx context.Context) error {
	if err := c.initiate(ctx, simike.Path(c.name, c.cfg.Own, c.cfg.Server), true, false); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	return nil
}

// SAs is how many pairs of ESP SAs there are.
func (c *Client) SAs() int { return c.sas.count() }

// Lost counts packets of the server that an SA or the tunnel's sequence numbers did not let through.
func (c *Client) Lost() uint64 { return c.lost.Load() }

// Sequenced says whether data messages have sequence numbers.
func (c *Client) Sequenced() bool {
	c.sas.gate.Lock()
	defer c.sas.gate.Unlock()
	return c.link.outbound != nil
}

// Network is what PPP agreed on.
func (c *Client) Network() simppp.Network {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.link.network
}

// Address is the inner address; invalid before Connect.
func (c *Client) Address() netip.Addr { return c.Network().Address }

// Open says whether the link carries IP.
func (c *Client) Open() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.link.open
}

// Send sends an inner packet. It keeps nothing of it.
func (c *Client) Send(packet []byte) error {
	c.link.mu.Lock()
	tunnel, session, n, open := c.link.tunnel, c.link.session, c.link.network, c.link.open
	c.link.mu.Unlock()
	if !open {
		return ErrDown
	}
	return c.sendFrame(tunnel, session, wireppp.ProtocolIPv4, n.PFC, n.ACFC, packet)
}

// Receive takes a datagram of the server: a UDP payload to and from PortIKE or PortNATT, or an ESP packet. It takes b
// over.
func (c *Client) Receive(port uint16, b []byte) {
	if c.dead.Load() {
		return
	}
	switch port {
	case PortIKE:
		c.receiveIKE(port, b)
	case PortNATT:
		switch esphdr.Classify(b) {
		case esphdr.KindIKE:
			c.receiveIKE(port, b[esphdr.MarkerLen:])
		case esphdr.KindESP:
			c.open(b)
		case esphdr.KindKeepalive, esphdr.KindMalformed:
		}
	case ESP:
		c.open(b)
	}
}

func (c *Client) receiveIKE(port uint16, msg []byte) {
	c.stack.engine.Receive(ikev1.Path{
		Listener: c.name, Local: netip.AddrPortFrom(c.cfg.Own, port), Remote: netip.AddrPortFrom(c.cfg.Server, port),
	}, msg)
}

// sendIKE is Host.Send for this client.
func (c *Client) sendIKE(p ikev1.Path, msg []byte) {
	if p.Local.Port() == PortNATT {
		msg = append(make([]byte, esphdr.MarkerLen, esphdr.MarkerLen+len(msg)), msg...)
	}
	c.send(p.Local.Port(), msg)
}

// send sends a datagram unless the client is dead.
func (c *Client) send(port uint16, b []byte) {
	if !c.dead.Load() {
		c.cfg.Send(port, b)
	}
}

// sendControl sends an L2TP control message. What can't be sent is lost, and will be repeated.
func (c *Client) sendControl(msg []byte) {
	_ = c.seal(func(b *pktbuf.Buf) bool { return b.SetBytes(msg) })
}

func (c *Client) l2tpClient() *siml2tp.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tunnel
}

// used tells the engine that a pair of SAs is in use.
func (c *Client) used(spi uint32) {
	c.mu.Lock()
	p := c.peer
	c.mu.Unlock()
	if p != nil {
		c.stack.engine.Used(p, spi)
	}
}

// HangUp ends the connection in good order: PPP, the tunnel, ESP, ISAKMP. It returns when nothing is left, at the latest
// when ctx ends; the client is dead then.
func (c *Client) HangUp(ctx context.Context) error {
	defer c.Die()
	c.onPPP(func(now time.Time) {
		if c.link.m != nil {
			c.link.m.Terminate(now, "User request")
		}
	})
	t := c.l2tpClient()
	var gone <-chan struct{}
	if t != nil {
		gone = t.Done()
	}
	err := c.wait(ctx, func() (bool, error) {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		return c.link.over || c.link.m == nil, nil
	}, gone)
	if err != nil && !errors.Is(err, ErrDown) {
		return fmt.Errorf("hang up: PPP: %w", err)
	}
	var stopped error          // the SAs go all the same
	if t != nil && c.alive() { // without SAs nothing can be said
		var r *siml2tp.ResultError
		if err := t.Stop(ctx); err != nil && !errors.As(err, &r) {
			stopped = fmt.Errorf("hang up: %w", err)
		}
	}
	c.mu.Lock()
	p := c.peer
	c.mu.Unlock()
	if p == nil {
		return stopped
	}
	c.drop(p)
	if err := c.wait(ctx, func() (bool, error) { return !c.alive(), nil }, nil); err != nil {
		return errors.Join(stopped, fmt.Errorf("hang up: SAs: %w", err))
	}
	return stopped
}

// drop ends all SAs.
func (c *Client) drop(p *peer) { c.stack.engine.Drop(p, tenant.ReasonUserRequest) }

// Die ends the client without a word: nothing is sent and nothing heard any more.
func (c *Client) Die() {
	c.dead.Store(true)
	c.once.Do(func() { close(c.done) })
	if t := c.l2tpClient(); t != nil {
		t.Abort()
	}
	c.stopPPP(ErrClosed)
	c.mu.Lock()
	p := c.peer
	c.mu.Unlock()
	if p != nil {
		c.drop(p)
	}
	c.stack.forget(c)
}
