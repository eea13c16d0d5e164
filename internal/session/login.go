package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/accounting"
	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
	"concentrator/internal/wipe"
)

// decideTimeout bounds one decision, RADIUS retransmissions included.
const decideTimeout = 25 * time.Second

// outcome is a decision on one authentication attempt.
type outcome struct {
	decision ppp.Decision
	stage    tenant.Stage
	detail   string // for operators
	tenant   string // resource name; empty if it is not known
	user     string
	trace    authz.Trace
	grant    *granted // nil: refused, or the decision is a further question
}

// granted is what an admitted user holds and may do.
type granted struct {
	profile        string
	detail         string // for operators: what was asked for and is not applied
	network        Network
	routes         []netip.Prefix
	acl            acl
	mtu            int
	mppe           tenant.MPPE
	keys           tenant.KeyPair
	idleTimeout    time.Duration
	sessionTimeout time.Duration
	closes         time.Time // when its profile's hours are over; zero: never
	rate           tenant.RateLimit
	dscp           policy.DSCP
	inform         dhcp.Config        // what the client is told when it asks, but for the addresses
	account        accounting.Session // how it is called in accounting
	release        func()             // gives the address back
}

// refusal is an error that says why a login is refused, at which stage, and what its user is told.
type refusal struct {
	stage   tenant.Stage
	reason  tenant.Reason
	detail  string
	message string
	retry   bool // the link may go on

	eap            []byte // the EAP Failure that goes with it; nil: the link makes one
	restart        bool   // EAP may begin anew
	changePassword bool   // MS-CHAPv2: a new password may follow
	outOfHours     bool   // it is the time of day that is wrong
}

func (r *refusal) Error() string { return string(r.reason) + ": " + r.detail }

// deciding is a decision under way.
type deciding struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the answer is in the mailbox
}

// decide asks who the client is, on a goroutine of its own: RADIUS may take its time. The answer comes back through
// the session's mailbox. One decision of a session follows the other: were they to overtake each other, the session
// would end up with the keys, the address and the place of the wrong one.
func (m *Manager) decide(s *session, r ppp.AuthRequest) {
	ctx, cancel := context.WithTimeout(s.traced.Within(s.ctx), decideTimeout)
	before := s.asking
	now := &deciding{cancel: cancel, done: make(chan struct{})}
	s.asking, s.serial = now, r.Serial
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		defer close(now.done)
		defer cancel()
		if before != nil {
			before.cancel() // nobody waits for it any more
			<-before.done
		}
		wipe.Stack(func() { s.answer(m.login(ctx, s, r)) })
		r.Wipe()
	}()
}

// answer leaves a decision in the mailbox. A session that is gone, or that asked anew meanwhile, takes nothing with it.
func (s *session) answer(o *outcome) {
	s.mu.Lock()
	stale := s.mailbox
	if s.dead {
		stale = o
	} else {
		s.mailbox = o
	}
	s.mu.Unlock()
	stale.drop()
	s.tell(event{decided: true})
}

func (o *outcome) drop() {
	if o != nil && o.grant != nil {
		o.grant.drop()
	}
}

// drop gives back what an admitted user holds, and clears the keys.
func (g *granted) drop() {
	g.release()
	wipeKeys(g.keys)
}

func wipeKeys(k tenant.KeyPair) {
	clear(k.Send)
	clear(k.Recv)
}

// closeMailbox makes sure that no decision is taken any more.
func (s *session) closeMailbox() {
	s.mu.Lock()
	o := s.mailbox
	s.mailbox, s.dead = nil, true
	s.mu.Unlock()
	o.drop()
}

