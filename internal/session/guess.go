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
	"concentrator/internal/authz/guess"
	"concentrator/internal/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// mayAsk says whether a log-in may be put to the backend now. It is asked once for each of them: a further step of EAP goes on
// with the pass of its first one, which may be nil. The pass must be settled.
func (m *Manager) mayAsk(s *session, t *store.Tenant, user string, r ppp.AuthRequest) (*guess.Pass, error) {
	if r.State != nil {
		return s.takePass(), nil
	}
	s.takePass().Fail() // a conversation of EAP that the client has left
	pass, held := m.guesses.Allow(guess.Attempt{
		Tenant: tenantID(t.Name), User: user, Source: s.snapshot().ClientAddress.Addr(),
		Shared:    t.Limits.HalfOpenPerSource != nil && *t.Limits.HalfOpenPerSource == 0,
		PerSecond: t.Limits.LoginsPerSecond,
	})
	if held == nil {
		return pass, nil
	}
	no := &refusal{stage: tenant.StageAuthentication, reason: tenant.ReasonLockedOut, detail: held.Detail()}
	if held.Kind == "" {
		no.reason, no.message = tenant.ReasonTenantLimit, "Too many log-ins at once, try again"
		return nil, no
	}
	no.message = "Too many failed attempts, try again in " + inWords(held.Wait)
	return nil, no
}

// inWords says how long a user is to wait.
func inWords(d time.Duration) string {
	n, unit := int((d+time.Second-1)/time.Second), "second"
	if d > time.Minute {
		n, unit = int((d+time.Minute-1)/time.Minute), "minute"
	}
	if n > 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// settle tells the pass what the backend has said, when ctx was given to it. A client that breaks off a further step of EAP has
// left the conversation; one that breaks off its first step has learned nothing.
func (s *session) settle(ctx context.Context, pass *guess.Pass, r ppp.AuthRequest, v authz.Verdict, err error) {
	switch {
	case err != nil && r.State != nil && errors.Is(ctx.Err(), context.Canceled):
		s.keepPass(pass)
	case err != nil:
		pass.Drop()
	case v.Deny == "" && v.Next != nil:
		s.keepPass(pass)
	case v.Deny == "":
		pass.Succeed()
	case wrongGuess(r.Method, v):
		pass.Fail()
	default:
		pass.Drop()
	}
}

// wrongGuess says whether a refusal means that what the client sent was wrong. That a user is disabled or expired is no guess;
// nor is the question for a one-time password, which looks like a refusal of PAP that may be tried again; nor is a
// conversation that must begin anew.
func wrongGuess(method tenant.AuthMethod, v authz.Verdict) bool {
	switch v.Deny {
	case tenant.ReasonWrongCredentials:
		return true
	case tenant.ReasonRadiusReject:
		return !v.Restart && (method != tenant.AuthPAP || !v.Retry)
	default:
		return false
	}
}

// keepPass keeps a pass for the next step of EAP, or settles it if the session has ended meanwhile.
func (s *session) keepPass(pass *guess.Pass) {
	s.mu.Lock()
	why := s.left
	if why == "" {
		s.pass = pass
	}
	s.mu.Unlock()
	if why != "" {
		leave(pass, why)
	}
}

func (s *session) takePass() *guess.Pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	pass := s.pass
	s.pass = nil
	return pass
}

// leaveConversation settles the pass of a conversation of EAP that the session's end has cut off.
func (s *session) leaveConversation(why tenant.Reason) {
	why = cmp.Or(why, tenant.ReasonLostCarrier)
	s.mu.Lock()
	s.left = why
	s.mu.Unlock()
	leave(s.takePass(), why)
}

// leave settles a pass at the end of its session. Many methods of EAP tell the client that the password is wrong before the
// server refuses it: one that hangs up then has guessed.
func leave(pass *guess.Pass, why tenant.Reason) {
	switch why {
	case tenant.ReasonShutdown, tenant.ReasonAdminDisconnect, tenant.ReasonReplaced, tenant.ReasonInstanceLimit:
		pass.Drop()
	default:
		pass.Fail()
	}
}

// reconcileGuesses forgets the failed log-ins of tenants that are gone.
func (m *Manager) reconcileGuesses() error {
	tenants, err := all(m, "", func(t *store.Tenant) string { return t.Name })
	if err != nil {
		return err
	}
	have := make(map[string]bool, len(tenants))
	for _, t := range tenants {
		have[tenantID(t.Name)] = true
	}
	m.guesses.Retain(func(id string) bool { return have[id] })
	return nil
}

// Lockout is one user, source or tenant whose log-ins are held up after failed ones.
type Lockout struct {
	Name          string // tenants/{tenant}/lockouts/{lockout}
	Kind          guess.Kind
	Subject       string     // the user, printable; the source; the tenant's ID
	ClientAddress netip.Addr // of a user: only from here; zero: from all addresses that are new for the user
	Failures      int
	Until         time.Time // zero: the next log-in counts
}

const lockoutsPart = "/lockouts/"

// Lockouts returns those of a tenant ("tenants/acme"; "": of all), sorted by name.
func (m *Manager) Lockouts(tenantName string) []Lockout {
	list := m.guesses.List(tenantID(tenantName))
	out := make([]Lockout, 0, len(list))
	for _, l := range list {
		out = append(out, Lockout{
			Name: tenantPrefix + l.Tenant + lockoutsPart + l.ID, Kind: l.Kind, Subject: printable(l.Subject), ClientAddress: l.Source,
			Failures: l.Failures, Until: l.Until,
		})
	}
	slices.SortFunc(out, func(a, b Lockout) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// observeLockouts registers the metric of lockouts.
func (m *Manager) observeLockouts() {
	m.cfg.Metrics.Observe(telemetry.Lockouts, func() (out []telemetry.Sample) {
		type key struct{ tenant, kind string }
		n := make(map[key]float64)
		for _, l := range m.guesses.List("") {
			n[key{tenantPrefix + l.Tenant, string(l.Kind)}]++
		}
		for k, v := range n {
			out = append(out, telemetry.Sample{Labels: []string{k.tenant, k.kind}, Value: v})
		}
		return out
	})
}

// Lift forgets the failures behind a lockout. It returns ErrNoLockout if there is none of that name.
func (m *Manager) Lift(name string) error {
	owner, id, ok := strings.Cut(name, lockoutsPart)
	if !ok || owner == "" || !m.guesses.Lift(tenantID(owner), id) {
		return ErrNoLockout
	}
	return nil
}
