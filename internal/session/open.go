package session

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"concentrator/internal/dataplane"
	"concentrator/internal/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// entry is what a listener offers a call before its user is known.
type entry struct {
	listener  *store.Listener
	tenant    *store.Tenant   // the proven one or the default; nil: none, the realm must decide
	profile   *store.Profile  // of that tenant, or of the first that may be meant; nil: none
	meant     []*store.Tenant // those that offer a method
	methods   []tenant.AuthMethod
	nothing   string // why there are no methods
	perSource int
	limit     int // of the listener; negative: none of its own
}

// refusedCall says in general why a call was not taken; each tunnel has its own codes for it.
type refusedCall int

const (
	callFailed      refusedCall = iota // something of ours went wrong
	callBusy                           // no slot
	callNotAccepted                    // the profiles do not allow it
)

// notOpened is a call that was refused, and has been recorded.
type notOpened struct {
	kind   refusedCall
	reason tenant.Reason
	detail string
}

// open is how every call becomes a session: a slot, then the call in its shard, then its goroutine. install puts the call
// into its shard, with what spec lacks: all that is the same for all calls. It is there when open returns, since the
// client may send data as soon as it has the reply.
func (m *Manager) open(c carrier, spec dataplane.CallSpec, install func(dataplane.CallSpec) (Call, error)) (*session, *notOpened) {
	tenantName := c.proven
	refuse := func(kind refusedCall, reason tenant.Reason, detail string) (*session, *notOpened) {
		m.recordLogin(LoginAttempt{
			Tenant: tenantName, Time: time.Now(), Protocol: c.protocol, ClientAddress: c.remote,
			Stage: tenant.StageCall, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
		})
		return nil, &notOpened{kind, reason, detail}
	}
	e, err := m.enter(&c)
	if err != nil {
		return refuse(callFailed, tenant.ReasonProtocolError, err.Error())
	}
	limits := tenant.Limits{}
	if e.tenant != nil {
		tenantName, limits = e.tenant.Name, e.tenant.Limits
	}
	if len(e.methods) == 0 {
		return refuse(callNotAccepted, tenant.ReasonPlaintextNotAllowed, e.nothing)
	}
	if m.draining.Load() {
		return refuse(callBusy, tenant.ReasonDraining, drained)
	}
	if !m.door.may(&c) {
		return refuse(callBusy, tenant.ReasonInstanceLimit, "too many calls from where nobody has logged in")
	}
	s := m.newSession(c, tenantName)
	s.ticket.known = m.door.knows(&c)
	m.endStale(c.mark)
	reason := m.slots.admit(s.ticket, bounds{listener: e.limit, tenant: limits.MaxSessions, perSource: e.perSource})
	if reason != "" {
		s.cancel()
		return refuse(callBusy, reason, fmt.Sprintf("all sessions are taken (%s)", c.listener))
	}
	spec.Namespace, spec.Sink = e.listener.Namespace, s
	s.call, err = install(spec)
	if err != nil {
		m.slots.release(s.ticket)
		s.cancel()
		m.log.Error("call not opened", telemetry.Listener, c.listener, telemetry.Error, err)
		return refuse(callFailed, tenant.ReasonProtocolError, err.Error())
	}
	s.info.Shard = s.call.Shard()
	if why := m.adopt(s); why != "" {
		s.call.Close()
		m.slots.release(s.ticket)
		s.cancel()
		return refuse(callBusy, tenant.ReasonDraining, why)
	}
	echo, mru := tenant.Echo{}, 0
	if e.profile != nil {
		echo, mru = e.profile.Echo, e.profile.MTU
		if !c.ccp {
			mru = min(mru, s.room())
		}
	}
	s.setupBy, s.within = s.info.StartTime.Add(setupTimeout), setupTimeout
	s.link = ppp.NewLink(ppp.Config{
		Name: m.cfg.Instance, MRU: mru, AuthMethods: e.methods, CCP: c.ccp, Echo: echo, Rand: rand.Reader,
		MaxConfigure: maxConfigure,
	}, handler{s})
	s.update(func(*Info) {})
	s.log.Debug("call", telemetry.Call, s.call.ID(), telemetry.Listener, c.listener)
	m.reach(tenantName, c.protocol, c.remote, tenant.StageCall)
	s.traced = m.cfg.Tracer.Login(s.id, string(c.protocol), c.listener)
	s.traced.Reached(string(tenant.StageCall))
	go s.run()
	return s, nil
}

