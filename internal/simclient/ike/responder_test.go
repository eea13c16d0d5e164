package ike

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
)

// Addresses of the tests: the client has a private one behind a NAT, or is on the open network itself.
var (
	serverAddr  = netip.MustParseAddr("198.51.100.1")
	privateAddr = netip.MustParseAddr("192.168.0.5")
	natAddr     = netip.MustParseAddr("203.0.113.9")
)

const (
	testListener = "listeners/test"
	secret       = "correct horse"
)

// responder is the engine under test with a Host that writes everything down, in a synctest bubble.
type responder struct {
	t      *testing.T
	e      *ikev1.Engine
	policy *ikev1.Policy

	mu       sync.Mutex
	sent     []sent
	sas      []ikev1.SA
	peers    map[string]*peer
	refusals []ikev1.Refusal
	spi      uint32
}

// sent is a message of the engine.
type sent struct {
	path ikev1.Path
	msg  []byte
}

// respond runs a test with an engine.
func respond(t *testing.T, policy *ikev1.Policy, test func(t *testing.T, r *responder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &responder{t: t, policy: policy, peers: map[string]*peer{}, spi: 0xc0000000}
		r.e = ikev1.New(ikev1.Config{}, r)
		test(t, r)
		if err := r.e.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, p := range r.peers {
			p.wantEmpty()
		}
	})
}

// oneTenant is a listener with one tenant.
func oneTenant(legacy bool) *ikev1.Policy {
	return &ikev1.Policy{Tenants: []*ikev1.TenantPolicy{{
		Name: "tenants/acme", PSKs: []ikev1.PSK{{ID: "main", Secret: tenant.Secret(secret)}}, Legacy: legacy,
		Aggressive: true, GroupName: "group",
	}}}
}

// ask gives the engine a message and returns what it sends.
func (r *responder) ask(p ikev1.Path, msg []byte) []sent {
	r.e.Receive(p, slices.Clone(msg))
	synctest.Wait()
	return r.take()
}

func (r *responder) take() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.sent
	r.sent = nil
	return out
}

// after lets time pass and returns what the engine sends meanwhile.
func (r *responder) after(d time.Duration) []sent {
	time.Sleep(d)
	synctest.Wait()
	return r.take()
}

// refused returns the only refusal, and the zero one if there is none.
func (r *responder) refused() ikev1.Refusal {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch len(r.refusals) {
	case 0:
		return ikev1.Refusal{}
	case 1:
	default:
		r.t.Errorf("%d refusals: %+v", len(r.refusals), r.refusals)
	}
	return r.refusals[0]
}

// sa returns the ISAKMP SA that was established last.
func (r *responder) sa() ikev1.SA {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sas) == 0 {
		return ikev1.SA{}
	}
	return r.sas[len(r.sas)-1]
}

// Send implements ikev1.Host.
func (r *responder) Send(p ikev1.Path, msg []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, sent{p, msg})
}

// Policy implements ikev1.Host.
func (r *responder) Policy(string) *ikev1.Policy { return r.policy }

// Established implements ikev1.Host: the same tenant, identity, address and port is the same peer.
func (r *responder) Established(sa ikev1.SA) (ikev1.Peer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sas = append(r.sas, sa)
	key := fmt.Sprintf("%s %v %v", sa.Tenant, sa.Identity, sa.Path.Remote)
	p := r.peers[key]
	if p == nil {
		p = &peer{r: r, spis: map[uint32]bool{}}
		r.peers[key] = p
	}
	return p, nil
}

// Refused implements ikev1.Host.
func (r *responder) Refused(f ikev1.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals = append(r.refusals, f)
}

// only returns the only peer.
func (r *responder) only() *peer {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.peers) != 1 {
		r.t.Fatalf("%d peers, want one", len(r.peers))
	}
	for _, p := range r.peers {
		return p
	}
	return nil
}

// peer is an ikev1.Peer without a data plane. It is guarded by the responder's lock.
type peer struct {
	r        *responder
	spis     map[uint32]bool
	children []*ikev1.Child
	out      *ikev1.Child
	downs    int
	moves    []ikev1.Path
	empty    string
}

// NewSPI implements ikev1.Peer, as the methods below do.
func (p *peer) NewSPI() (uint32, error) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.r.spi++
	p.spis[p.r.spi] = true
	return p.r.spi, nil
}

func (p *peer) FreeSPI(spi uint32) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	delete(p.spis, spi)
}

func (p *peer) AddInbound(c *ikev1.Child) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.children = append(p.children, c)
	return nil
}

func (p *peer) UseOutbound(c *ikev1.Child) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.out = c
}

func (p *peer) Remove(c *ikev1.Child) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.children = slices.DeleteFunc(p.children, func(have *ikev1.Child) bool { return have == c })
	delete(p.spis, c.InboundSPI)
	if p.out == c {
		p.out = nil
	}
}

func (p *peer) Move(path ikev1.Path) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.moves = append(p.moves, path)
}

// Idle is long, so that only the engine's own messages count.
func (*peer) Idle() time.Duration { return time.Hour }

func (p *peer) SADown(ikev1.SAID, tenant.Reason, string) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.downs++
}

func (p *peer) Empty(reason tenant.Reason, detail string) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.empty = string(reason) + ": " + detail
}

// child returns the only child and whether we send through it.
func (p *peer) child() (c *ikev1.Child, used bool) {
	p.r.t.Helper()
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if len(p.children) != 1 {
		p.r.t.Fatalf("%d children, want one", len(p.children))
	}
	return p.children[0], p.out == p.children[0]
}

// count says how many children there are and how many ISAKMP SAs have ended.
func (p *peer) count() (children, downs int) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return len(p.children), p.downs
}

func (p *peer) wantEmpty() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.empty == "" || len(p.children) != 0 || len(p.spis) != 0 {
		p.r.t.Errorf("left of a peer: %d children, %d SPIs, empty %q", len(p.children), len(p.spis), p.empty)
	}
}
