package session

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ike/ikev1"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// half is a world whose IKE and L2TP are played by the test: what the engine and the server would tell the Manager, the
// test tells it, and what the Manager asks of them is written down and done at once.
type half struct {
	*world
	ike  *fakeIKE
	wire *ikeWire
	l2tp *fakeL2TP
}

// inHalf runs a test in a bubble with a half world: the tenant acme with the key of its own, alice, and a listener for
// L2TP in IPsec.
func inHalf(t *testing.T, test func(t *testing.T, w *half)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &half{}
		w.world = newWorldOf(t, true, 100, func(cfg Config) *Manager {
			m := newManager(cfg)
			w.ike = &fakeIKE{m: m, sas: map[ikev1.Peer][]*fakeSA{}}
			w.l2tp = &fakeL2TP{m: m, tunnels: map[uint16]*fakeTunnel{}}
			m.ike, m.l2tp = w.ike, w.l2tp
			return m
		})
		w.furnish()
		alter(w.world, acme, func(r *store.Tenant) {
			r.IPsec.PSKs = []store.PSK{{Secret: tenant.Secret("acme-key")}}
		})
		alter(w.world, mainListener, func(l *store.Listener) {
			l.Protocols = []tenant.Protocol{tenant.ProtocolL2TPIPsec}
		})
		test(t, w)
	})
}

// fakeIKE is an engine that negotiates nothing.
type fakeIKE struct {
	m *Manager

	mu      sync.Mutex
	sas     map[ikev1.Peer][]*fakeSA
	dropped []tenant.Reason
	used    []uint32
	limits  []uint32
	moved   []netip.AddrPort
	merges  int
	late    bool // Shutdown had no time any more
	n       byte
}

// fakeSA is an ISAKMP SA with its children.
type fakeSA struct {
	id       ikev1.SAID
	children []*ikev1.Child
}

func (*fakeIKE) Receive(ikev1.Path, []byte) {}

func (e *fakeIKE) Limit(_ ikev1.Peer, spi uint32, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limits = append(e.limits, spi)
}

func (e *fakeIKE) Used(_ ikev1.Peer, spi uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.used = append(e.used, spi)
}

func (e *fakeIKE) Moved(_ ikev1.Peer, remote netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moved = append(e.moved, remote)
}

func (e *fakeIKE) Merge(from, into ikev1.Peer) {
	e.mu.Lock()
	e.merges++
	both := len(e.sas[from]) > 0 && len(e.sas[into]) > 0
	if both {
		e.sas[into] = append(e.sas[into], e.sas[from]...)
		delete(e.sas, from)
	}
	e.mu.Unlock()
	if both {
		go from.Empty(tenant.ReasonReplaced, "merged")
	}
}

func (e *fakeIKE) Drop(p ikev1.Peer, reason tenant.Reason) {
	e.mu.Lock()
	e.dropped = append(e.dropped, reason)
	e.mu.Unlock()
	go e.clear(p, reason)
}

// clear ends all SAs of a peer.
func (e *fakeIKE) clear(p ikev1.Peer, reason tenant.Reason) {
	e.mu.Lock()
	sas := e.sas[p]
	delete(e.sas, p)
	e.mu.Unlock()
	if len(sas) == 0 {
		return
	}
	for _, sa := range sas {
		for _, c := range sa.children {
			p.Remove(c)
		}
		p.SADown(sa.id, reason, "test")
	}
	p.Empty(reason, "test")
}

func (e *fakeIKE) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	e.late = ctx.Err() != nil
	var all []ikev1.Peer
	for p := range e.sas {
		all = append(all, p)
	}
	e.mu.Unlock()
	for _, p := range all {
		e.clear(p, tenant.ReasonShutdown)
	}
	return nil
}

// Stats are those of one peer that comes and one that is there.
func (*fakeIKE) Stats() ikev1.Stats { return ikev1.Stats{HalfOpen: 1, SAs: 1} }

// who is a client as IKE knows it.
type who struct {
	tenant  string // acme if empty
	id      string // its ID payload; "192.168.1.2" if empty
	from    string // outer address and port
	subject bool   // proved by certificate
	raw     bool   // no NAT
}

func (a who) path() ikev1.Path {
	p := ikev1.Path{
		Listener: mainListener, Local: netip.AddrPortFrom(netip.MustParseAddr(mainAddr), 4500), Remote: netip.MustParseAddrPort(a.from),
	}
	if a.raw {
		p.Local = netip.AddrPortFrom(p.Local.Addr(), 500)
	}
	return p
}

