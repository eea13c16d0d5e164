package guess

import (
	"fmt"
	"net/netip"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// Attempt is one log-in that is about to be decided.
type Attempt struct {
	Tenant string // ID, for example "acme"; one that exists
	User   string // as the backend looks it up; any octets
	Source netip.Addr
	// Shared says that many users come from each source, as through a LAC: no source is held up.
	Shared bool
	// PerSecond bounds the tenant's attempts; 0: no bound.
	PerSecond int
}

// Held says that an attempt may not be made now, and why.
type Held struct {
	Wait     time.Duration // until it may
	Kind     Kind          // whose failures hold it up; empty: PerSecond does
	Known    bool          // they are this user's from this source
	Failures int           // as far as they are not forgotten
}

// Detail is one sentence for operators.
func (h *Held) Detail() string {
	wait := (h.Wait + time.Second - 1).Truncate(time.Second)
	switch {
	case h.Kind == "":
		return "more log-ins a second than the tenant may have"
	case h.Known:
		return fmt.Sprintf("%d failures of this user from this address; the next attempt counts in %s", h.Failures, wait)
	case h.Kind == KindUser:
		return fmt.Sprintf("%d failures of this user from addresses without a success; the next attempt counts in %s", h.Failures, wait)
	case h.Kind == KindSource:
		return fmt.Sprintf("%d failures of users who never logged in from this address; the next attempt counts in %s", h.Failures, wait)
	default:
		return fmt.Sprintf("%d failures of the tenant's users from addresses without a success; the next attempt counts in %s",
			h.Failures, wait)
	}
}

// Pass is the right to make one attempt. Exactly one of its methods is to be called, when the outcome is known; further
// calls do nothing, nor does any on a nil Pass. They are not safe for concurrent use.
type Pass struct {
	g        *Guard
	tenant   string
	user     string
	source   netip.Addr
	shared   bool
	over     bool
	reserved struct{ pair, user, source, tenant time.Time }
}

// Allow says whether an attempt may be made: one of the results is nil.
func (g *Guard) Allow(a Attempt) (*Pass, *Held) {
	p := &Pass{g: g, tenant: a.Tenant, user: fold(a.User), source: sourceOf(a.Source), shared: a.Shared}
	p.shared = p.shared || !p.source.IsValid()
	g.mu.Lock()
	defer g.mu.Unlock()
	now, t := g.now(), g.of(a.Tenant)
	pair := t.known.get(p.user).from(p.source)
	if h := g.held(p, t, pair, now); h != nil {
		return nil, h
	}
	if a.PerSecond > 0 {
		if wait := t.bucket.take(a.PerSecond, pair != nil, now); wait > 0 {
			return nil, &Held{Wait: wait}
		}
	}
	if pair != nil {
		p.reserved.pair = pair.reserve(g.policies.Pair, now)
		return p, nil
	}
	if c := t.users.get(p.user); c != nil {
		p.reserved.user = c.reserve(g.policies.User, now)
	}
	if c := t.sources.get(p.source.String()); c != nil && !p.shared {
		p.reserved.source = c.reserve(g.policies.Source, now)
	}
	p.reserved.tenant = t.tenant.reserve(g.policies.Tenant, now)
	return p, nil
}

// held says what holds an attempt up for longest; nil: nothing does. mu is held.
func (g *Guard) held(p *Pass, t *state, pair *knownSource, now time.Time) *Held {
	var h *Held
	look := func(kind Kind, policy Policy, c *counter) {
		if c == nil {
			return
		}
		if wait := c.wait(now); wait > 0 && (h == nil || wait > h.Wait) {
			c.drain(policy, now)
			h = &Held{Wait: wait, Kind: kind, Known: pair != nil, Failures: c.failures()}
		}
	}
	if pair != nil {
		look(KindUser, g.policies.Pair, &pair.counter)
		return h
	}
	look(KindUser, g.policies.User, t.users.get(p.user))
	if !p.shared {
		look(KindSource, g.policies.Source, t.sources.get(p.source.String()))
	}
	look(KindTenant, g.policies.Tenant, &t.tenant)
	return h
}

// begin ends the pass; it says whether it was not over before.
func (p *Pass) begin() bool {
	if p == nil || p.over {
		return false
	}
	p.over = true
	return true
}

// Fail says that the attempt was a wrong guess.
func (p *Pass) Fail() {
	if !p.begin() {
		return
	}
	for _, kind := range p.g.fail(p) {
		p.g.log.Info("log-ins held up", telemetry.Tenant, "tenants/"+p.tenant, telemetry.Reason, tenant.ReasonLockedOut,
			telemetry.User, printable(p.user), telemetry.Peer, p.source, telemetry.Detail, "of kind "+string(kind))
	}
}

// fail counts the failure, and says what it holds up that was not before.
func (g *Guard) fail(p *Pass) (began []Kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, t := g.now(), g.of(p.tenant)
	count := func(kind Kind, policy Policy, c *counter, r ref) {
		if c.fail(policy, now) {
			began = append(began, kind)
		}
		g.touch(r)
	}
	if pair := t.known.get(p.user).from(p.source); pair != nil {
		count(KindUser, g.policies.Pair, &pair.counter, ref{p.tenant, inKnown, p.user})
		return began
	}
	count(KindUser, g.policies.User, t.users.use(p.user), ref{p.tenant, inUsers, p.user})
	if !p.shared {
		s := p.source.String()
		count(KindSource, g.policies.Source, t.sources.use(s), ref{p.tenant, inSources, s})
	}
	count(KindTenant, g.policies.Tenant, &t.tenant, ref{p.tenant, inTenant, ""})
	return began
}

// Succeed says that the user has proved who it is.
func (p *Pass) Succeed() {
	if !p.begin() {
		return
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.giveBack()
	if p.source.IsValid() {
		if p.g.of(p.tenant).known.use(p.user).met(p.source, p.g.now()) {
			p.g.touch(ref{p.tenant, inKnown, p.user})
		}
	}
}

// Drop says that the attempt came to nothing that counts: nobody answered, or it was no guess.
func (p *Pass) Drop() {
	if !p.begin() {
		return
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.giveBack()
}

// giveBack lets the next attempt go on at once. mu is held.
func (p *Pass) giveBack() {
	t := p.g.of(p.tenant)
	if pair := t.known.get(p.user).from(p.source); pair != nil {
		pair.giveBack(p.reserved.pair)
	}
	if c := t.users.get(p.user); c != nil {
		c.giveBack(p.reserved.user)
	}
	if c := t.sources.get(p.source.String()); c != nil {
		c.giveBack(p.reserved.source)
	}
	t.tenant.giveBack(p.reserved.tenant)
}
