package radius

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

const (
	// maxSockets bounds the requests under way to one server at 2048, twice what an instance has sessions.
	maxSockets = 8
	// lookupTimeout bounds a DNS lookup that no login's context bounds.
	lookupTimeout = 3 * time.Second
	// lookupPause is the least time between two lookups after failures.
	lookupPause = 10 * time.Second
	// warnPause is the least time between two log lines about the same kind of dropped reply.
	warnPause = time.Minute
)

// errClosed is the cause of requests that Close ended.
var errClosed = errors.New("radius: client is closed")

// environment is what tests replace.
type environment struct {
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	sockets int
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// server is one RADIUS server: its address, its sockets and the requests under way on them.
type server struct {
	cfg ServerConfig
	env environment
	log *slog.Logger

	stats counters
	signs atomic.Bool // a reply had a right Message-Authenticator once: ModeAuto demands one from now on
	down  atomic.Bool // the last request got no answer
	// warned is when a dropped reply of each kind was last logged, in Unix nanoseconds.
	warned [NumDrops]atomic.Int64

	// slots has one entry for each request under way. It is what requests queue at, without a lock, when all
	// identifiers of all sockets are taken.
	slots chan struct{}
	// looking has one entry while a lookup runs that logins wait for.
	looking chan struct{}
	ended   context.Context // done when closed
	end     context.CancelFunc
	running sync.WaitGroup // readers and the lookup

	mu         sync.Mutex // guards what follows, and the sockets
	closed     bool
	address    netip.AddrPort // where new requests go; invalid while the name is not known
	sockets    []*socket      // open ones, retired ones included
	lastLookup time.Time
}

func newServer(cfg ServerConfig, log *slog.Logger, env environment) *server {
	s := &server{
		cfg: cfg, env: env, log: log.With(telemetry.Server, cfg.Name),
		slots:   make(chan struct{}, env.sockets*identifiers),
		looking: make(chan struct{}, 1),
	}
	s.ended, s.end = context.WithCancel(context.Background())
	if a, err := netip.ParseAddr(cfg.Address); err == nil {
		s.address = netip.AddrPortFrom(a.Unmap(), uint16(cfg.AuthPort))
		return s
	}
	s.looking <- struct{}{} // logins wait for this lookup, newServer does not
	s.running.Go(func() {
		defer func() { <-s.looking }()
		s.lookupAlone()
	})
	return s
}

// ask sends r as often as configured and returns the first good reply's verdict.
func (s *server) ask(ctx context.Context, r authz.Request) (authz.Verdict, error) {
	s.stats.requests.Add(1)
	if err := s.takeSlot(ctx); err != nil {
		return s.unsent(err)
	}
	defer func() { <-s.slots }()
	x, err := s.begin(ctx, r)
	if err != nil {
		return s.unsent(err)
	}
	defer func() { s.withdraw(x) }() // x changes when the request moves

	start := time.Now()
	timer := time.NewTimer(s.cfg.Timeout) // set anew for each try
	defer timer.Stop()
	var sendErr error
	for try := 1; try <= s.cfg.Tries; try++ {
		if try > 1 {
			s.stats.retransmits.Add(1)
		}
		x, err = s.transmit(ctx, r, x)
		if err != nil {
			sendErr = err
		}
		timer.Reset(wait(s.cfg.Timeout, mathrand.Float64())) //nolint:gosec // spreads load, protects nothing
		select {
		case got := <-x.reply:
			if s.down.Swap(false) {
				s.log.Info("radius server answers again", telemetry.Address, x.socket.remote)
			}
			return s.verdict(x, got, r), nil
		case <-timer.C:
		case <-ctx.Done():
			v, err := s.unanswered(x, try, time.Since(start), sendErr, context.Cause(ctx))
			if errors.Is(err, context.DeadlineExceeded) { // not when the peer hung up: that says nothing about the server
				s.failed(v.Detail)
			}
			return v, err
		case <-s.ended.Done():
			return s.unanswered(x, try, time.Since(start), sendErr, errClosed)
		}
	}
	v, err := s.unanswered(x, s.cfg.Tries, time.Since(start), sendErr, nil)
	s.failed(v.Detail)
	return v, err
}

// transmit sends x once. If its socket is broken, or leads to an address that is not the server's any more, the request
// starts anew on another one, at once: that is no reason to lose a timeout. It returns the exchange to go on with.
func (s *server) transmit(ctx context.Context, r authz.Request, x *exchange) (*exchange, error) {
	if !s.isRetired(x.socket) {
		if err := s.send(x); err == nil {
			return x, nil
		}
	}
	y, err := s.begin(ctx, r) // the same packet can't be used: its identifier belongs to the old socket
	if err != nil {
		return x, err
	}
	y.saw.Store(x.saw.Load())
	y.unreachable.Store(x.unreachable.Load())
	s.withdraw(x)
	return y, s.send(y)
}

// takeSlot waits, until ctx ends, while every identifier is taken.
func (s *server) takeSlot(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("all %d identifiers are in use: %w", cap(s.slots), context.Cause(ctx))
	case <-s.ended.Done():
		return errClosed
	}
}

