package l2tp

import (
	"container/list"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/strangers"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/l2tp"
)

const (
	// maxMessage is the longest control message that is looked at, in octets. An ICCN with all that a LAC has to hand over
	// takes about half of it.
	maxMessage = 4096
	// maxClosing is how many tunnels of one peer may linger after their end.
	maxClosing = 4
	// lingeringShare of MaxTunnels is how many tunnels may linger in all; then the one that has for longest goes. Its peer
	// may get no acknowledgement any more for the last message of a tunnel that both know to be over.
	lingeringShare = 2
	// plainShare of MaxTunnels is how many half-open tunnels plain sources may have together; then the oldest goes.
	plainShare = 4
)

// key is what an SCCRQ is known by. A peer's port tells apart clients behind one IPsec gateway.
type key struct {
	peer       Peer
	port       uint16
	peerTunnel uint16
}

// Server runs tunnels. Its methods are safe for concurrent use and never block on the network.
type Server struct {
	cfg     Config
	h       Handler
	running sync.WaitGroup // one for each tunnel

	mu       sync.Mutex // guards what follows
	draining bool
	byID     map[uint16]*tunnel
	byKey    map[key]*tunnel // the newest of each that isn't stopped
	peers    map[Peer][]*tunnel
	count    int
	lingers  []*tunnel          // that only acknowledge, the oldest first; some may be gone by now
	closing  int                // how many of them there are
	halfOpen map[netip.Addr]int // tunnels of a plain source that were never established
	forgery  []*tunnel          // the same ones, the oldest first; some may be more by now
	plain    int                // how many of them there are
	waiting  *list.List         // of *tunnel: those in which nobody has logged in, the oldest first
	stats    Stats

	strangers *strangers.Guard // of plain sources
	refusals  *rate.Limiter    // of plain sources that are answered
}

// Stats counts what has happened.
type Stats struct {
	Open       int    // tunnels, half-open ones too
	Closing    int    // tunnels that only acknowledge
	Accepted   uint64 // SCCRQs that began a tunnel
	TurnedAway uint64 // SCCRQs that were refused for a limit or a shutdown
	Repeated   uint64 // SCCRQs that were repetitions
	Malformed  uint64 // messages that are no control messages, or that make no sense without a tunnel
	Unknown    uint64 // messages for a tunnel that does not exist, or is another peer's
	Overflow   uint64 // messages that found a full inbox
	Pushed     uint64 // tunnels without a login that had to make room for newer ones
}

// NewServer returns a Server that asks h about tunnels and calls. It starts nothing.
func NewServer(cfg Config, h Handler) *Server {
	return &Server{
		cfg: cfg.withDefaults(), h: h,
		byID: map[uint16]*tunnel{}, byKey: map[key]*tunnel{}, peers: map[Peer][]*tunnel{},
		halfOpen: map[netip.Addr]int{}, waiting: list.New(),
		strangers: strangers.NewGuard(strangersPerSecond, strangersBurst),
		refusals:  rate.NewLimiter(refusalsPerSecond, refusalsBurst),
	}
}

