package session

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"concentrator/internal/dataplane"
	"concentrator/internal/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/pptp"
	wire "concentrator/internal/wire/pptp"
)

// calls is the Manager as the PPTP server sees it.
type calls struct{ m *Manager }

var _ pptp.Handler = calls{}

// entry is what a listener offers a call before its user is known.
type entry struct {
	listener  *store.Listener
	tenant    *store.Tenant  // the default; nil: none, the realm must decide
	profile   *store.Profile // of the default tenant; nil: none
	methods   []tenant.AuthMethod
	nothing   string // why there are no methods
	perSource int
	limit     int // of the listener; negative: none of its own
}

// OutgoingCall implements pptp.Handler: a slot, then the call in its shard, then its session.
func (c calls) OutgoingCall(tc pptp.Call, r pptp.CallRequest) pptp.Answer {
	m := c.m
	refuse := func(result uint8, reason tenant.Reason, detail string, tenantName string) pptp.Answer {
		m.recordLogin(LoginAttempt{
			Tenant: tenantName, Time: time.Now(), Protocol: tenant.ProtocolPPTP, ClientAddress: r.Remote,
			Stage: tenant.StageCall, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
		})
		return pptp.Answer{Result: result}
	}
	e, err := m.enter(r.Listener)
	if err != nil {
		return refuse(wire.ResultGeneralError, tenant.ReasonProtocolError, err.Error(), "")
	}
	s := &session{
		reached: tenant.StageLCP,
		m:       m, id: newID(), listener: r.Listener, request: r, tunnel: tc,
		inbox: make(chan event, inboxSize), forced: make(chan forcedEnd, 4), done: make(chan struct{}),
	}
	s.leases.pools, s.leases.owner = m.cfg.Pools, s.id
	s.ctx, s.cancel = context.WithCancel(m.ctx)
	now := time.Now()
	s.info = Info{
		Protocol: tenant.ProtocolPPTP, State: StateEstablishing, Listener: r.Listener,
		ClientAddress: r.Remote, StartTime: now,
	}
	tenantName := ""
	limits := tenant.Limits{}
	if e.tenant != nil {
		tenantName, limits = e.tenant.Name, e.tenant.Limits
		s.info.Tenant, s.info.Name = tenantName, tenantName+"/sessions/"+s.id
	}
	if len(e.methods) == 0 {
		s.cancel()
		return refuse(wire.ResultDoNotAccept, tenant.ReasonPlaintextNotAllowed, e.nothing, tenantName)
	}
	s.log = m.log.With(telemetry.Session, s.id, telemetry.Peer, r.Remote, telemetry.Protocol, tenant.ProtocolPPTP)
	m.endStale(r)
	s.ticket = &ticket{
		source: r.Remote.Addr(), protocol: tenant.ProtocolPPTP, listener: r.Listener, tenant: tenantName, started: now,
		done: s.done,
		evict: func() {
			s.force(forcedEnd{reason: tenant.ReasonInstanceLimit, detail: "made room for another call before it was authenticated"})
		},
		replace: func() { s.force(forcedEnd{reason: tenant.ReasonReplaced, detail: "the same user logged in again"}) },
	}
	if reason := m.slots.admit(s.ticket, bounds{listener: e.limit, tenant: limits.MaxSessions, perSource: e.perSource}); reason != "" {
		s.cancel()
		return refuse(wire.ResultBusy, reason, fmt.Sprintf("all sessions are taken (%s)", r.Listener), tenantName)
	}
	s.call, err = m.cfg.Plane.OpenCall(dataplane.CallSpec{
		Namespace: e.listener.Namespace, Local: r.Local.Addr(), Remote: r.Remote.Addr(), PeerCallID: r.PeerCallID, Sink: s,
	})
	if err != nil {
		m.slots.release(s.ticket)
		s.cancel()
		m.log.Error("call not opened", telemetry.Listener, r.Listener, telemetry.Error, err)
		return refuse(wire.ResultGeneralError, tenant.ReasonProtocolError, err.Error(), tenantName)
	}
	s.info.Shard = s.call.Shard()
	if !m.adopt(s) {
		s.call.Close()
		m.slots.release(s.ticket)
		s.cancel()
		return refuse(wire.ResultBusy, tenant.ReasonDraining, "the server shuts down", tenantName)
	}
	echo, mru := tenant.Echo{}, 0
	if e.profile != nil {
		echo, mru = e.profile.Echo, e.profile.MTU
	}
	s.setupBy = now.Add(setupTimeout)
	s.link = ppp.NewLink(ppp.Config{
		Name: m.cfg.Instance, MRU: mru, AuthMethods: e.methods, CCP: true, Echo: echo, Rand: rand.Reader,
	}, handler{s})
	s.update(func(*Info) {})
	s.log.Debug("call", telemetry.Call, s.call.ID(), telemetry.Listener, r.Listener)
	go s.run()
	return pptp.Answer{CallID: s.call.ID(), Result: wire.ResultConnected}
}