// mainMode is a main mode of a client, with success.
func (e *fakeIKE) mainMode(a who) (*ipsecPeer, error) {
	e.mu.Lock()
	e.n++
	id := ikev1.SAID{Initiator: [8]byte{e.n}, Responder: [8]byte{1}}
	e.mu.Unlock()
	sa := ikev1.SA{
		ID: id, Tenant: acme, Path: a.path(), NAT: ikev1.NAT{Remote: !a.raw}, Authentication: wireike.AuthPSK,
		Identity: ikev1.Identity{Type: wireike.IDIPv4Addr, Value: "192.168.1.2"},
	}
	if a.tenant != "" {
		sa.Tenant = a.tenant
	}
	if a.id != "" {
		sa.Identity.Value = a.id
	}
	if a.subject {
		sa.Authentication = wireike.AuthRSASignature
		sa.Identity.Type = wireike.IDDERASN1DN
	}
	p, err := ikeHost{e.m}.Established(sa)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sas[p] = append(e.sas[p], &fakeSA{id: id})
	return p.(*ipsecPeer), nil
}

// quickMode makes a child of the newest SA of a peer.
func (e *fakeIKE) quickMode(p *ipsecPeer, enc esphdr.Encryption, keyLen int, i esphdr.Integrity) (*ikev1.Child, error) {
	spi, err := p.NewSPI()
	if err != nil {
		return nil, err
	}
	key := make(tenant.Secret, keyLen+enc.SaltLen())
	c := &ikev1.Child{
		InboundSPI: spi, OutboundSPI: ^spi, Encryption: enc, Integrity: i, InboundKey: key, OutboundKey: key,
		UDPEncap: p.where().Local.Port() == 4500, PeerPort: 1701,
	}
	if err := p.AddInbound(c); err != nil {
		p.FreeSPI(spi)
		return nil, err
	}
	p.UseOutbound(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	sas := e.sas[p]
	sas[len(sas)-1].children = append(sas[len(sas)-1].children, c)
	return c, nil
}

// remove ends one child.
func (e *fakeIKE) remove(p *ipsecPeer, c *ikev1.Child) {
	e.mu.Lock()
	for _, sa := range e.sas[p] {
		sa.children = slices.DeleteFunc(sa.children, func(o *ikev1.Child) bool { return o == c })
	}
	e.mu.Unlock()
	p.Remove(c)
}

func (e *fakeIKE) drops() []tenant.Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.dropped)
}

// fakeL2TP is an L2TP server without messages.
type fakeL2TP struct {
	m *Manager

	mu       sync.Mutex
	tunnels  map[uint16]*fakeTunnel // by our ID
	received []string               // "port length" of what was handed over
}

// fakeTunnel is one tunnel.
type fakeTunnel struct {
	s     *fakeL2TP
	peer  l2tp.Peer
	port  uint16
	id    uint16 // ours
	name  uint16 // the client's
	calls map[uint16]*fakeLine
}

// fakeLine is a call of a tunnel, both as its client and as the Manager see it.
type fakeLine struct {
	t    *fakeTunnel
	id   uint16
	once sync.Once
	done chan struct{}
}

func (*fakeL2TP) Welcome(l2tp.Peer, uint16, []byte) bool { return true }

func (s *fakeL2TP) Receive(_ l2tp.Peer, port uint16, msg []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, fmt.Sprintf("%d %d", port, len(msg)))
}

func (s *fakeL2TP) Stats() l2tp.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l2tp.Stats{Open: len(s.tunnels)}
}

func (s *fakeL2TP) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

func (s *fakeL2TP) Lookup(id uint16) (l2tp.Peer, uint16, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tunnels[id]
	if t == nil {
		return nil, 0, false
	}
	return t.peer, t.port, true
}

func (s *fakeL2TP) Merge(from, into l2tp.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tunnels {
		if t.peer == from {
			t.peer = into
		}
	}
}

func (s *fakeL2TP) PeerGone(p l2tp.Peer, cause tenant.Reason, detail string) {
	s.mu.Lock()
	var gone []*fakeTunnel
	for _, t := range s.tunnels {
		if t.peer == p {
			gone = append(gone, t)
		}
	}
	s.mu.Unlock()
	for _, t := range gone {
		go t.close(cause, detail)
	}
}

func (s *fakeL2TP) Shutdown(context.Context) error {
	s.mu.Lock()
	var all []*fakeTunnel
	for _, t := range s.tunnels {
		all = append(all, t)
	}
	s.mu.Unlock()
	for _, t := range all {
		t.close(tenant.ReasonShutdown, "test")
	}
	return nil
}