// Receive takes a control message that came from the peer's UDP port, and takes msg over; of a plain peer one that is welcome. It never
// blocks; what can't be used is dropped and counted.
func (s *Server) Receive(p Peer, port uint16, msg []byte) {
	h, body, err := wire.ParseHeader(msg)
	if err != nil || !h.Control || len(msg) > maxMessage {
		s.countMessage(&s.stats.Malformed)
		return
	}
	if h.TunnelID == 0 {
		s.receiveNew(p, port, h, body)
		return
	}
	s.mu.Lock()
	t := s.byID[h.TunnelID]
	if t == nil || t.key.peer != p {
		s.stats.Unknown++
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.put(t, packet{port: port, header: h, body: body})
}

func (s *Server) put(t *tunnel, p packet) {
	if !t.put(p) {
		s.countMessage(&s.stats.Overflow)
	}
}

func (s *Server) countMessage(n *uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

// end tells a tunnel to end without a word.
func (s *Server) end(t *tunnel, cause tenant.Reason, detail string) {
	t.leaving = true
	t.post(command{do: abandon, cause: cause, detail: detail})
}

// stopWaiting takes a tunnel off the list of those in which nobody has logged in, if it is there.
func (s *Server) stopWaiting(t *tunnel) {
	if t.place != nil {
		s.waiting.Remove(t.place)
		t.place = nil
	}
}

// enter puts a new tunnel into the tables.
func (s *Server) enter(t *tunnel) {
	s.stats.Accepted++
	s.count++
	t.place = s.waiting.PushBack(t)
	s.byKey[t.key] = t
	s.peers[t.key.peer] = append(s.peers[t.key.peer], t)
	s.running.Add(1)
	if !t.plain {
		return
	}
	s.halfOpen[source(t.peer.Remote())]++
	s.forgery = append(s.forgery, t)
	for s.plain++; s.plain > max(s.cfg.MaxTunnels/plainShare, 1) && len(s.forgery) > 0; {
		oldest := s.forgery[0]
		s.forgery = s.forgery[1:]
		if s.proven(oldest) {
			s.end(oldest, tenant.ReasonPeerTimeout, "too many tunnels are half open")
		}
	}
}

// proven takes a plain tunnel off the count of those whose source may be forged; false if it was not on it.
func (s *Server) proven(t *tunnel) bool {
	if !t.plain {
		return false
	}
	t.plain = false
	s.plain--
	src := source(t.currentPeer().Remote())
	if s.halfOpen[src]--; s.halfOpen[src] == 0 {
		delete(s.halfOpen, src)
	}
	for len(s.forgery) > 0 && !s.forgery[0].plain {
		s.forgery[0] = nil
		s.forgery = s.forgery[1:]
	}
	return true
}

// named enters the ID that a tunnel has got.
func (s *Server) named(t *tunnel, id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.id = id
	s.byID[id] = t
}

// moved notes the port that a tunnel's messages come from.
func (s *Server) moved(t *tunnel, port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.port = port
}

// entered follows a tunnel's change of state.
func (s *Server) entered(t *tunnel, to tunnelState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := t.state
	t.state = to
	switch {
	case to == established:
		t.establishedAt = time.Now()
		s.proven(t)
	case to == stopped && from == idle:
		// It keeps its key, so that a repeated SCCRQ gets the same StopCCN again.
	case to >= stopped:
		s.leaveKey(t)
	}
	if to != stopped {
		return
	}
	s.linger(t)
	closing := 0
	for _, other := range slices.Backward(s.peers[t.key.peer]) {
		if other.state != stopped {
			continue
		}
		if closing++; closing > maxClosing {
			s.end(other, "", "")
		}
	}
}

// linger counts a tunnel that only acknowledges from now on (RFC 2661 section 5.7), not as one of MaxTunnels.
func (s *Server) linger(t *tunnel) {
	t.lingering = true
	s.closing++
	s.lingers = append(s.lingers, t)
	if s.closing > max(s.cfg.MaxTunnels/lingeringShare, 1) {
		oldest := s.lingers[0]
		s.gone(oldest)
		s.end(oldest, "", "")
	}
}

// gone takes a tunnel off the count of those that linger, if it is on it.
func (s *Server) gone(t *tunnel) {
	if !t.lingering {
		return
	}
	t.lingering = false
	s.closing--
	for len(s.lingers) > 0 && !s.lingers[0].lingering {
		s.lingers[0] = nil
		s.lingers = s.lingers[1:]
	}
}

// leaveKey gives the place of a tunnel that has ended to the older one that waits behind it, if there is one.
func (s *Server) leaveKey(t *tunnel) {
	if s.byKey[t.key] == t {
		delete(s.byKey, t.key)
		if t.older != nil {
			s.byKey[t.key] = t.older
		}
	}
	for _, other := range s.peers[t.key.peer] {
		if other.older == t {
			other.older = nil
		}
	}
	if t.older != nil {
		t.older.post(command{do: resume})
		t.older = nil
	}
}

// loggedIn ends the tunnel that t replaces.
func (s *Server) loggedIn(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.loggedIn = true
	s.stopWaiting(t)
	if p := t.currentPeer(); p.Plain() {
		s.strangers.Know(source(p.Remote()))
	}
	if t.older != nil {
		s.end(t.older, tenant.ReasonReplaced, "the client has come back with a new tunnel of the same ID")
		t.older = nil
	}
}

// leave forgets a tunnel whose goroutine ends.
func (s *Server) leave(t *tunnel) {
	s.mu.Lock()
	s.proven(t)
	s.gone(t)
	s.stopWaiting(t)
	s.leaveKey(t)
	if t.id != 0 {
		delete(s.byID, t.id)
	}
	p := t.key.peer
	if rest := slices.DeleteFunc(s.peers[p], func(o *tunnel) bool { return o == t }); len(rest) == 0 {
		delete(s.peers, p)
	} else {
		s.peers[p] = rest
	}
	s.count--
	s.mu.Unlock()
	if t.id != 0 {
		p.FreeTunnelID(t.id)
	}
}

// Lookup says to which peer and to which of its UDP ports the tunnel with our ID id belongs.
func (s *Server) Lookup(id uint16) (p Peer, port uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byID[id]
	if t == nil {
		return nil, 0, false
	}
	return t.key.peer, t.port, true
}

// PeerGone ends all tunnels of p, which can't be reached any more: nothing is sent. The Handler learns of it on the
// tunnels' goroutines, and p's FreeTunnelID is still called.
func (s *Server) PeerGone(p Peer, cause tenant.Reason, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.peers[p] {
		s.end(t, cause, detail)
	}
}

// Merge makes all tunnels of from belong to into, which from then on gets their messages and their IDs back.
func (s *Server) Merge(from, into Peer) {
	if from == into {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.peers[from] {
		newest := s.byKey[t.key] == t
		if newest {
			delete(s.byKey, t.key)
		}
		t.key.peer = into
		if newest && s.byKey[t.key] == nil {
			s.byKey[t.key] = t
		}
		t.mu.Lock()
		t.peer = into
		t.mu.Unlock()
		s.peers[into] = append(s.peers[into], t)
	}
	delete(s.peers, from)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	for _, tunnels := range s.peers {
		for _, t := range tunnels {
			if t.state < stopped {
				st.Open++
			} else {
				st.Closing++
			}
		}
	}
	return st
}

// Shutdown sends a StopCCN on every tunnel and waits until all have been acknowledged, at most until ctx ends; then it
// forgets the rest and returns ctx's error. Handler.CallClosed is called with SHUTDOWN for every call that still lives.
// SCCRQs that come later are refused.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.tellAll(command{do: stop, cause: tenant.ReasonShutdown})
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.tellAll(command{do: abandon, cause: tenant.ReasonShutdown, detail: "the server is shutting down"})
	s.mu.Unlock()
	<-done
	return fmt.Errorf("waiting for tunnels to stop: %w", ctx.Err())
}

// tellAll posts a command to every tunnel.
func (s *Server) tellAll(c command) {
	for _, tunnels := range s.peers {
		for _, t := range tunnels {
			t.leaving = true
			t.post(c)
		}
	}
}

// source is what MaxHalfOpenPerSource counts by: an IPv4 address, or the /64 that one IPv6 client can use at will.
func source(remote netip.AddrPort) netip.Addr {
	a := remote.Addr().Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
