package ikev1

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// world is a network with a server's Engine, any number of clients' Engines, and NATs in between, in a synctest bubble.
type world struct {
	t      *testing.T
	delay  time.Duration
	jitter time.Duration
	loss   float64
	dup    float64

	mu    sync.Mutex
	rnd   *rand.Rand
	hosts map[netip.Addr]*host // by address on the open network
	nats  map[netip.Addr]*nat  // by outer address
	sent  int
	tap   func(from, to netip.AddrPort, msg []byte) bool // sees every message on the open network; false drops it
}

// nat is a port-translating gateway.
type nat struct {
	outer netip.Addr
	ports map[netip.AddrPort]uint16 // inner to outer port
	back  map[uint16]netip.AddrPort
	next  uint16
	hosts map[netip.Addr]*host // by inner address
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, delay: 10 * time.Millisecond, rnd: rand.New(rand.NewPCG(1, 2)),
		hosts: map[netip.Addr]*host{}, nats: map[netip.Addr]*nat{},
	}
}

// host is a Host with an Engine, at one address.
type host struct {
	w        *world
	addr     netip.Addr
	nat      *nat // nil: on the open network
	e        *Engine
	policy   *Policy
	accept   func(SA) error // nil: everybody
	mu       sync.Mutex
	peers    map[string]*fakePeer // by tenant, identity and outer address
	all      []*fakePeer
	sas      []SA
	refusals []Refusal
	spi      uint32
	idle     time.Duration
}

func (w *world) host(addr string, policy *Policy, cfg Config) *host {
	h := &host{w: w, addr: netip.MustParseAddr(addr), policy: policy, peers: map[string]*fakePeer{}}
	last := h.addr.As4()
	h.spi = uint32(last[0])<<24 | uint32(last[3])<<16 // no two hosts have the same
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", addr)
	}
	h.e = New(cfg, h)
	w.t.Cleanup(func() { // in a test that has failed; the bubble must not be left with workers
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.e.Shutdown(ctx)
	})
	w.hosts[h.addr] = h
	return h
}

// behind puts a new host behind a NAT, which is made if missing.
func (w *world) behind(outer, addr string, policy *Policy, cfg Config) *host {
	h := w.host(addr, policy, cfg)
	delete(w.hosts, h.addr)
	o := netip.MustParseAddr(outer)
	n := w.nats[o]
	if n == nil {
		n = &nat{
			outer: o, ports: map[netip.AddrPort]uint16{}, back: map[uint16]netip.AddrPort{}, next: 20000,
			hosts: map[netip.Addr]*host{},
		}
		w.nats[o] = n
	}
	n.hosts[h.addr] = h
	h.nat = n
	return h
}

func (h *host) Policy(string) *Policy {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.policy
}

func (h *host) Established(sa SA) (Peer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.accept != nil {
		if err := h.accept(sa); err != nil {
			return nil, err
		}
	}
	h.sas = append(h.sas, sa)
	key := fmt.Sprintf("%s %v %v", sa.Tenant, sa.Identity, sa.Path.Remote)
	p := h.peers[key]
	if p == nil {
		p = &fakePeer{h: h, sa: sa, key: key, spis: map[uint32]string{}, children: map[uint32]*Child{}, used: map[uint32]bool{}}
		h.peers[key] = p
		h.all = append(h.all, p)
	}
	p.path = sa.Path
	return p, nil
}

func (h *host) Refused(r Refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusals = append(h.refusals, r)
}

// Send puts a message on the network.
func (h *host) Send(p Path, msg []byte) {
	h.w.send(h, p.Local, p.Remote, msg)
}

func (w *world) send(h *host, from, to netip.AddrPort, msg []byte) {
	fence.Lock()
	fence.Unlock() //nolint:staticcheck // see fence
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	if n := h.nat; n != nil {
		port, ok := n.ports[from]
		if !ok {
			n.next++
			port = n.next
			n.ports[from], n.back[port] = port, from
		}
		from = netip.AddrPortFrom(n.outer, port)
	}
	if w.tap != nil && !w.tap(from, to, msg) {
		return
	}
	copies := 1
	if w.rnd.Float64() < w.dup {
		copies = 2
	}
	for range copies {
		if w.rnd.Float64() < w.loss {
			continue
		}
		d := w.delay + time.Duration(w.sent) // without jitter, what is sent first comes first
		if w.jitter > 0 {
			d += time.Duration(w.rnd.Int64N(int64(w.jitter)))
		}
		m := append([]byte(nil), msg...)
		time.AfterFunc(d, func() { w.deliver(from, to, m) })
	}
}

func (w *world) deliver(from, to netip.AddrPort, msg []byte) {
	w.mu.Lock()
	h, local := w.hosts[to.Addr()], to
	if n := w.nats[to.Addr()]; n != nil {
		local = n.back[to.Port()]
		h = n.hosts[local.Addr()]
	}
	w.mu.Unlock()
	if h != nil {
		h.e.Receive(Path{Listener: "listeners/test", Local: local, Remote: from}, msg)
	}
}

