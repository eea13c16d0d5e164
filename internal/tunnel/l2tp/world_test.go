package l2tp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	lac "concentrator/internal/simclient/l2tp"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

// world is a Server, a Handler that writes down what it is told, and peers with clients behind lossy links. It lives in a
// synctest bubble.
type world struct {
	t      *testing.T
	server *Server

	mu       sync.Mutex
	log      []string
	calls    map[uint16]Call
	requests []CallRequest
	tunnels  []TunnelRequest
	connects map[uint16]Connect
	lastID   uint16
	nextCall uint16
	taken    map[uint16]bool
	answer   func(r TunnelRequest) TunnelAnswer
	onCall   func(c Call, r CallRequest) Answer
	idsGone  bool
}

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{t: t, calls: map[uint16]Call{}, connects: map[uint16]Connect{}, taken: map[uint16]bool{}, nextCall: 0x100}
	w.answer = func(TunnelRequest) TunnelAnswer { return TunnelAnswer{} }
	w.onCall = func(Call, CallRequest) Answer { return Answer{SessionID: w.nextCall} }
	w.server = NewServer(cfg, w)
	return w
}

// Tunnel implements Handler.
func (w *world) Tunnel(_ Peer, r TunnelRequest) TunnelAnswer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tunnels = append(w.tunnels, r)
	a := w.answer(r)
	w.log = append(w.log, fmt.Sprintf("tunnel %d: %d", r.PeerTunnel, a.Result))
	return a
}

// IncomingCall implements Handler.
func (w *world) IncomingCall(c Call, r CallRequest) Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nextCall++
	w.requests = append(w.requests, r)
	a := w.onCall(c, r)
	if a.SessionID != 0 {
		w.calls[a.SessionID] = c
	}
	w.log = append(w.log, fmt.Sprintf("call %d: %d", r.PeerSession, a.Result))
	return a
}

// Connected implements Handler.
func (w *world) Connected(id uint16, r Connect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connects[id] = r
	w.log = append(w.log, fmt.Sprintf("connected %#x", id))
}

// CallClosed implements Handler.
func (w *world) CallClosed(id uint16, cause tenant.Reason, detail string) {
	w.note(detail, "closed %#x %s", id, cause)
}

// Refused implements Handler.
func (w *world) Refused(_ Peer, stage tenant.Stage, reason tenant.Reason, detail string) {
	if !slices.Contains(tenant.RefusedReasons, reason) {
		w.t.Errorf("refused for %s: %s", reason, detail)
	}
	w.note(detail, "refused %s %s", stage, reason)
}

// Moved implements Handler.
func (w *world) Moved(_ Peer, _, port uint16) { w.note("-", "moved to %d", port) }

// TunnelClosed implements Handler.
func (w *world) TunnelClosed(Peer, uint16) { w.note("-", "tunnel closed") }

func (w *world) note(detail, format string, a ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := fmt.Sprintf(format, a...)
	if detail == "" {
		w.t.Errorf("%s: no detail", s)
	}
	w.log = append(w.log, s)
}

// events takes what the Handler was told.
func (w *world) events() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

// expect compares what the Handler was told since the last time.
func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.events(); !slices.Equal(got, want) {
		w.t.Errorf("events\n%q, want\n%q", got, want)
	}
}

func (w *world) call(id uint16) Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[id]
}

// peer is a Peer with any number of ports, each with a client.
type peer struct {
	w      *world
	name   netip.AddrPort
	plain  bool
	idle   time.Duration
	cut    bool // nothing gets through
	loss   int  // per cent, each way
	twice  int  // per cent of messages that come twice
	jitter time.Duration
	rand   *rand.Rand

	mu      sync.Mutex
	clients map[uint16]*lac.Client
	seen    []wire.Message // what the server has sent, repetitions too
	toward  func(port uint16, msg []byte)
}

func (w *world) newPeer(name string) *peer {
	return &peer{
		w: w, name: netip.MustParseAddrPort(name), idle: time.Hour, clients: map[uint16]*lac.Client{},
		rand: rand.New(rand.NewPCG(1, 2)),
	}
}

