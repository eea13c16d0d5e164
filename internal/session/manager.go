package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/guess"
	"concentrator/internal/authz/local"
	"concentrator/internal/authz/radius"
	"concentrator/internal/authz/radius/coa"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/tunnel/pptp"
)

// Config is what a Manager is made of. All fields down to MaxSessions are required.
type Config struct {
	Store       *store.Store
	Plane       Plane
	Pools       *ippool.Pools
	Metrics     *telemetry.Metrics
	Log         *slog.Logger
	MaxSessions int // slots of the instance

	Leases          ippool.Storage    // where it is kept who had which address; nil: a restart forgets it
	Ledger          Ledger            // nil: no accounts are kept
	LocalAccounting accounting.Sink   // of tenants without a RADIUS server for accounting; nil: their records wait
	Guesses         *guess.Guard      // nil: one that forgets with the process. The Manager runs it
	CoA             netip.AddrPort    // where CoA- and Disconnect-Requests come in; zero: nowhere
	Tracer          *telemetry.Tracer // nil: log-ins are not traced
	Faults          *telemetry.Faults // where what is wrong is told; nil: nowhere but in the log
	Instance        string
	Version         string
}

// Manager leads all sessions of the instance. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	slots   *admission
	feed    *Feed[Info]
	feeds   feeds
	logins  loginLog
	local   *local.Authenticator
	guesses *guess.Guard
	pptp    PPTP
	ike     IKE
	l2tp    L2TP
	peers   *peers
	errands *errands
	started time.Time
	ctx     context.Context // of all sessions
	cancel  context.CancelFunc
	wg      sync.WaitGroup // all goroutines
	changed chan struct{}  // the store, or a network, did

	draining          atomic.Bool  // new calls are refused
	accepted, refused atomic.Int64 // log-ins since the start
	listed            listed
	door              *door
	flooded           atomic.Uint64 // messages of L2TP outside IPsec that found too many waiting
	wanted            wanted
	captures          captures

	passing                       sync.Mutex // held by a pass of the reconciler, and by closeAll; taken before mu
	over                          bool       // closeBooks has been there; guarded by passing
	netTroubles, listenerTroubles *troubles
	lastFailure                   string // of a pass, as logged; guarded by passing
	// warned are the warnings that were given once; guarded by passing.
	warned      map[string]bool
	policyCache policyCache                              // guarded by passing
	policies    atomic.Pointer[map[string]*ikev1.Policy] // by listener
	pskUses     pskUses

	radiusMu   sync.Mutex               // guards those below
	radiusRev  int64                    // of the store, that radius was made of; negative: nothing was read yet
	radiusOver bool                     // closeAll has been there
	radius     map[string]*radiusTenant // by tenant
	retired    map[*radius.Client]struct{}

	coa        *coa.Server
	coaSockets map[string]*coaSocket // by namespace; guarded by passing
	unbooked   unbooked
	announced  map[string]bool // tenants that are to have an Accounting-Off; guarded by passing
	// allAnnounced says that those of the start have had their Accounting-On; guarded by passing.
	allAnnounced bool

	aclMu sync.Mutex
	acls  map[string]acl // in use, by name

	mu        sync.Mutex
	closed    bool
	sessions  map[string]*session  // by session ID
	byCall    map[uint16]*session  // by the call or session ID that we gave out
	byMark    index[any]           // by carrier.mark, of those that have one
	byPeer    index[l2tp.Peer]     // by the peer in carrier.name, of L2TP
	networks  map[string]*netState // by tenant
	listeners map[string]*pptpListener
	faces     map[string]*udpFace
	pools     map[string]poolState // by pool resource name
}

// New makes a Manager. Run starts it, and Shutdown must be called even if Run never was.
func New(cfg Config) *Manager {
	m := newManager(cfg)
	m.ike = ikev1.New(ikev1.Config{Log: cfg.Log, Faults: cfg.Faults}, ikeHost{m})
	m.l2tp = l2tp.NewServer(l2tp.Config{
		HostName: cfg.Instance, Log: cfg.Log, Faults: cfg.Faults, MaxHalfOpenPerSource: l2tp.DefaultMaxHalfOpenPerSource,
	}, lns{m})
	return m
}

// newManager makes a Manager without IKE and L2TP.
func newManager(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	if cfg.Ledger == nil {
		cfg.Ledger = unkept{}
	}
	m := &Manager{
		cfg: cfg, log: cfg.Log, slots: newAdmission(cfg.MaxSessions), feed: NewFeed[Info](nil), logins: newLoginLog(), door: newDoor(), started: time.Now(),
		changed: make(chan struct{}, 1),
		ctx:     ctx, cancel: cancel,
		sessions: make(map[string]*session), byCall: make(map[uint16]*session),
		byMark: make(index[any]), byPeer: make(index[l2tp.Peer]),
		radius: make(map[string]*radiusTenant), retired: make(map[*radius.Client]struct{}), radiusRev: -1,
		coaSockets: make(map[string]*coaSocket), announced: make(map[string]bool), acls: make(map[string]acl),
		warned: make(map[string]bool), networks: make(map[string]*netState),
		listeners: make(map[string]*pptpListener), faces: make(map[string]*udpFace), pools: make(map[string]poolState),
		errands: newErrands(), netTroubles: newTroubles(telemetry.FaultNetwork), listenerTroubles: newTroubles(telemetry.FaultListener),
	}
	if m.guesses = cfg.Guesses; m.guesses == nil {
		m.guesses = guess.New(guess.Config{Log: cfg.Log})
	}
	m.feeds = newFeeds(m)
	m.wg.Go(func() { m.guesses.Run(ctx.Done()) })
	m.coa = coa.New(coa.Config{Host: dynamic{m}, Log: cfg.Log, Faults: cfg.Faults, NASIdentifier: cfg.Instance})
	m.peers = newPeers(m)
	m.local = local.New(users{cfg.Store})
	m.pptp = pptp.NewServer(pptp.Config{
		HostName: cfg.Instance, Log: cfg.Log, Faults: cfg.Faults, MaxIdlePerSource: pptp.DefaultMaxIdlePerSource,
	}, calls{m})
	m.wg.Go(func() { m.errands.run(ctx.Done(), m.guarded("errand")) })
	m.wg.Go(func() { m.watchRadius(ctx) })
	m.observe()
	return m
}