// fakePeer is a Peer that checks how it is called.
type fakePeer struct {
	h        *host
	sa       SA
	key      string
	mu       sync.Mutex
	path     Path
	spis     map[uint32]string // given, inbound, freed, removed
	children map[uint32]*Child
	out      *Child
	used     map[uint32]bool
	moves    []Path
	downs    []string
	empty    string
	added    int
	removed  int
	failAdd  bool
	bomb     string // the names of methods that panic, each once
	maimed   bool   // one of them has panicked that frees something
}

func (p *fakePeer) check(what string) {
	if what != "" && strings.Contains(p.bomb, what) {
		p.bomb = strings.Replace(p.bomb, what, "", 1)
		p.maimed = what == "Remove"
		panic("bomb in " + what)
	}
	if p.empty != "" {
		p.h.w.t.Errorf("%s of an empty peer (%s)", what, p.empty)
	}
}

func (p *fakePeer) NewSPI() (uint32, error) {
	p.h.mu.Lock()
	p.h.spi++
	spi := p.h.spi
	p.h.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("NewSPI")
	p.spis[spi] = "given"
	return spi, nil
}

func (p *fakePeer) turn(spi uint32, from, to string) {
	if p.spis[spi] != from {
		p.h.w.t.Errorf("SPI %#x becomes %s, but it is %q and not %s", spi, to, p.spis[spi], from)
	}
	p.spis[spi] = to
}

func (p *fakePeer) FreeSPI(spi uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn(spi, "given", "freed")
}

func (p *fakePeer) AddInbound(c *Child) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("AddInbound")
	if p.failAdd {
		return fmt.Errorf("no room")
	}
	p.turn(c.InboundSPI, "given", "inbound")
	p.children[c.InboundSPI] = c
	p.added++
	return nil
}

func (p *fakePeer) UseOutbound(c *Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("UseOutbound")
	if p.spis[c.InboundSPI] != "inbound" {
		p.h.w.t.Errorf("UseOutbound of SPI %#x, which is %q", c.InboundSPI, p.spis[c.InboundSPI])
	}
	p.out = c
}

func (p *fakePeer) Remove(c *Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("Remove")
	p.turn(c.InboundSPI, "inbound", "removed")
	delete(p.children, c.InboundSPI)
	if p.out == c {
		p.out = nil
	}
	p.removed++
}

func (p *fakePeer) Move(path Path) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = path
	p.moves = append(p.moves, path)
}

func (p *fakePeer) Idle() time.Duration {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	return p.h.idle
}

func (p *fakePeer) SADown(_ SAID, reason tenant.Reason, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("SADown")
	p.downs = append(p.downs, string(reason)+" "+detail)
}

func (p *fakePeer) Empty(reason tenant.Reason, detail string) {
	p.h.mu.Lock()
	if p.h.peers[p.key] == p {
		delete(p.h.peers, p.key)
	}
	p.h.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check("Empty")
	p.empty = string(reason) + " " + detail
	for spi, state := range p.spis {
		if p.maimed {
			break
		}
		if state != "freed" && state != "removed" {
			p.h.w.t.Errorf("SPI %#x is still %s at the end", spi, state)
		}
	}
}

// ended returns what Empty was called with, or nothing.
func (p *fakePeer) ended() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.empty
}

// only returns the host's one living peer.
func (h *host) only() *fakePeer {
	h.w.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.peers) != 1 {
		h.w.t.Fatalf("%v has %d peers, want one; refusals %+v", h.addr, len(h.peers), h.refusals)
	}
	for _, p := range h.peers {
		return p
	}
	return nil
}

func (h *host) refused() []Refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Refusal(nil), h.refusals...)
}

// state is a copy of what a peer has.
func (p *fakePeer) state() (children int, out *Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.children), p.out
}

// shutdown ends the Engines; whatever they have is gone afterwards.
func (w *world) shutdown(hs ...*host) {
	w.t.Helper()
	for _, h := range hs {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := h.e.Shutdown(ctx); err != nil {
			w.t.Errorf("shutdown of %v: %v", h.addr, err)
		}
		cancel()
		for _, p := range h.all {
			if p.empty == "" {
				w.t.Errorf("a peer of %v is left: %v", h.addr, p.key)
			}
		}
		st := h.e.Stats()
		if st.SAs != 0 && st.Handshakes == 0 {
			w.t.Errorf("%v still has %d SAs", h.addr, st.SAs)
		}
	}
}

