package session

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"concentrator/internal/authz/local"
	"concentrator/internal/authz/radius"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/pptp"
)

// Config is what a Manager is made of. All fields but Instance and Version are required.
type Config struct {
	Store       *store.Store
	Plane       Plane
	Pools       *ippool.Pools
	Metrics     *telemetry.Metrics
	Log         *slog.Logger
	MaxSessions int // slots of the instance
	Instance    string
	Version     string
}

// Manager leads all sessions of the instance. It is safe for concurrent use.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	slots   *admission
	feed    *Feed
	logins  loginLog
	local   *local.Authenticator
	pptp    PPTP
	started time.Time
	ctx     context.Context // of all sessions
	cancel  context.CancelFunc
	wg      sync.WaitGroup // all goroutines
	changed chan struct{}  // the store, or a network, did

	passing sync.Mutex // held by a pass of the reconciler, and by closeAll; taken before mu
	over    bool       // closeAll has been there; guarded by passing
	// unserved are the listeners and protocols that were warned about; guarded by passing.
	unserved map[string]bool

	radiusMu sync.Mutex               // held while a server's name is looked up, which may take seconds
	radius   map[string]*radiusClient // by server resource name
	retired  map[*radius.Client]struct{}

	mu        sync.Mutex
	closed    bool
	sessions  map[string]*session  // by session ID
	byCall    map[uint16]*session  // PPTP calls by the ID that we gave out
	networks  map[string]*netState // by tenant
	listeners map[string]*listenerState
	pools     map[string]poolState // by pool resource name
}

type radiusClient struct {
	etag   string
	client *radius.Client
}

// New makes a Manager. Run starts it.
func New(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		cfg: cfg, log: cfg.Log, slots: newAdmission(cfg.MaxSessions), feed: newFeed(), started: time.Now(),
		changed: make(chan struct{}, 1),
		ctx:     ctx, cancel: cancel,
		sessions: make(map[string]*session), byCall: make(map[uint16]*session),
		radius: make(map[string]*radiusClient), retired: make(map[*radius.Client]struct{}),
		unserved: make(map[string]bool), networks: make(map[string]*netState), listeners: make(map[string]*listenerState),
		pools: make(map[string]poolState),
	}
	m.local = local.New(users{cfg.Store})
	m.pptp = pptp.NewServer(pptp.Config{
		HostName: cfg.Instance, Log: cfg.Log, MaxIdlePerSource: pptp.DefaultMaxIdlePerSource,
	}, calls{m})
	m.observe()
	return m
}

// Run brings up what the store says and follows its changes until ctx ends. It returns when ready has been called and
// ctx is over; ready is called once, when the first pass is done.
func (m *Manager) Run(ctx context.Context, ready func()) error {
	return m.reconcileLoop(ctx, ready)
}

// Shutdown says goodbye to all clients, within ctx, then closes the listeners. No call is taken from its begin on.
// Networks stay until the plane is stopped.
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
	for _, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.force(forcedEnd{reason: tenant.ReasonShutdown, detail: "the server shuts down"})
			<-s.done
		}
	}
	err := m.pptp.Shutdown(ctx)
	m.cancel()
	m.closeAll()
	m.wg.Wait()
	if err != nil {
		return fmt.Errorf("stop PPTP: %w", err)
	}
	return nil
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
}

// recordLogin keeps one decided attempt for "login list", counts it and logs a refusal.
func (m *Manager) recordLogin(a LoginAttempt) {
	a = m.logins.add(a, m.feed.epoch)
	m.cfg.Metrics.Login(a.Tenant, string(a.Protocol), string(a.Outcome), string(a.Stage), string(a.Reason))
	if a.Outcome == OutcomeRefused {
		m.log.Info("login refused", telemetry.Tenant, a.Tenant, telemetry.User, a.User, telemetry.Peer, a.ClientAddress,
			telemetry.Protocol, a.Protocol, telemetry.Stage, a.Stage, telemetry.Reason, a.Reason, telemetry.Detail, a.Detail)
	}
}