// newSession makes a session that holds nothing yet.
func (m *Manager) newSession(c carrier, tenantName string) *session {
	s := &session{
		reached: tenant.StageCall,
		m:       m, id: newID(), carrier: c,
		inbox: make(chan event, inboxSize), frames: rate.NewLimiter(earlyFramesPerSecond, earlyFramesBurst), forced: make(chan forcedEnd, 4), changes: make(chan changing), done: make(chan struct{}),
	}
	s.leases.pools, s.leases.owner = m.cfg.Pools, s.id
	s.ctx, s.cancel = context.WithCancel(m.ctx)
	now := time.Now()
	s.info = Info{
		Protocol: c.protocol, State: StateEstablishing, Listener: c.listener, ClientAddress: c.remote, StartTime: now,
	}
	if c.peer != nil {
		s.info.NATDetected = c.peer.natted()
	}
	if tenantName != "" {
		s.info.Tenant, s.info.Name = tenantName, tenantName+"/sessions/"+s.id
	}
	s.log = m.log.With(telemetry.Session, s.id, telemetry.Peer, c.remote, telemetry.Protocol, c.protocol)
	s.ticket = &ticket{
		source: c.remote.Addr(), protocol: c.family(), listener: c.listener, tenant: tenantName, started: now, done: s.done,
		evict: func() {
			s.force(forcedEnd{reason: tenant.ReasonInstanceLimit, detail: "made room for another call before it was authenticated"})
		},
		replace: func() { s.force(forcedEnd{reason: tenant.ReasonReplaced, detail: "the same user logged in again"}) },
	}
	return s
}

// adopt lists the session, or says why none is taken any more.
func (m *Manager) adopt(s *session) (why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return "the server shuts down"
	}
	if m.draining.Load() {
		return drained
	}
	m.wg.Add(1)
	m.sessions[s.id], m.byCall[s.call.ID()] = s, s
	if s.carrier.mark != nil {
		m.byMark.add(s.carrier.mark, s)
	}
	if s.carrier.name.peer != nil {
		m.byPeer.add(s.carrier.name.peer, s)
	}
	return ""
}

// endStale ends the session that a client left behind when it died and now calls again: what the old one still sends
// would disturb the new one.
func (m *Manager) endStale(mark any) {
	if mark == nil {
		return
	}
	m.mu.Lock()
	stale := slices.Clone(m.byMark[mark])
	m.mu.Unlock()
	for _, s := range stale {
		s.force(forcedEnd{reason: tenant.ReasonReplaced, detail: "the client called again with the same call ID"})
	}
}

// byID finds the session of a call.
func (m *Manager) byID(id uint16) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byCall[id]
}

// callClosed ends the session of a call that its tunnel has lost.
func (m *Manager) callClosed(id uint16, cause tenant.Reason, detail string) {
	if s := m.byID(id); s != nil {
		s.force(forcedEnd{reason: cause, detail: detail})
	}
}

// enter reads what a listener offers a call. With a proven or a default tenant that is its default profile's methods;
// else those of all the listener's tenants' default profiles, in the order of the tenants.
func (m *Manager) enter(c *carrier) (entry, error) {
	l, err := store.Shared[store.Listener](m.cfg.Store, c.listener)
	if err != nil {
		return entry{}, fmt.Errorf("read %s: %w", c.listener, err)
	}
	e := entry{listener: l, limit: -1, perSource: defaultHalfOpenPerSource, nothing: "no tenant of " + l.Name + " exists"}
	limit := l.MaxPPTPSessions
	if c.family() == tenant.ProtocolL2TP {
		limit = l.MaxL2TPSessions
	}
	if limit != nil {
		e.limit = *limit
	}
	chosen := l.Tenants
	if c.proven != "" {
		chosen = []string{c.proven}
	} else if d := defaultTenant(l); d != "" {
		chosen = []string{d}
	}
	for _, name := range chosen {
		t, err := store.Shared[store.Tenant](m.cfg.Store, name)
		if errors.Is(err, store.ErrNotFound) && len(chosen) > 1 {
			continue // the others go on
		}
		if err != nil {
			return entry{}, fmt.Errorf("read %s of %s: %w", name, l.Name, err)
		}
		p, err := m.profileOf(name, "")
		if err != nil {
			return entry{}, err
		}
		methods, err := offer(p, c, t.Backend)
		e.nothing = p.Name + " leaves no authentication method for " + string(c.protocol) +
			"; see authMethods (EAP needs the RADIUS backend), allowPlaintext and mppe"
		if no := (*refusal)(nil); errors.As(err, &no) {
			e.nothing = no.detail
		}
		if len(methods) > 0 {
			e.meant = append(e.meant, t)
		}
		for _, a := range methods {
			if !slices.Contains(e.methods, a) {
				e.methods = append(e.methods, a)
			}
		}
		if h := t.Limits.HalfOpenPerSource; h != nil && len(chosen) == 1 {
			e.perSource = *h
		}
		if len(chosen) == 1 {
			e.tenant, e.profile = t, p
		} else if e.profile == nil {
			e.profile = p
		}
	}
	return e, nil
}

// newID makes a session ID: 80 random bits, 16 characters of a-z and 2-7.
func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}