// decided takes the decision from the mailbox and hands it to the link. One that is not about the latest login, or comes
// during the goodbye, changes nothing.
func (s *session) decided(now time.Time) {
	s.mu.Lock()
	o := s.mailbox
	s.mailbox = nil
	s.mu.Unlock()
	if o == nil {
		return
	}
	if o.decision.Serial != s.serial || s.terminated {
		o.drop()
		return
	}
	s.update(func(i *Info) {
		if o.tenant != "" {
			i.Tenant, i.Name = o.tenant, o.tenant+"/sessions/"+s.id
		}
		if o.user != "" {
			i.User = printable(o.user)
		}
		if o.grant != nil {
			i.Profile, i.RateLimit = o.grant.profile, o.grant.rate
		}
	})
	s.setTrace(o.trace)
	switch {
	case o.grant == nil && o.decision.Next != nil: // a further question of EAP
		if o.decision.Next.Timeout > 0 { // a user types
			s.setupBy = s.typing(now, o.decision.Next.Timeout)
		}
	case o.grant == nil && o.decision.Restart:
		s.log.Info("login begins anew", telemetry.Tenant, o.tenant, telemetry.Detail, o.detail)
	case o.grant == nil:
		s.refuse(o.stage, o.decision.Reason, o.detail)
		if o.decision.Retry || o.decision.ChangePassword { // a user types
			s.setupBy = now.Add(typingTimeout)
		}
	default:
		if s.verdict != nil { // authenticated anew
			s.verdict.drop()
		}
		s.verdict, s.attached, s.mustEncrypt = o.grant, nil, false
		s.frames.SetLimit(framesPerSecond)
		s.frames.SetBurst(framesBurst)
		s.setupBy, s.within = now.Add(networkTimeout), networkTimeout
		if o.grant.mppe.Policy == tenant.MPPERequired {
			s.setupBy, s.within = now.Add(encryptionTimeout), encryptionTimeout
		}
	}
	s.link.Decide(now, o.decision)
}

// typing is by when a call must be authenticated whose user is asked something, and has so long to answer. It is never
// earlier than it was, and never puts off a call for ever.
func (s *session) typing(now time.Time, wait time.Duration) time.Time {
	by := now.Add(min(wait, typingTimeout))
	if most := s.ticket.started.Add(maxTyping); by.After(most) {
		by = most
	}
	if by.Before(s.setupBy) {
		return s.setupBy
	}
	return by
}

// login decides one attempt. It blocks: on the backend, and on sessions that must end first.
func (m *Manager) login(ctx context.Context, s *session, r ppp.AuthRequest) *outcome {
	o := &outcome{decision: ppp.Decision{Serial: r.Serial}, stage: tenant.StageAuthentication}
	ctx, span := telemetry.StartSpan(ctx, telemetry.SpanDecision)
	defer span.End()
	span.Set(telemetry.Method, string(r.Method))
	err := errors.New(ownFault)
	m.cfg.Faults.Guard(s.log, "sessions/"+s.id, func() { err = m.tryLogin(ctx, s, r, o) })
	span.Set(telemetry.Tenant, o.tenant)
	if err == nil {
		return o
	}
	o.grant = nil
	m.slots.unauthenticate(s.ticket)
	var no *refusal
	if !errors.As(err, &no) {
		s.log.Error("login could not be decided", telemetry.Error, err)
		no = &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonProtocolError,
			detail: err.Error(), message: "The server could not decide the login",
		}
	}
	span.Fail(string(no.reason))
	o.stage, o.detail = no.stage, no.detail
	o.decision.Reason, o.decision.Message, o.decision.Retry = no.reason, no.message, no.retry
	o.decision.EAP, o.decision.Restart, o.decision.ChangePassword = no.eap, no.restart, no.changePassword
	o.decision.OutOfHours = no.outOfHours
	return o
}