// begin gives r an identifier on a socket and builds its packet, for a caller that holds a slot. It looks the server's
// name up if that has not worked so far.
func (s *server) begin(ctx context.Context, r authz.Request) (*exchange, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := s.known(ctx); err != nil {
		return nil, err
	}
	x := &exchange{reply: make(chan reply, 1)}
	rand.Read(x.authenticator[:]) // never fails
	if err := s.assign(x); err != nil {
		return nil, err
	}
	packet, err := request(asking{
		Request: r, nasIdentifier: s.cfg.NASIdentifier, nasAddress: localAddr(x.socket.conn),
		authenticator: x.authenticator, secret: s.cfg.Secrets[0],
	}, x.id)
	if err != nil {
		s.withdraw(x)
		return nil, err
	}
	x.packet = packet
	return x, nil
}

// assign gives x an identifier of a socket to the server's present address, which it opens if need be. Slots bound how
// many that can become: a socket is only full if 256 requests with a slot are on it, and retired ones do not count.
func (s *server) assign(x *exchange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	for _, k := range s.sockets {
		if !k.retired && k.unused > 0 {
			k.take(x)
			return nil
		}
	}
	k, err := s.open()
	if err != nil {
		return err
	}
	k.take(x)
	return nil
}

// open adds a socket to the server's address. s.mu is held.
func (s *server) open() (*socket, error) {
	var local *net.UDPAddr
	if s.cfg.SourceAddress.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.cfg.SourceAddress, 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(s.address)) // connects only, no packet is sent
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	k := newSocket(conn, s.address)
	s.sockets = append(s.sockets, k)
	s.running.Go(func() { s.read(k) })
	return k, nil
}

// withdraw gives x's identifier back, and closes its socket if that was only waiting for it.
func (s *server) withdraw(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.socket.put(x)
	s.closeIfDone(x.socket)
}

// retire ends the use of k for new requests; those under way may still get their replies.
func (s *server) retire(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.retired = true
	s.closeIfDone(k)
}

func (s *server) isRetired(k *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k.retired
}

// closeIfDone closes k if it is retired and nothing waits on it. s.mu is held.
func (s *server) closeIfDone(k *socket) {
	if !k.retired || k.unused < identifiers || k.isClosed {
		return
	}
	k.isClosed = true
	k.conn.Close() //nolint:errcheck // nothing is buffered, and nothing could be done
	s.sockets = slices.DeleteFunc(s.sockets, func(o *socket) bool { return o == k })
}

// noteUnreachable tells the requests under way on k that an ICMP error came.
func (s *server) noteUnreachable(k *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range k.pending {
		if x != nil {
			x.unreachable.Store(true)
		}
	}
}

// send writes x's packet once. An error means that the socket can't send any more, and it is retired.
func (s *server) send(x *exchange) error {
	var err error
	// A pending ICMP error is returned in place of sending, once each. Other requests on the socket may have caused some.
	for range 3 {
		_, err = x.socket.conn.Write(x.packet)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		s.stats.unreachable.Add(1)
		x.unreachable.Store(true)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // goes on waiting, and sends again when it is time to
	}
	s.stats.sendErrors.Add(1)
	s.retire(x.socket)
	return fmt.Errorf("send: %w", err)
}

// verdict reads a good reply.
func (s *server) verdict(x *exchange, got reply, r authz.Request) authz.Verdict {
	switch radius.Code(got.packet[0]) {
	case radius.CodeAccessAccept:
		s.stats.accepts.Add(1)
	case radius.CodeAccessReject:
		s.stats.rejects.Add(1)
	default: // verify let no other code through
		s.stats.challenges.Add(1)
	}
	return interpret(got.packet, answering{
		server: s.cfg.Name, method: r.Method, id: r.ID, mppeWanted: r.MPPEWanted,
		authenticator: x.authenticator, secret: s.cfg.Secrets[got.secret],
	})
}

// unsent is what becomes of a request that never had a packet.
func (s *server) unsent(err error) (authz.Verdict, error) {
	s.stats.noAnswers.Add(1)
	return authz.NoAnswer(tenant.ReasonRadiusTimeout, fmt.Sprintf("nothing could be sent to %s: %v", s.cfg.Name, err), err)
}

