package pptp

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"concentrator/internal/strangers"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// How long Serve waits after an error of Accept that may pass: doubled from the first to the second.
const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
)

// So many connections a second, and so many at once, are served of sources from which nobody has logged in; one that comes
// above is closed.
const (
	strangersPerSecond = 2000
	strangersBurst     = 2000
)

// Server runs PPTP control connections. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	h        Handler
	draining chan struct{}  // closed by Shutdown
	running  sync.WaitGroup // one for each connection

	mu    sync.Mutex // guards what follows
	drain bool       // draining is closed
	conns map[*conn]struct{}
	idle  map[netip.Addr]int // connections of a source without a first call
	lines [lines]*list.List  // of *conn: who makes room, in this order and in each the oldest first
	stats Stats

	strangers *strangers.Guard
}

// The lines in which connections wait for being worth something. Who has logged in on a connection is in none, nor is a connection
// from where somebody has, once it has had a call.
const (
	strangersIdle    = iota // of sources from which nobody has logged in: no call, or none any more
	strangersCalling        // the same, with a call of which nobody knows yet whose it is
	knownIdle               // of others: no call yet. A real client may take a second for it
	lines
)

// Stats counts what has happened at the door.
type Stats struct {
	Open       int    // connections open now
	Accepted   uint64 // connections served since the start
	TurnedAway uint64 // connections closed at once for a limit or a shutdown
	Pushed     uint64 // connections without a login that had to make room for newer ones
}

// NewServer returns a Server that asks h about calls. It starts nothing; Serve does.
func NewServer(cfg Config, h Handler) *Server {
	s := &Server{
		cfg: cfg.withDefaults(), h: h, draining: make(chan struct{}), conns: map[*conn]struct{}{}, idle: map[netip.Addr]int{},
		strangers: strangers.NewGuard(strangersPerSecond, strangersBurst),
	}
	for i := range s.lines {
		s.lines[i] = list.New()
	}
	return s
}

// Serve accepts connections from l until l is closed, then returns nil. listener is the resource name that comes back in
// CallRequest.Listener. Several listeners may be served at once; connections outlive their listener. An error is returned
// only if l breaks for good; shortage of descriptors or memory is waited out.
func (s *Server) Serve(l net.Listener, listener string) error {
	delay := minAcceptDelay
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			delay = minAcceptDelay
			s.admit(nc, listener)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !mayPass(err):
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		default:
			s.cfg.Log.Warn("can't accept a control connection, waiting",
				telemetry.Listener, listener, telemetry.Error, err, telemetry.Duration, delay)
			select {
			case <-time.After(delay):
			case <-s.draining:
			}
			delay = min(2*delay, maxAcceptDelay)
		}
	}
}

// mayPass says whether Accept may work again later.
func mayPass(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// admit starts a connection, or closes it at once when a limit is reached.
func (s *Server) admit(nc net.Conn, listener string) {
	c := &conn{
		server: s, nc: nc, listener: listener,
		remote: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr()),
	}
	c.log = s.cfg.Log.With(telemetry.Listener, listener, telemetry.Peer, c.remote, telemetry.Local, c.local)
	if reason, detail := s.enter(c); reason != "" {
		_ = nc.Close() // nothing was said on it; how it closes is of no interest
		s.h.Refused(c.remote, c.local, reason, detail)
		return
	}
	go func() {
		defer s.running.Done()
		defer s.leave(c)
		c.run()
	}()
}

// enter counts a new connection. A reason means that there is no room for it: where all connections that there may be are
// open, one in which nobody has logged in makes room, or whoever opens many would keep everybody out.
func (s *Server) enter(c *conn) (tenant.Reason, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := source(c.remote)
	switch {
	case s.drain:
		s.stats.TurnedAway++
		return tenant.ReasonDraining, "the server is shutting down"
	case s.cfg.MaxIdlePerSource > 0 && s.idle[src] >= s.cfg.MaxIdlePerSource:
		s.stats.TurnedAway++
		return tenant.ReasonInstanceLimit, fmt.Sprintf("%d control connections of %s have no call yet", s.idle[src], src)
	case !s.strangers.Knows(src) && !s.strangers.May(time.Now()):
		s.stats.TurnedAway++
		return tenant.ReasonInstanceLimit, "too many control connections from where nobody has logged in"
	case len(s.conns) >= s.cfg.MaxConns && !s.push():
		s.stats.TurnedAway++
		return tenant.ReasonInstanceLimit, fmt.Sprintf("%d control connections are open", len(s.conns))
	}
	s.stats.Accepted++
	s.conns[c] = struct{}{}
	s.idle[src]++
	c.idle = true
	if s.strangers.Knows(src) {
		s.wait(c, knownIdle)
	} else {
		s.wait(c, strangersIdle)
	}
	s.running.Add(1)
	return "", ""
}

// push closes a connection to make room, if there is one that must; its goroutine notices.
func (s *Server) push() bool {
	for _, line := range s.lines {
		if line.Len() == 0 {
			continue
		}
		oldest, ok := line.Front().Value.(*conn)
		if !ok {
			return false
		}
		s.stats.Pushed++
		s.forget(oldest)
		_ = oldest.nc.Close() // what it was worth is over
		return true
	}
	return false
}

// wait puts a connection at the end of a line; lines means none. mu must be held.
func (s *Server) wait(c *conn, line int) {
	if c.place != nil {
		s.lines[c.line].Remove(c.place)
		c.place = nil
	}
	if line < lines {
		c.place, c.line = s.lines[line].PushBack(c), line
	}
}

// connected notes that c has a call.
func (s *Server) connected(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notIdle(c)
	if _, open := s.conns[c]; open && !c.entered {
		if s.strangers.Knows(source(c.remote)) {
			s.wait(c, lines)
		} else {
			s.wait(c, strangersCalling)
		}
	}
}

// disconnected notes that c has no call any more.
func (s *Server) disconnected(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.conns[c]; open && !c.entered && !s.strangers.Knows(source(c.remote)) {
		s.wait(c, strangersIdle)
	}
}

// authenticated notes that somebody has logged in on c.
func (s *Server) authenticated(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strangers.Know(source(c.remote))
	c.entered = true
	s.wait(c, lines)
}

// notIdle counts c no more among those without a first call. mu must be held.
func (s *Server) notIdle(c *conn) {
	if !c.idle {
		return
	}
	c.idle = false
	src := source(c.remote)
	if s.idle[src]--; s.idle[src] == 0 {
		delete(s.idle, src)
	}
}

// forget takes c out of all lists. mu must be held.
func (s *Server) forget(c *conn) {
	s.notIdle(c)
	s.wait(c, lines)
	delete(s.conns, c)
}

// leave forgets a connection that has ended.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Open = len(s.conns)
	return st
}

// Shutdown sends a Stop-Control-Connection-Request on every connection and waits until all have closed, at most until ctx
// ends; then it closes the rest and returns ctx's error. Handler.CallClosed is called with SHUTDOWN for every call that
// still lives. Connections that come later are turned away; closing the listeners is their owner's business.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.drain {
		s.drain = true
		close(s.draining)
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.post(command{cause: tenant.ReasonShutdown})
	}
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
	for _, c := range conns {
		_ = c.nc.Close() // its goroutine notices and ends
	}
	<-done
	return fmt.Errorf("waiting for control connections to stop: %w", ctx.Err())
}

// addrPort returns a as a netip value, the zero value if it is none.
func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// source is what MaxIdlePerSource counts by: an IPv4 address, or the /64 that one IPv6 client can use at will.
func source(remote netip.AddrPort) netip.Addr {
	a := remote.Addr()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