// open opens a tunnel; the answer is the Manager's.
func (s *fakeL2TP) open(p l2tp.Peer, port, name uint16) (*fakeTunnel, l2tp.TunnelAnswer) {
	id, err := p.NewTunnelID()
	if err != nil {
		return nil, l2tp.TunnelAnswer{Result: wirel2tp.StopResultGeneralError}
	}
	a := lns{s.m}.Tunnel(p, l2tp.TunnelRequest{Port: port, LocalTunnel: id, PeerTunnel: name, HostName: "client"})
	if a.Result != 0 {
		p.FreeTunnelID(id)
		return nil, a
	}
	t := &fakeTunnel{s: s, peer: p, port: port, id: id, name: name, calls: map[uint16]*fakeLine{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnels[id] = t
	return t, a
}

// close ends a tunnel, as the server does for whatever cause.
func (t *fakeTunnel) close(cause tenant.Reason, detail string) {
	t.s.mu.Lock()
	if t.s.tunnels[t.id] != t {
		t.s.mu.Unlock()
		return
	}
	delete(t.s.tunnels, t.id)
	calls := t.calls
	t.calls = nil
	p := t.peer
	t.s.mu.Unlock()
	for id, c := range calls {
		c.once.Do(func() { close(c.done) })
		lns{t.s.m}.CallClosed(id, cause, detail)
	}
	lns{t.s.m}.TunnelClosed(p, t.id)
	p.FreeTunnelID(t.id)
}

// call places a call; the answer is the Manager's.
func (t *fakeTunnel) call(session uint16) (*fakeLine, l2tp.Answer) {
	c := &fakeLine{t: t, done: make(chan struct{})}
	a := lns{t.s.m}.IncomingCall(c, l2tp.CallRequest{
		Peer: t.peer, Port: t.port, LocalTunnel: t.id, PeerTunnel: t.name, PeerSession: session,
	})
	if a.Result != 0 || a.SessionID == 0 {
		return nil, a
	}
	c.id = a.SessionID
	t.s.mu.Lock()
	t.calls[c.id] = c
	t.s.mu.Unlock()
	return c, a
}

// Disconnect implements l2tp.Call.
func (c *fakeLine) Disconnect(tenant.Reason) {
	c.t.s.mu.Lock()
	delete(c.t.calls, c.id)
	c.t.s.mu.Unlock()
	c.once.Do(func() { close(c.done) })
}

// Authenticated implements l2tp.Call.
func (c *fakeLine) Authenticated() {
	c.t.s.mu.Lock()
	var old []*fakeTunnel
	for _, o := range c.t.s.tunnels {
		if o != c.t && o.peer == c.t.peer && o.port == c.t.port && o.name == c.t.name {
			old = append(old, o)
		}
	}
	c.t.s.mu.Unlock()
	for _, o := range old {
		go o.close(tenant.ReasonReplaced, "the client came back")
	}
}

func (c *fakeLine) Done() <-chan struct{}  { return c.done }
func (c *fakeLine) HangUp(context.Context) { c.t.close(tenant.ReasonUserRequest, "StopCCN") }
func (c *fakeLine) Abort()                 { c.t.close(tenant.ReasonLostCarrier, "test") }

// suites that tests use.
var (
	aesSHA1 = func(w *half, p *ipsecPeer) *ikev1.Child { return w.child(p, esphdr.AESCBC, 32, esphdr.HMACSHA1_96) }
	aesGCM  = func(w *half, p *ipsecPeer) *ikev1.Child {
		return w.child(p, esphdr.AESGCM16, 16, esphdr.IntegrityUnset)
	}
)

func (w *half) child(p *ipsecPeer, enc esphdr.Encryption, keyLen int, i esphdr.Integrity) *ikev1.Child {
	w.t.Helper()
	c, err := w.ike.quickMode(p, enc, keyLen, i)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// secure brings IPsec up for a client.
func (w *half) secure(a who) *ipsecPeer {
	w.t.Helper()
	p, err := w.ike.mainMode(a)
	if err != nil {
		w.t.Fatal(err)
	}
	aesSHA1(w, p)
	return p
}

// tunnel opens a tunnel of a peer.
func (w *half) tunnel(p l2tp.Peer, port, name uint16) *fakeTunnel {
	w.t.Helper()
	t, a := w.l2tp.open(p, port, name)
	if t == nil {
		w.t.Fatalf("the tunnel was refused: %+v", a)
	}
	return t
}

// dialIn places a call in a tunnel and begins PPP.
func (w *half) dialIn(t *fakeTunnel, cfg simppp.Config) *client {
	w.t.Helper()
	l, a := t.call(1)
	if l == nil {
		w.t.Fatalf("the call was refused: %+v", a)
	}
	lns{w.m}.Connected(l.id, l2tp.Connect{TxSpeed: 1000000})
	return w.client(l, l.id, cfg)
}

// come is a client's way in up to an open session.
func (w *half) come(a who, cfg simppp.Config) (*ipsecPeer, *client) {
	w.t.Helper()
	p := w.secure(a)
	cl := w.dialIn(w.tunnel(p, 1701, 1), cfg)
	w.wantOpen(cl)
	return p, cl
}

// fake is the plane's part of a peer.
func fake(p *ipsecPeer) *fakePeer { return p.now().plane.(*fakePeer) }

// after lets time pass.
func (w *half) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
