package coa

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/telemetry"
)

const (
	// DefaultWindow is how far an Event-Timestamp may be from our clock, RFC 5176 section 6.3.
	DefaultWindow = 300 * time.Second

	// patience is how long a request may take, its wait for the Host included.
	patience = 10 * time.Second
	// logEvery is the pause between two lines of the log about one kind of Drop.
	logEvery = time.Minute
)

// Host knows the live sessions. It is called from many goroutines at once, for one session too.
type Host interface {
	// Sessions returns the live sessions of a tenant, given by its ID. The result is the caller's.
	Sessions(tenant string) []Session
	// Disconnect ends a session, for the reason COA_DISCONNECT. It returns when its end is sure, not when all is cleared away.
	//
	// ErrNotFound means that it has ended. A *Refusal says its own Error-Cause; other errors are Resources.
	Disconnect(ctx context.Context, id string) error
	// Change does all of c to a session, or nothing. It returns when that is done. Errors are those of Disconnect; an ACL
	// that is not there is InvalidValue.
	Change(ctx context.Context, id string, c authz.Change) error
}

// Session is what a request can know a live session by: what our accounting says of it.
type Session struct {
	ID             string // Acct-Session-Id
	User           string // User-Name
	CallingStation string // Calling-Station-Id
	CalledStation  string // Called-Station-Id
	Address        netip.Addr
	NASPort        uint32
	Class          [][]byte
}

// Config is what New needs.
type Config struct {
	Host Host
	Log  *slog.Logger // nil: slog.Default()

	Faults *telemetry.Faults // told of panics; nil: only Log is

	Window           time.Duration // for Event-Timestamps, to both sides of our clock; 0: DefaultWindow
	RequireTimestamp bool          // drop what has no Event-Timestamp: then nothing that was overheard can be sent again

	NASIdentifier string              // that our requests have; empty: any NAS-Identifier is taken for ours
	NASAddresses  func() []netip.Addr // our addresses towards servers; nil, or none: any NAS-IP-Address is taken for ours
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	cfg     Config
	sources atomic.Pointer[[]Source]

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of requests under way, and calls of Serve

	mu       sync.Mutex // guards all below
	closed   bool
	conns    []net.PacketConn // of the calls of Serve
	stamped  *seen            // requests that have an Event-Timestamp
	plain    *seen            // others
	lanes    map[string]*lane
	pending  int
	stats    Stats // without Pending and with a NAKs of its own
	reported [NumDrops]report
}

// report is what the log was told of one kind of Drop.
type report struct {
	last time.Time
	more uint64 // since then
}

// New returns a Server that knows no Source yet.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Window <= 0 {
		cfg.Window = DefaultWindow
	}
	s := &Server{
		cfg: cfg, plain: newSeen(keepReply), lanes: map[string]*lane{}, stats: Stats{NAKs: map[Cause]uint64{}},
		// A timestamp is good from a Window before its time, when a clock is slow, until a Window after. It has no fractions.
		stamped: newSeen(2*cfg.Window + 2*time.Second),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.sources.Store(new([]Source))
	return s
}

// SetSources replaces who may send requests. Those under way are still done and answered.
func (s *Server) SetSources(sources []Source) {
	list := slices.Clone(sources)
	for i := range list {
		list[i].Prefixes = slices.Clone(list[i].Prefixes)
		list[i].Secrets = slices.Clone(list[i].Secrets)
	}
	s.sources.Store(&list)
}

// Handle takes a packet that came over the TLS connection to a server, given by its resource name, and returns at once. The
// packet is borrowed until then. reply is called at most once, perhaps after Handle has returned and from another
// goroutine, with octets that it may keep and must not change.
func (s *Server) Handle(server string, packet []byte, reply func([]byte)) {
	s.receive(packet, origin{server: server}, func(b []byte) error { reply(b); return nil })
}

// Close ends all calls of Serve and their sockets, and the requests under way, most of them without an answer. It returns when
// no goroutine is left, so the Host must not call it from within a request. It may be called again.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	s.cancel()
	for _, c := range conns {
		c.Close() //nolint:errcheck // nothing is left to be sent
	}
	s.wg.Wait()
}