// adopt lists the session, unless the manager shuts down.
func (m *Manager) adopt(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.wg.Add(1)
	m.sessions[s.id], m.byCall[s.call.ID()] = s, s
	return true
}

// endStale ends the session that a client left behind when it died and now calls again: a call ID names one call
// between two addresses (RFC 2637 section 4.1), so what the old one still sends would disturb the new one.
func (m *Manager) endStale(r pptp.CallRequest) {
	m.mu.Lock()
	var stale []*session
	for _, s := range m.byCall {
		if s.request.Remote.Addr() == r.Remote.Addr() && s.request.Local.Addr() == r.Local.Addr() && s.request.PeerCallID == r.PeerCallID {
			stale = append(stale, s)
		}
	}
	m.mu.Unlock()
	for _, s := range stale {
		s.force(forcedEnd{reason: tenant.ReasonReplaced, detail: "the client called again with the same call ID"})
	}
}

// CallClosed implements pptp.Handler.
func (c calls) CallClosed(id uint16, cause tenant.Reason, detail string) {
	c.m.mu.Lock()
	s := c.m.byCall[id]
	c.m.mu.Unlock()
	if s != nil {
		s.force(forcedEnd{reason: cause, detail: detail})
	}
}

// Refused implements pptp.Handler.
func (c calls) Refused(remote, local netip.AddrPort, reason tenant.Reason, detail string) {
	c.m.recordLogin(LoginAttempt{
		Time: time.Now(), Protocol: tenant.ProtocolPPTP, ClientAddress: remote,
		Stage: tenant.StageCall, Outcome: OutcomeRefused, Reason: reason, Detail: detail,
	})
}

// enter reads what a listener offers. With a default tenant that is its default profile's methods; else those of all
// its tenants' default profiles, in the order of the tenants.
func (m *Manager) enter(listener string) (entry, error) {
	l, err := store.Get[store.Listener](m.cfg.Store, listener)
	if err != nil {
		return entry{}, fmt.Errorf("read %s: %w", listener, err)
	}
	e := entry{listener: l, limit: -1, perSource: defaultHalfOpenPerSource, nothing: "no tenant of " + listener + " exists"}
	if l.MaxPPTPSessions != nil {
		e.limit = *l.MaxPPTPSessions
	}
	chosen := l.Tenants
	if d := defaultTenant(l); d != "" {
		chosen = []string{d}
	}
	for _, name := range chosen {
		t, err := store.Get[store.Tenant](m.cfg.Store, name)
		if errors.Is(err, store.ErrNotFound) && len(chosen) > 1 {
			continue // the others go on
		}
		if err != nil {
			return entry{}, fmt.Errorf("read %s of %s: %w", name, listener, err)
		}
		p, err := m.profileOf(name, "")
		if err != nil {
			return entry{}, err
		}
		methods, err := offer(p)
		e.nothing = p.Name + " leaves no authentication method for PPTP; see authMethods, allowPlaintext and mppe"
		if no := (*refusal)(nil); errors.As(err, &no) {
			e.nothing = no.detail
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
