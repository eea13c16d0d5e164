package ipsec

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
)

// Stack is the IKE engine of any number of clients. It is safe for concurrent use.
type Stack struct {
	engine *ikev1.Engine

	mu      sync.Mutex
	clients map[string]*Client // by the listener's name in their paths
	last    int
}

// NewStack starts an engine, whose workers are the Stack's goroutines. log gets the steps of IKE at level Debug; nil:
// nothing.
func NewStack(log *slog.Logger) *Stack {
	s := &Stack{clients: map[string]*Client{}}
	// The one source of all first messages that come, of rekeys, is the server.
	s.engine = ikev1.New(ikev1.Config{
		Log: log, HalfOpenPerSource: -1, MainModesPerSecond: 1_000_000, MainModeBurst: 1_000_000, MaxPeers: 100_000,
	}, host{s})
	return s
}

// Close ends the SAs of all clients that are left, with Delete messages, and stops the engine; at most until ctx ends.
func (s *Stack) Close(ctx context.Context) error {
	if err := s.engine.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop IKE: %w", err)
	}
	return nil
}

// Stats are the engine's.
func (s *Stack) Stats() ikev1.Stats { return s.engine.Stats() }

// New makes a client that has done nothing yet. Receive may be called from now on.
func (s *Stack) New(cfg Config) *Client {
	if cfg.Gate == nil {
		cfg.Gate = &traffic.Gate{}
	}
	c := &Client{
		stack: s, cfg: cfg, changed: make(chan struct{}), done: make(chan struct{}),
		policy: &ikev1.Policy{Tenants: []*ikev1.TenantPolicy{{
			Name: "tenants/client", PSKs: []ikev1.PSK{{ID: "main", Secret: cfg.PSK}}, Legacy: true,
		}}},
	}
	c.sas.gate = cfg.Gate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	c.name = fmt.Sprintf("clients/%d", s.last)
	s.clients[c.name] = c
	return c
}

func (s *Stack) client(name string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[name]
}

func (s *Stack) forget(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c.name)
}

// host is the Stack as the engine sees it.
type host struct{ s *Stack }

// Send implements ikev1.Host.
func (h host) Send(p ikev1.Path, msg []byte) {
	if c := h.s.client(p.Listener); c != nil {
		c.sendIKE(p, msg)
	}
}

// Policy implements ikev1.Host, for Main Modes that the server begins.
func (h host) Policy(name string) *ikev1.Policy {
	if c := h.s.client(name); c != nil {
		return c.policy
	}
	return nil
}

// Established implements ikev1.Host.
func (h host) Established(sa ikev1.SA) (ikev1.Peer, error) {
	c := h.s.client(sa.Path.Listener)
	if c == nil {
		return nil, &ikev1.RefusedError{Reason: tenant.ReasonShutdown, Detail: ErrClosed.Error()}
	}
	return c.established(sa), nil
}

// Refused implements ikev1.Host.
func (h host) Refused(r ikev1.Refusal) {
	if c := h.s.client(r.Path.Listener); c != nil {
		c.update(func() { c.refused = &RefusedError{r} })
	}
}

// peer is a Client's SAs as the engine sees them, from the first to the last. Each new beginning has another.
type peer struct{ c *Client }

// NewSPI implements ikev1.Peer, as the methods below do.
func (p *peer) NewSPI() (uint32, error) { return p.c.sas.newSPI(), nil }

func (*peer) FreeSPI(uint32) {}

func (p *peer) AddInbound(c *ikev1.Child) error {
	if f := p.c.cfg.KeyLog; f != nil {
		f("ESP from the server", c.InboundKey)
		f("ESP from the server, integrity", c.InboundAuthKey)
		f("ESP to the server", c.OutboundKey)
		f("ESP to the server, integrity", c.OutboundAuthKey)
	}
	return p.c.sas.add(c, p.c.cfg.ShortICV)
}

func (p *peer) UseOutbound(c *ikev1.Child) {
	p.c.sas.use(c)
	p.c.update(func() { p.c.spi = c.InboundSPI })
}

func (p *peer) Remove(c *ikev1.Child) { p.c.sas.remove(c) }

func (p *peer) Move(path ikev1.Path) {
	p.c.update(func() { p.c.path = path })
}

func (p *peer) Idle() time.Duration { return p.c.sas.idle() }

func (*peer) SADown(ikev1.SAID, tenant.Reason, string) {}

func (p *peer) Empty(tenant.Reason, string) {
	p.c.update(func() {
		if p.c.peer == p {
			p.c.peer, p.c.spi = nil, 0
		}
	})
}