// Send implements Peer.
func (p *peer) Send(port uint16, msg []byte) {
	if h, body, err := wire.ParseHeader(msg); err != nil || !h.Control || int(h.Length) != len(msg) {
		p.w.t.Errorf("the server sent %x: %v", msg, err)
	} else if len(body) > 0 {
		m, err := wire.Parse(body, nil)
		if err != nil {
			p.w.t.Errorf("the server sent %x: %v", msg, err)
		}
		p.mu.Lock()
		p.seen = append(p.seen, m)
		p.mu.Unlock()
	}
	p.carry(func(b []byte) {
		p.mu.Lock()
		c, f := p.clients[port], p.toward
		p.mu.Unlock()
		switch {
		case f != nil:
			f(port, b)
		case c != nil:
			c.Receive(b)
		}
	}, msg)
}

// carry brings a message to its end by luck.
func (p *peer) carry(to func([]byte), msg []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.rand.IntN(100) < p.loss {
		return
	}
	for range 1 + p.dice(p.twice) {
		delay := 10 * time.Millisecond
		if p.jitter > 0 {
			delay += time.Duration(p.rand.Int64N(int64(p.jitter)))
		}
		b := slices.Clone(msg)
		time.AfterFunc(delay, func() { to(b) })
	}
}

func (p *peer) dice(percent int) int {
	if p.rand.IntN(100) < percent {
		return 1
	}
	return 0
}

// NewTunnelID implements Peer.
func (p *peer) NewTunnelID() (uint16, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.idsGone {
		return 0, errors.New("none left")
	}
	p.w.lastID += 16
	p.w.taken[p.w.lastID] = true
	return p.w.lastID, nil
}

// FreeTunnelID implements Peer.
func (p *peer) FreeTunnelID(id uint16) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.w.taken[id] {
		p.w.t.Errorf("tunnel ID %d is given back without having been taken", id)
	}
	delete(p.w.taken, id)
}

// Remote implements Peer.
func (p *peer) Remote() netip.AddrPort { return p.name }

// Local implements Peer.
func (p *peer) Local() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:1701") }

// receive hands a message to the server as its owner does.
func (w *world) receive(p *peer, port uint16, msg []byte) {
	if !p.plain || w.server.Welcome(p, port, msg) {
		w.server.Receive(p, port, msg)
	}
}

// Plain implements Peer.
func (p *peer) Plain() bool { return p.plain }

// Idle implements Peer.
func (p *peer) Idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle
}

// set changes the link while it is in use.
func (p *peer) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// client puts a client behind a port, instead of the one that is there.
func (p *peer) client(port uint16, cfg lac.Config) *lac.Client {
	c := lac.New(cfg, func(msg []byte) {
		p.carry(func(b []byte) { p.w.receive(p, port, b) }, msg)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[port] = c
	return c
}

// inject sends the server a message as it is.
func (p *peer) inject(port uint16, h wire.Header, m wire.Message, extra ...wire.AVP) {
	if m == nil {
		p.w.receive(p, port, wire.AppendZLB(nil, h))
		return
	}
	p.w.receive(p, port, wire.Append(nil, h, m, nil, extra...))
}

// sent takes what the server has sent to the peer.
func (p *peer) sent() []wire.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// types are the types of messages.
func types(msgs []wire.Message) []wire.Type {
	var out []wire.Type
	for _, m := range msgs {
		out = append(out, m.Type())
	}
	return out
}

// end shuts the server down and checks that nothing is left.
func (w *world) end() {
	w.t.Helper()
	if err := w.server.Shutdown(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	w.clean()
}

// clean checks that nothing is left.
func (w *world) clean() {
	w.t.Helper()
	s := w.server
	s.mu.Lock()
	defer s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s.byID)+len(s.byKey)+len(s.peers)+len(s.halfOpen)+len(s.forgery)+s.count+s.plain+len(w.taken) != 0 {
		w.t.Errorf("left behind: %d IDs, %d keys, %d peers, %d sources, %d half open, count %d, plain %d, %d IDs taken",
			len(s.byID), len(s.byKey), len(s.peers), len(s.halfOpen), len(s.forgery), s.count, s.plain, len(w.taken))
	}
}
