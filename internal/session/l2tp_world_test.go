package session

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ike/ikev1"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// inTunnels is inHalf with a real L2TP server; only IKE is played by the test.
func inTunnels(t *testing.T, slots int, test func(t *testing.T, w *half)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &half{}
		w.world = newWorldOf(t, true, slots, func(cfg Config) *Manager {
			m := newManager(cfg)
			w.ike = &fakeIKE{m: m, sas: map[ikev1.Peer][]*fakeSA{}}
			m.ike = w.ike
			m.l2tp = l2tp.NewServer(l2tp.Config{MaxHalfOpenPerSource: l2tp.DefaultMaxHalfOpenPerSource}, lns{m})
			return m
		})
		w.furnish()
		alter(w.world, mainListener, func(l *store.Listener) {
			l.Protocols = []tenant.Protocol{tenant.ProtocolL2TPIPsec}
		})
		test(t, w)
	})
}

// l2tpLine is a tunnel with one call.
type l2tpLine struct {
	tunnel *siml2tp.Client
	call   *siml2tp.Call
	cut    chan struct{} // closed by Abort, of which the client itself says nothing
	once   sync.Once
	over   chan struct{}
}

func newL2TPLine(tunnel *siml2tp.Client, call *siml2tp.Call) *l2tpLine {
	l := &l2tpLine{tunnel: tunnel, call: call, cut: make(chan struct{}), over: make(chan struct{})}
	go func() {
		defer close(l.over)
		select {
		case <-call.Done():
		case <-l.cut:
		}
	}()
	return l
}

func (l *l2tpLine) Done() <-chan struct{} { return l.over }

func (l *l2tpLine) Abort() {
	l.tunnel.Abort()
	l.once.Do(func() { close(l.cut) })
}

func (l *l2tpLine) HangUp(ctx context.Context) {
	l.call.Hangup(wirel2tp.Result{Code: wirel2tp.CallResultAdministrative})
	_ = l.tunnel.Stop(ctx) // it may be over already
}

// attachment is a client's network: its IPsec peer, or its address where it sends in clear.
type attachment struct {
	peer *ipsecPeer
	face *udpFace
	from netip.AddrPort
	port uint16 // in the SA
}

// ports hands what the server sends to the client behind each port of a peer.
type ports struct {
	mu sync.Mutex
	to map[uint16]*siml2tp.Client
}

func (p *ports) deliver(port uint16, msg []byte) {
	p.mu.Lock()
	c := p.to[port]
	p.mu.Unlock()
	if c != nil {
		c.Receive(msg)
	}
}

// plug connects a client to the server.
func (w *half) plug(n attachment, cfg siml2tp.Config) *siml2tp.Client {
	w.t.Helper()
	if n.peer == nil {
		local := netip.MustParseAddr(mainAddr)
		c := siml2tp.New(cfg, func(msg []byte) { n.face.PlainL2TP(local, n.from, msg) })
		d := n.face.datagrams().(*fakeDatagrams)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.plain = func(_ netip.Addr, remote netip.AddrPort, msg []byte) {
			if remote == n.from {
				c.Receive(msg)
			}
		}
		return c
	}
	c := siml2tp.New(cfg, func(msg []byte) { n.peer.Control(n.port, msg) })
	f := fake(n.peer).lock()
	defer f.mu.Unlock()
	if f.ports == nil {
		f.ports = &ports{to: map[uint16]*siml2tp.Client{}}
		f.control = f.ports.deliver
	}
	f.ports.mu.Lock()
	defer f.ports.mu.Unlock()
	f.ports.to[n.port] = c
	return c
}

// tryTunnel opens a tunnel with one call, and begins PPP on it.
func (w *half) tryTunnel(n attachment, cfg siml2tp.Config, pppCfg simppp.Config) (*client, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tunnel := w.plug(n, cfg)
	if err := tunnel.Start(ctx); err != nil {
		return nil, err
	}
	call, err := tunnel.Call(ctx, 1)
	if err != nil {
		tunnel.Abort()
		return nil, err
	}
	return w.client(newL2TPLine(tunnel, call), call.PeerID(), pppCfg), nil
}

// enter is tryTunnel up to an open session.
func (w *half) enter(n attachment, cfg siml2tp.Config, pppCfg simppp.Config) *client {
	w.t.Helper()
	c, err := w.tryTunnel(n, cfg, pppCfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.wantOpen(c)
	return c
}

// in is a client's attachment in IPsec, from port 1701.
func in(p *ipsecPeer) attachment { return attachment{peer: p, port: 1701} }