// guarded runs what is asked of it and keeps its panic to itself, but for telling of it.
func (m *Manager) guarded(subject string) func(do func()) (done bool) {
	return func(do func()) bool { return m.cfg.Faults.Guard(m.log, subject, do) }
}

// Run brings up what the store says and follows its changes until ctx ends. It returns when ready has been called and
// ctx is over; ready is called once, when the first pass is done.
func (m *Manager) Run(ctx context.Context, ready func()) error {
	m.keepLeases(m.ctx) // before the first pool is configured
	return m.reconcileLoop(ctx, func() {
		m.keepBooks(m.ctx) // not before: records of the last run must find their servers
		if ready != nil {
			ready()
		}
	})
}

// Shutdown says goodbye to all clients, within ctx, then closes the listeners. No call is taken from its begin on.
// Networks stay until the plane is stopped. A client that does not answer is no error.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	all := make([]*session, 0, len(m.sessions))
	for _, s := range m.sessions {
		all = append(all, s)
	}
	m.mu.Unlock()
	for _, s := range all {
		s.force(forcedEnd{reason: tenant.ReasonShutdown, detail: "the server shuts down", polite: true})
	}
	// Some clients are gone and answer nothing: whoever says goodbye after them must still have time for it.
	early, cancel := share(ctx)
	for _, s := range all {
		select {
		case <-s.done:
		case <-early.Done():
			s.force(forcedEnd{reason: tenant.ReasonShutdown, detail: "the server shuts down"})
			<-s.done
		}
	}
	cancel()
	// L2TP says goodbye through IPsec, so IKE goes last.
	var errs []error
	for _, stop := range []struct {
		what string
		f    func(context.Context) error
	}{{"PPTP", m.pptp.Shutdown}, {"L2TP", m.l2tp.Shutdown}, {"IKE", m.ike.Shutdown}} {
		bounded, cancel := share(ctx)
		err := stop.f(bounded)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded): // all the same it has stopped
			m.log.Info("not every client has answered the goodbye", telemetry.Protocol, stop.what)
		case err != nil:
			errs = append(errs, fmt.Errorf("stop %s: %w", stop.what, err))
		}
	}
	bounded, cancel := share(ctx)
	m.closeBooks(bounded)
	cancel()
	m.cancel()
	m.closeAll()
	m.wg.Wait()
	return errors.Join(errs...)
}

// share is half of the time that ctx leaves.
func share(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// network returns the network of a tenant, or nil if it is not up.
func (m *Manager) network(tenantName string) Network {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.networks[tenantName]; n != nil {
		return n.network
	}
	return nil
}

// forget takes a session that ended out of all lists.
func (m *Manager) forget(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s.id)
	if m.byCall[s.call.ID()] == s {
		delete(m.byCall, s.call.ID())
	}
	if s.carrier.mark != nil {
		m.byMark.remove(s.carrier.mark, s)
	}
	if s.carrier.name.peer != nil {
		m.byPeer.remove(s.carrier.name.peer, s)
	}
}

// reach notes that a login has come to a stage: where it ends is recordLogin's.
func (m *Manager) reach(tenantName string, protocol tenant.Protocol, remote netip.AddrPort, stage tenant.Stage) {
	m.cfg.Metrics.Reached(tenantName, string(protocol), string(stage))
	m.log.Debug("login stage", telemetry.Tenant, tenantName, telemetry.Peer, remote, telemetry.Protocol, protocol, telemetry.Stage, stage)
}

// recordLogin keeps one decided attempt for "login list", counts it and logs a refusal. Of many alike some are only counted.
func (m *Manager) recordLogin(a LoginAttempt) {
	switch a.Outcome {
	case OutcomeAccepted:
		m.accepted.Add(1)
	case OutcomeRefused:
		m.refused.Add(1)
	}
	m.cfg.Metrics.Login(a.Tenant, string(a.Protocol), string(a.Outcome), string(a.Stage), string(a.Reason))
	told := a.Outcome != OutcomeRefused || m.listed.may(a.Time, a.Stage, a.Reason)
	if told || !stranger(a.Stage) {
		m.logins.add(a, m.feed.epoch)
	}
	if a.Outcome == OutcomeRefused && told {
		m.log.Info("login refused", telemetry.Tenant, a.Tenant, telemetry.User, a.User, telemetry.Peer, a.ClientAddress,
			telemetry.Protocol, a.Protocol, telemetry.Stage, a.Stage, telemetry.Reason, a.Reason, telemetry.Detail, a.Detail)
	}
}