func (m *Manager) tryLogin(ctx context.Context, s *session, r ppp.AuthRequest, o *outcome) error {
	t, user, err := m.resolve(&s.carrier, r.Name)
	if err != nil {
		return err
	}
	o.tenant, o.user = t.Name, user
	if t.Suspended {
		return &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonTenantSuspended,
			detail: t.Name + " is suspended", message: "This service is suspended",
		}
	}
	backend, err := m.backend(t)
	if err != nil {
		return err
	}
	ask := authz.Request{
		Caller: authz.Caller{
			Tenant: strings.TrimPrefix(t.Name, "tenants/"), SessionID: s.id, Protocol: s.carrier.protocol,
			ClientAddress: s.snapshot().ClientAddress.Addr(), ListenerAddress: s.carrier.local.Addr(),
			NASPort: uint32(s.call.ID()), TunnelClient: s.carrier.client, TunnelID: s.carrier.tunnelID(),
		},
		User: user, PeerName: r.Name,
		Method: r.Method, ID: r.ID, Challenge: r.Challenge, Response: r.Response, Password: r.Password,
		NewPassword: r.NewPassword, EAP: r.EAP, State: r.State,
		MTU: r.PeerMRU, MPPEWanted: s.carrier.ccp,
	}
	ask.ClientName, ask.ClientVersion = s.identification()
	pass, err := m.mayAsk(s, t, user, r)
	if err != nil {
		return err
	}
	v, err := backend.Authenticate(ctx, ask)
	defer func() {
		if o.grant == nil { // something else has refused the login
			wipeKeys(v.Keys)
		}
	}()
	s.settle(ctx, pass, r, v, err)
	o.trace = v.Trace
	if none := (*authz.NoAnswerError)(nil); errors.As(err, &none) {
		return &refusal{
			stage: tenant.StageAuthentication, reason: none.Reason, detail: none.Detail,
			message: "The authentication service does not answer", restart: v.Restart,
		}
	}
	if err != nil {
		return fmt.Errorf("ask %s of %s: %w", t.Backend, t.Name, err)
	}
	if v.Deny != "" {
		return &refusal{
			stage: tenant.StageAuthentication, reason: v.Deny, detail: v.Detail, message: v.Message, retry: v.Retry,
			eap: v.EAP, restart: v.Restart, changePassword: v.ChangePassword,
		}
	}
	if n := v.Next; n != nil {
		o.decision.Next = &ppp.EAPStep{Packet: n.EAP, Timeout: n.Timeout, State: n.State}
		return nil
	}
	p, err := m.profileOf(t.Name, v.Profile)
	if err != nil {
		return err
	}
	closes, err := checkHours(p, time.Now())
	if err != nil {
		return err
	}
	mppe, err := encryption(p, &s.carrier, t.Backend, r.Method, v)
	if err != nil {
		return err
	}
	if a := s.accounted(); a != nil && (a.Tenant != ask.Tenant || a.User != cmp.Or(v.UserName, user)) {
		return &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonProtocolError,
			detail:  fmt.Sprintf("a live session of user %s can't become one of %s", printable(a.User), printable(user)),
			message: "Hang up first",
		}
	}
	rules, err := m.aclFor(t.Name, p, v.ACL)
	if err != nil {
		return err
	}
	// What the same client has left behind goes first, so that no limit counts it.
	s.carrier.tunnel.Authenticated()
	s.m.door.know(&s.carrier)
	for _, o := range m.superseded(s) {
		await(ctx, o.done)
	}
	who := user
	if r.Method == tenant.AuthEAP { // the name outside of EAP proves nothing: it may be anybody's
		who = nameAt(t, cmp.Or(v.UserName, user))
	}
	if err := m.takePlace(ctx, s, t, who, v); err != nil {
		return err
	}
	g := &granted{
		profile: p.Name, detail: v.Detail, routes: v.Routes, mtu: p.MTU, mppe: mppe, keys: v.Keys,
		idleTimeout: p.IdleTimeout, sessionTimeout: p.SessionTimeout, closes: closes, rate: rateLimit(p, v), dscp: dscp(p),
		acl: rules,
		account: accounting.Session{
			Caller: ask.Caller, User: cmp.Or(v.UserName, user), Method: r.Method, Local: t.Backend != tenant.BackendRADIUS,
			Server: v.Trace.Server, Routes: v.Routes, Class: v.Class, Domain: v.Domain, InterimInterval: cmp.Or(v.InterimInterval, p.AcctInterimInterval),
		},
	}
	if v.MTU > 0 {
		g.mtu = v.MTU
	}
	if v.IdleTimeout > 0 {
		g.idleTimeout = v.IdleTimeout
	}
	if v.SessionTimeout > 0 {
		g.sessionTimeout = v.SessionTimeout
	}
	if g.network = m.network(t.Name); g.network == nil {
		return &refusal{
			stage: tenant.StageAddress, reason: tenant.ReasonPoolExhausted,
			detail: "the network of " + t.Name + " is not up; the log says why", message: "The network is not available",
		}
	}
	local, addr, release, err := m.address(ctx, s, t, who, p, v)
	if err != nil {
		return err
	}
	g.release = release
	o.grant = g
	g.account.Address = addr
	o.decision.Success, o.decision.Message, o.decision.EAP = v.Success, v.Message, v.EAP
	o.decision.Grant = ppp.Grant{Local: local, Address: addr, DNS: p.DNSServers, WINS: p.WINSServers, MPPE: mppe}
	if len(v.DNS) > 0 {
		o.decision.Grant.DNS = v.DNS
	}
	if len(v.WINS) > 0 {
		o.decision.Grant.WINS = v.WINS
	}
	g.inform = dhcp.Config{
		DNS: o.decision.Grant.DNS, WINS: o.decision.Grant.WINS, Suffix: p.DNSSuffix, Routes: p.ClientRoutes,
	}
	return nil
}