// unanswered says why x came to nothing after n datagrams.
func (s *server) unanswered(x *exchange, n int, took time.Duration, sendErr, cause error) (authz.Verdict, error) {
	s.stats.noAnswers.Add(1)
	where := fmt.Sprintf("%s (%s)", s.cfg.Name, x.socket.remote)
	if x.noted(DropNoMessageAuthenticator) {
		detail := where + " answers without a Message-Authenticator, and messageAuthenticator " +
			s.cfg.MessageAuthenticator + " of this RADIUS server refuses such answers (CVE-2024-3596): "
		if s.cfg.MessageAuthenticator == ModeAuto {
			detail += "it has sent them before, so their absence may be an attack; " +
				"set messageAuthenticator to OFF if the server was really changed to send none"
		} else {
			detail += "make the server sign its answers (FreeRADIUS: 3.2.5 or later, or add Message-Authenticator " +
				"to the reply in post-auth), or set messageAuthenticator to AUTO"
		}
		return authz.NoAnswer(tenant.ReasonRadiusNoMessageAuthenticator, detail, cause)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no usable answer from %s to %d requests in %s", where, n, took.Round(10*time.Millisecond))
	for _, h := range []struct {
		is   bool
		text string
	}{
		{
			x.saw.Load() == 0 && !x.unreachable.Load() && sendErr == nil,
			"nothing came back, which is also what servers do that don't know this client or have another secret for it",
		},
		{x.noted(DropResponseAuthenticator), "answers came with a wrong Response Authenticator: the secrets probably differ"},
		{x.noted(DropMessageAuthenticator), "answers came with a wrong Message-Authenticator"},
		{x.noted(DropManyAuthenticators), "answers came with several Message-Authenticators"},
		{x.noted(DropAttributes) || x.noted(DropAuthenticatorLength), "answers came malformed"},
		{x.noted(DropCode), "answers came with a code that does not answer an Access-Request"},
		{x.unreachable.Load(), "the host says that the port is unreachable: the server may not be running"},
	} {
		if h.is {
			b.WriteString("; " + h.text)
		}
	}
	if sendErr != nil {
		fmt.Fprintf(&b, "; %v", sendErr)
	}
	return authz.NoAnswer(tenant.ReasonRadiusTimeout, b.String(), cause)
}

// failed follows a request that used up its tries: the server's name may point elsewhere by now.
func (s *server) failed(detail string) {
	if !s.down.Swap(true) {
		s.log.Warn("radius server does not answer", telemetry.Detail, detail)
	}
	if _, err := netip.ParseAddr(s.cfg.Address); err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || time.Since(s.lastLookup) < lookupPause {
		return
	}
	s.lastLookup = time.Now()
	s.running.Go(s.lookupAlone)
}

// lookupAlone looks the name up for no login in particular.
func (s *server) lookupAlone() {
	ctx, cancel := context.WithTimeout(s.ended, lookupTimeout)
	defer cancel()
	if err := s.lookup(ctx); err != nil {
		s.log.Warn("radius server name not found", telemetry.Address, s.cfg.Address, telemetry.Error, err)
	}
}

// known returns when the server's address is known.
func (s *server) known(ctx context.Context) error {
	s.mu.Lock()
	known := s.address.IsValid()
	s.mu.Unlock()
	if known {
		return nil
	}
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-ctx.Done():
		return fmt.Errorf("look up %s: %w", s.cfg.Address, context.Cause(ctx))
	case <-s.ended.Done():
		return errClosed
	}
	s.mu.Lock()
	known = s.address.IsValid() // the one who was before us in the queue may have found it
	s.mu.Unlock()
	if known {
		return nil
	}
	return s.lookup(ctx)
}

// lookup finds the server's address by its name and retires the sockets to another one.
func (s *server) lookup(ctx context.Context) error {
	s.stats.lookups.Add(1)
	found, err := s.env.lookup(ctx, s.cfg.Address)
	if err != nil {
		return fmt.Errorf("look up %s: %w", s.cfg.Address, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	found = slices.DeleteFunc(found, func(a netip.Addr) bool {
		return !a.IsValid() || s.cfg.SourceAddress.IsValid() && a.Is4() != s.cfg.SourceAddress.Is4()
	})
	if len(found) == 0 {
		return fmt.Errorf("look up %s: no usable address", s.cfg.Address)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastLookup = time.Now()
	// A lookup comes after a failure, so where there is a choice the address in use is not the one to stay with.
	next := found[(slices.Index(found, s.address.Addr())+1)%len(found)]
	s.address = netip.AddrPortFrom(next, uint16(s.cfg.AuthPort))
	for _, k := range slices.Clone(s.sockets) {
		if k.remote != s.address {
			k.retired = true
			s.closeIfDone(k)
		}
	}
	return nil
}

// drop counts a datagram that is not used, and logs the first of its kind each minute.
func (s *server) drop(d Drop) {
	s.stats.drops[d].Add(1)
	if d == DropLate || d == DropDuplicate {
		return // part of every retransmission
	}
	now := time.Now().UnixNano()
	last := s.warned[d].Load()
	if (last == 0 || now-last >= int64(warnPause)) && s.warned[d].CompareAndSwap(last, now) {
		s.log.Warn("radius reply dropped", telemetry.Drop, d.String(), telemetry.Count, s.stats.drops[d].Load())
	}
}

func (s *server) snapshot() Stats {
	st := s.stats.snapshot()
	st.InFlight = len(s.slots)
	s.mu.Lock()
	st.Sockets = len(s.sockets)
	s.mu.Unlock()
	return st
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.end()
	for _, k := range slices.Clone(s.sockets) {
		k.retired = true
		if !k.isClosed {
			k.isClosed = true
			k.conn.Close() //nolint:errcheck // nothing is buffered
		}
	}
	s.sockets = nil
	s.mu.Unlock()
	s.running.Wait()
}

func localAddr(c *net.UDPConn) netip.Addr {
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