// receive handles one datagram, borrowed until it returns. The steps have the numbers of doc.go.
func (s *Server) receive(datagram []byte, o origin, reply func([]byte) error) {
	defer s.contain()
	// 1.
	b, bad := packet.Trim(datagram)
	if bad != packet.DropNone {
		s.drop(dropOf(bad), o)
		return
	}
	switch radius.Code(b[0]) {
	case radius.CodeDisconnectRequest, radius.CodeCoARequest:
	default:
		s.drop(DropCode, o)
		return
	}
	// 2. and 3.
	who, drop := verify(*s.sources.Load(), b, o)
	if drop != dropNone {
		s.drop(drop, o)
		return
	}
	// 4.
	q, drop := s.read(b, who)
	if drop != dropNone {
		s.drop(drop, o)
		return
	}
	// 5. and 6.
	known, drop := s.admit(q, o)
	switch {
	case drop != dropNone:
		s.drop(drop, o)
	case known != nil:
		s.send(reply, known)
	default:
		go func() {
			defer s.contain()
			defer s.leave(q)
			s.serve(q, reply) // 7.
		}()
	}
}

// contain keeps a panic in the work for a request from being anybody else's: the request gets no answer.
func (s *Server) contain() {
	if p := recover(); p != nil {
		s.cfg.Faults.Panicked(s.cfg.Log, "CoA", p)
	}
}

// admit says what becomes of a genuine request: it is served (no reply and dropNone; leave must follow), gets the reply that
// it had, or is dropped.
func (s *Server) admit(q *request, o origin) (known []byte, drop Drop) {
	key := seenKey{
		tenant: q.who.tenants[0], server: o.server, from: o.from, id: q.packet.Identifier,
		authenticator: q.packet.Authenticator,
	}
	table, now := s.plain, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.stamped {
		table, key.server, key.from = s.stamped, "", netip.AddrPort{}
	}
	switch e := table.find(key, now); {
	case s.closed:
		return nil, DropOverload
	case e != nil && e.reply == nil:
		return nil, DropDuplicate
	case e != nil:
		s.stats.Repeats++
		return e.reply, dropNone
	}
	if !s.enter(q) {
		return nil, DropOverload
	}
	q.table, q.entry = table, table.add(key, now)
	if q.packet.Code == radius.CodeDisconnectRequest {
		s.stats.Disconnects++
	} else {
		s.stats.Changes++
	}
	return nil, dropNone
}

// serve answers a request. It belongs to the request's own goroutine.
func (s *Server) serve(q *request, reply func([]byte) error) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	var refused *Refusal
	if q.lane.wait(ctx) {
		refused = s.answer(ctx, q)
		q.lane.done()
	} else {
		refused = refuse(Resources, "too many requests are under way")
	}
	if s.ctx.Err() != nil {
		return // what failed because of Close is no answer to anybody
	}
	b, err := q.reply(refused)
	if err != nil {
		// Can't be: read has seen to the length, and the packet is of our own making.
		s.cfg.Log.Error("no reply to a request of a RADIUS server", telemetry.Server, q.who.server, telemetry.Error, err)
		return
	}
	s.mu.Lock()
	q.table.answered(q.entry, b)
	if refused == nil {
		s.stats.ACKs++
	} else {
		s.stats.NAKs[refused.Cause]++
	}
	s.mu.Unlock()
	s.send(reply, b)
	s.log(q, refused)
}

// send writes a reply.
func (s *Server) send(reply func([]byte) error, b []byte) {
	if reply(b) == nil {
		return
	}
	s.mu.Lock()
	s.stats.SendErrors++
	s.mu.Unlock()
}

// drop counts a datagram that is not answered. Everybody can send those, so the log has a line a minute.
func (s *Server) drop(d Drop, o origin) {
	s.mu.Lock()
	s.stats.Drops[d]++
	r, now := &s.reported[d], time.Now()
	r.more++
	count := r.more
	speak := r.last.IsZero() || now.Sub(r.last) >= logEvery
	if speak {
		*r = report{last: now}
	}
	s.mu.Unlock()
	if speak && d != DropDuplicate {
		s.cfg.Log.Warn("CoA or Disconnect dropped", telemetry.Drop, d.String(), telemetry.Address, o.String(),
			telemetry.Count, count)
	}
}

// log tells of an answer.
func (s *Server) log(q *request, refused *Refusal) {
	line := []any{
		telemetry.Tenant, tenantNames(q.who), telemetry.Server, q.who.server,
		telemetry.Message, q.packet.Code.String(), telemetry.Count, len(q.sessions),
	}
	if len(q.sessions) == 1 {
		line = append(line, telemetry.Session, q.sessions[0])
	}
	if refused == nil {
		s.cfg.Log.Info("CoA or Disconnect done", line...)
		return
	}
	s.cfg.Log.Info("CoA or Disconnect refused", append(line, telemetry.Code, uint32(refused.Cause),
		telemetry.Detail, refused.Detail)...)
}
