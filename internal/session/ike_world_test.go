package session

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ike/ikev1"
	simike "concentrator/internal/simclient/ike"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// inFull runs a test in a bubble with everything real but the dataplane: IKE and L2TP on both sides.
func inFull(t *testing.T, test func(t *testing.T, w *half)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &half{world: newWorld(t, true, 100)}
		w.furnish()
		alter(w.world, acme, func(r *store.Tenant) {
			r.IPsec = store.IPsec{PSKs: []store.PSK{{Secret: tenant.Secret("acme-key")}}, LegacyClients: true}
		})
		alter(w.world, mainListener, func(l *store.Listener) {
			l.Protocols = []tenant.Protocol{tenant.ProtocolL2TPIPsec}
		})
		test(t, w)
	})
}

// nat is the gateway of a network: which of its own ports stands for which inner one.
type nat struct {
	outer netip.Addr
	mu    sync.Mutex
	ports map[netip.AddrPort]uint16
	back  map[uint16]netip.AddrPort
	next  uint16
}

func newNAT(outer string) *nat {
	return &nat{outer: netip.MustParseAddr(outer), ports: map[netip.AddrPort]uint16{}, back: map[uint16]netip.AddrPort{}, next: 20000}
}

func (n *nat) out(from netip.AddrPort) netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports[from] == 0 {
		n.next++
		n.ports[from] = n.next
		n.back[n.next] = from
	}
	return netip.AddrPortFrom(n.outer, n.ports[from])
}

func (n *nat) in(to netip.AddrPort) netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.back[to.Port()]
}

// ikeClient is a client's engine and the SAs that it has made.
type ikeClient struct {
	w      *half
	engine *ikev1.Engine
	addr   netip.Addr
	nat    *nat // nil: none

	mu       sync.Mutex
	spi      uint32
	children []*ikev1.Child
	refused  []ikev1.Refusal
	dead     bool // it neither sends nor hears anything
}

// ikeWire carries IKE between a listener and clients.
type ikeWire struct {
	mu      sync.Mutex
	clients []*ikeClient
}

func (n *ikeWire) deliver(local, remote netip.AddrPort, msg []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.clients {
		to := remote
		if c.nat != nil {
			if remote.Addr() != c.nat.outer {
				continue
			}
			to = c.nat.in(remote)
		}
		if to.Addr() == c.addr && !c.isDead() {
			c.engine.Receive(ikev1.Path{Local: to, Remote: local}, msg)
		}
	}
}

// ikeClient makes a client at an address of its own, perhaps behind a NAT. It dies with the test.
func (w *half) ikeClient(addr string, n *nat) *ikeClient {
	w.t.Helper()
	c := &ikeClient{w: w, addr: netip.MustParseAddr(addr), nat: n, spi: 0x9000}
	c.engine = ikev1.New(ikev1.Config{Workers: 4}, c)
	d := w.plane.datagramsAt(mainAddr)
	d.mu.Lock()
	if w.wire == nil {
		w.wire = &ikeWire{}
		d.ike = w.wire.deliver
	}
	d.mu.Unlock()
	w.wire.mu.Lock()
	w.wire.clients = append(w.wire.clients, c)
	w.wire.mu.Unlock()
	w.t.Cleanup(c.kill)
	return c
}

func (c *ikeClient) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// kill ends the client without a word.
func (c *ikeClient) kill() {
	c.mu.Lock()
	c.dead = true
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.engine.Shutdown(ctx) // its peers don't go in no time
}

// connect makes ISAKMP and ESP SAs as a client does, and returns the server's peer.
func (c *ikeClient) connect(as simike.Client, psk string) (*ipsecPeer, error) {
	c.w.t.Helper()
	before := len(c.list())
	path := simike.Path(mainListener, c.addr, netip.MustParseAddr(mainAddr))
	if err := c.engine.Initiate(as.Initiator(path, tenant.Secret(psk))); err != nil {
		c.w.t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for len(c.list()) == before {
		if time.Now().After(deadline) {
			return nil, errors.New("no child within a minute")
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.w.until("the server has it too", func() bool { return c.peer() != nil && fake(c.peer()).pair != 0 })
	return c.peer(), nil
}

// peer is the server's peer that the client has its newest SA with.
func (c *ikeClient) peer() *ipsecPeer {
	list := c.list()
	if len(list) == 0 {
		return nil
	}
	newest := list[len(list)-1]
	for _, p := range c.w.m.peers.at(func(*ipsecPeer) bool { return true }) {
		p.sas.Lock()
		for _, o := range p.children {
			if o.InboundSPI == newest.OutboundSPI {
				p.sas.Unlock()
				return p
			}
		}
		p.sas.Unlock()
	}
	return nil
}

func (c *ikeClient) list() []*ikev1.Child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*ikev1.Child(nil), c.children...)
}

// drop deletes all SAs of the client, as one does that hangs up.
func (c *ikeClient) drop() { c.engine.Drop((*clientPeer)(c), tenant.ReasonUserRequest) }

// Send implements ikev1.Host.
func (c *ikeClient) Send(p ikev1.Path, msg []byte) {
	if c.isDead() {
		return
	}
	from := p.Local
	if c.nat != nil {
		from = c.nat.out(from)
	}
	if f := c.w.m.face(mainListener); f != nil {
		f.IKE(p.Remote, from, msg)
	}
}

// Policy implements ikev1.Host: nobody calls a client.
func (*ikeClient) Policy(string) *ikev1.Policy { return nil }

// Established implements ikev1.Host. A client has one peer, the server.
func (c *ikeClient) Established(ikev1.SA) (ikev1.Peer, error) { return (*clientPeer)(c), nil }

// Refused implements ikev1.Host.
func (c *ikeClient) Refused(r ikev1.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, r)
}

// clientPeer is the server as a client's engine sees it.
type clientPeer ikeClient

func (p *clientPeer) NewSPI() (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spi++
	return p.spi, nil
}

func (p *clientPeer) FreeSPI(uint32) {}

func (p *clientPeer) AddInbound(*ikev1.Child) error { return nil }

func (p *clientPeer) UseOutbound(c *ikev1.Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.children = append(p.children, c)
}

func (p *clientPeer) Remove(c *ikev1.Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.children {
		if o == c {
			p.children = append(p.children[:i], p.children[i+1:]...)
			return
		}
	}
}

func (*clientPeer) Move(ikev1.Path)                          {}
func (*clientPeer) Idle() time.Duration                      { return 0 }
func (*clientPeer) SADown(ikev1.SAID, tenant.Reason, string) {}
func (*clientPeer) Empty(tenant.Reason, string)              {}

// traffic is what both ends see of packets in ESP for a while: every SA is used, and no one is silent.
func (c *ikeClient) traffic(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		for _, child := range c.list() {
			c.engine.Used((*clientPeer)(c), child.InboundSPI)
			if p := c.peer(); p != nil {
				p.SAUsed(child.OutboundSPI)
				fake(p).heard()
			}
		}
	}
}