// carries says whether what one side sends, the other can open.
func carries(from, to *fakePeer) error {
	from.mu.Lock()
	out := from.out
	from.mu.Unlock()
	if out == nil {
		return fmt.Errorf("nothing to send through")
	}
	to.mu.Lock()
	in := to.children[out.OutboundSPI]
	to.mu.Unlock()
	switch {
	case in == nil:
		return fmt.Errorf("SPI %#x is not known", out.OutboundSPI)
	case string(in.InboundKey) != string(out.OutboundKey) || string(in.InboundAuthKey) != string(out.OutboundAuthKey):
		return fmt.Errorf("keys differ")
	case in.Encryption != out.Encryption || in.Integrity != out.Integrity || in.UDPEncap != out.UDPEncap || in.ESN != out.ESN:
		return fmt.Errorf("suites differ: %+v %+v", in, out)
	case len(in.InboundKey) == 0:
		return fmt.Errorf("no key")
	}
	to.mu.Lock()
	first := !to.used[in.InboundSPI]
	to.used[in.InboundSPI] = true
	to.mu.Unlock()
	if first {
		to.h.e.Used(to, in.InboundSPI)
	}
	return nil
}

func mustCarry(t *testing.T, a, b *fakePeer) {
	t.Helper()
	if err := carries(a, b); err != nil {
		t.Errorf("from %v: %v", a.h.addr, err)
	}
	if err := carries(b, a); err != nil {
		t.Errorf("from %v: %v", b.h.addr, err)
	}
}

const serverAddr = "198.51.100.1"

func pskPolicy(name, secret string) *TenantPolicy {
	return &TenantPolicy{Name: name, PSKs: []PSK{{ID: "main", Secret: tenant.Secret(secret)}}}
}

func policyOf(ts ...*TenantPolicy) *Policy { return &Policy{Tenants: ts} }

// linux is a client like strongSwan's.
func linux(from string, psk string) Initiator {
	a := netip.MustParseAddr(from)
	return Initiator{
		Path: Path{
			Listener: "listeners/test", Local: netip.AddrPortFrom(a, portIKE),
			Remote: netip.AddrPortFrom(netip.MustParseAddr(serverAddr), portIKE),
		},
		Tenant: "tenants/client", PSK: tenant.Secret(psk),
		Proposals: []Phase1Proposal{{
			Encryption: wireike.EncryptionAESCBC, KeyBits: 256, Hash: wireike.HashSHA256, Group: wireike.GroupMODP2048,
			Lifetime: 3 * time.Hour,
		}},
		Vendors: []wireike.Vendor{
			wireike.VendorXAUTH, wireike.VendorDPD, wireike.VendorFragmentation, wireike.VendorNATTRFC3947,
			wireike.VendorNATTDraft02NL,
		},
		Children: []QuickMode{{
			Proposals: []ESPProposal{
				{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA1},
				{Transform: wireike.ESPAESCBC, KeyBits: 128, Auth: wireike.ESPAuthSHA1},
			},
			Local:    wireike.ID{Type: wireike.IDIPv4Addr, Protocol: 17, Port: 1701, Data: a.AsSlice()},
			Remote:   wireike.ID{Type: wireike.IDIPv4Addr, Protocol: 17, Port: 1701, Data: netip.MustParseAddr(serverAddr).AsSlice()},
			NATOA:    true,
			Lifetime: time.Hour,
		}},
	}
}

// run runs a test in a bubble.
func run(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func (h *host) initiate(c Initiator) {
	h.w.t.Helper()
	if err := h.e.Initiate(c); err != nil {
		h.w.t.Fatal(err)
	}
}

// fence orders what a test sets in its world before what workers read there: a timer alone is no order that the race
// detector knows.
var fence sync.Mutex

func settle(d time.Duration) {
	fence.Lock()
	fence.Unlock() //nolint:staticcheck // an empty critical section is the point
	time.Sleep(d)
	synctest.Wait()
}

func TestMainModePSK(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		c := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		c.initiate(linux("192.0.2.7", "secret"))
		settle(time.Second)
		mustCarry(t, s.only(), c.only())
		sa := s.only().sa
		if sa.Tenant != "tenants/a" || sa.Identity.String() != "ipv4:192.0.2.7" || sa.NAT.Detected() || !sa.DPD {
			t.Errorf("%+v", sa)
		}
		w.shutdown(c)
		settle(time.Second)
		if got := s.all[0].empty; got != "USER_REQUEST the peer has deleted its SAs" {
			t.Errorf("server's peer: %q", got)
		}
		w.shutdown(s)
	})
}

func TestBehindNAT(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		c := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		c.initiate(linux("10.0.0.2", "secret"))
		settle(time.Second)
		mustCarry(t, s.only(), c.only())
		sa := s.only().sa
		if !sa.NAT.Remote || sa.NAT.Local || sa.Path.Local.Port() != portNATT || sa.Identity.String() != "ipv4:10.0.0.2" {
			t.Errorf("%+v", sa)
		}
		_, out := s.only().state()
		if !out.UDPEncap || out.PeerOA != c.addr {
			t.Errorf("%+v", out)
		}
		w.shutdown(c, s)
	})
}