// resolve finds the tenant that a user name asks for on a listener, and the user's name there: a realm of one of the
// listener's tenants decides, else the tenant that IKE has proved, else the listener's default. A proven tenant and the
// realm must agree: a user of one tenant never enters through another's PSK.
func (m *Manager) resolve(c *carrier, name string) (*store.Tenant, string, error) {
	l, err := store.Shared[store.Listener](m.cfg.Store, c.listener)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", c.listener, err)
	}
	user, realm := tenant.SplitRealm(name)
	home := defaultTenant(l)
	if c.proven != "" {
		home = c.proven
	}
	var fallback, named *store.Tenant
	for _, tn := range l.Tenants {
		t, err := store.Shared[store.Tenant](m.cfg.Store, tn)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("read %s: %w", tn, err)
		}
		if tn == home {
			fallback = t
		}
		ofRealm := realm != "" && slices.ContainsFunc(t.Realms, func(r string) bool { return strings.EqualFold(r, realm) })
		if ofRealm && (named == nil || tn == c.proven) {
			named = t
		}
	}
	mismatch := func(detail, message string) error {
		return &refusal{stage: tenant.StageAuthentication, reason: tenant.ReasonTenantMismatch, detail: detail, message: message}
	}
	switch {
	case c.proven != "" && fallback == nil:
		return nil, "", mismatch(fmt.Sprintf("%s is no tenant of %s any more", c.proven, c.listener), "Unknown realm")
	case c.proven != "" && named != nil && named.Name != c.proven:
		return nil, "", mismatch(
			fmt.Sprintf("user %s is of another tenant of %s than %s, as whose peer it came in", printable(name), c.listener, c.proven), "Unknown realm")
	case named != nil && !named.RealmStripping:
		return named, name, nil
	case named != nil:
		return named, user, nil
	case fallback == nil:
		return nil, "", mismatch(
			fmt.Sprintf("realm %q is of no tenant of %s, which has no default tenant", printable(realm), c.listener), "Unknown realm")
	}
	return fallback, name, nil
}

// nameAt is a user's name without a realm that the tenant strips.
func nameAt(t *store.Tenant, name string) string {
	user, realm := tenant.SplitRealm(name)
	if t.RealmStripping && slices.ContainsFunc(t.Realms, func(r string) bool { return strings.EqualFold(r, realm) }) {
		return user
	}
	return name
}

// defaultTenant is the listener's own, or its only one.
func defaultTenant(l *store.Listener) string {
	if l.DefaultTenant == "" && len(l.Tenants) == 1 {
		return l.Tenants[0]
	}
	return l.DefaultTenant
}
