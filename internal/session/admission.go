package session

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"concentrator/internal/tenant"
)

// defaultHalfOpenPerSource is limits.halfOpenPerSource where a tenant sets none.
const defaultHalfOpenPerSource = 8

// ticket is one slot and what admission needs to know of its holder. Its fields belong to the admission's lock.
type ticket struct {
	evict func() // ends the holder at once; must not block

	source   netip.Addr
	protocol tenant.Protocol
	listener string
	tenant   string // empty while it is not known
	user     string // empty until authenticated
	started  time.Time
	authed   bool
	held     bool
	known    bool   // of IPsec, or of a source from which somebody has logged in
	replace  func() // ends the holder because another session takes its place; must not block
	done     <-chan struct{}
}

// bounds are the limits that one call meets.
type bounds struct {
	listener  int // most sessions of the protocol on the listener; negative: no limit of its own
	tenant    int // most sessions of the tenant; 0: no limit of its own
	perSource int // unauthenticated calls of one source; 0: no limit
}

// admission hands out the instance's slots by the rules of "Limits and refusals": the instance's, the listener's and
// the tenant's limit, a quarter of the slots for calls that are not authenticated yet, and so many a source. It is safe
// for concurrent use.
type admission struct {
	mu      sync.Mutex
	max     int
	held    int                   // tickets with a slot
	counts  map[scope]int         // of them
	waiting map[*ticket]struct{}  // those that are not authenticated
	users   map[userKey][]*ticket // those that are
}

// scope is what a limit counts: one field is set, or listener and protocol.
type scope struct {
	source   netip.Addr // unauthenticated calls of it
	listener string
	protocol tenant.Protocol
	tenant   string
}

type userKey struct{ tenant, user string }

func newAdmission(max int) *admission {
	return &admission{
		max: max, counts: make(map[scope]int), waiting: make(map[*ticket]struct{}), users: make(map[userKey][]*ticket),
	}
}

// count adds n to all counts that t's slot is part of.
func (a *admission) count(t *ticket, n int) {
	add := func(s scope) {
		if a.counts[s] += n; a.counts[s] == 0 {
			delete(a.counts, s)
		}
	}
	a.held += n
	add(scope{listener: t.listener, protocol: t.protocol})
	if t.tenant != "" {
		add(scope{tenant: t.tenant})
	}
	if !t.authed {
		add(scope{source: t.source})
	}
}

// take lists t, whose fields don't change while it is listed.
func (a *admission) take(t *ticket) {
	t.held = true
	a.count(t, 1)
	if t.authed {
		key := userKey{t.tenant, t.user}
		a.users[key] = append(a.users[key], t)
	} else {
		a.waiting[t] = struct{}{}
	}
}

// drop undoes take.
func (a *admission) drop(t *ticket) {
	if !t.held {
		return
	}
	t.held = false
	a.count(t, -1)
	delete(a.waiting, t)
	if t.authed {
		key := userKey{t.tenant, t.user}
		a.users[key] = slices.DeleteFunc(a.users[key], func(o *ticket) bool { return o == t })
		if len(a.users[key]) == 0 {
			delete(a.users, key)
		}
	}
}

// admit gives t a slot. Where a limit is reached it first takes the slot of the oldest unauthenticated call of the
// source that has the most of them, a stranger's if there is one; the answer is a refusal only when all that count against the limit are
// authenticated.
func (a *admission) admit(t *ticket, b bounds) tenant.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.listener == 0 {
		return tenant.ReasonListenerLimit
	}
	limits := []struct {
		limit  int
		have   int
		reason tenant.Reason
		in     func(*ticket) bool // of one that is not authenticated: does it count here?
	}{
		{
			b.perSource, a.counts[scope{source: t.source}], tenant.ReasonInstanceLimit,
			func(o *ticket) bool { return o.source == t.source },
		},
		{max(1, a.max/4), len(a.waiting), tenant.ReasonInstanceLimit, func(*ticket) bool { return true }},
		{
			b.listener, a.counts[scope{listener: t.listener, protocol: t.protocol}], tenant.ReasonListenerLimit,
			func(o *ticket) bool { return o.listener == t.listener && o.protocol == t.protocol },
		},
		{
			b.tenant, a.counts[scope{tenant: t.tenant}], tenant.ReasonTenantLimit,
			func(o *ticket) bool { return t.tenant != "" && o.tenant == t.tenant },
		},
		{a.max, a.held, tenant.ReasonInstanceLimit, func(*ticket) bool { return true }},
	}
	// All limits are looked at before anyone is sent away for the sake of one of them.
	var victims []*ticket
	for _, l := range limits {
		if l.limit <= 0 {
			continue
		}
		for _, v := range victims {
			if l.in(v) {
				l.have--
			}
		}
		if l.have < l.limit {
			continue
		}
		v := a.victim(func(o *ticket) bool { return l.in(o) && !slices.Contains(victims, o) })
		if v == nil {
			return l.reason
		}
		victims = append(victims, v)
	}
	for _, v := range victims {
		a.drop(v)
		v.evict()
	}
	a.take(t)
	return ""
}

// victim is the oldest unauthenticated ticket in scope of the source with the most such tickets, a stranger's if there is one.
func (a *admission) victim(in func(*ticket) bool) *ticket {
	if v := a.victimIn(func(o *ticket) bool { return !o.known && in(o) }); v != nil {
		return v
	}
	return a.victimIn(in)
}

func (a *admission) victimIn(in func(*ticket) bool) *ticket {
	perSource := make(map[netip.Addr]int)
	for o := range a.waiting {
		if in(o) {
			perSource[o.source]++
		}
	}
	var best *ticket
	for o := range a.waiting {
		if !in(o) {
			continue
		}
		if best == nil || perSource[o.source] > perSource[best.source] ||
			perSource[o.source] == perSource[best.source] && o.started.Before(best.started) {
			best = o
		}
	}
	return best
}

// userBounds are the limits that count once the user's name is proved.
type userBounds struct {
	tenant    int // 0: no limit
	user      int // 0: no limit
	duplicate tenant.DuplicatePolicy
}

// authenticate marks t as tenantName's user's. It returns the sessions of the same user that must end first, which the
// caller sends away and waits for, or why the user is refused. A ticket that was evicted meanwhile is refused.
func (a *admission) authenticate(t *ticket, tenantName, user string, b userBounds) (replaced []*ticket, refused tenant.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !t.held {
		return nil, tenant.ReasonInstanceLimit
	}
	same := slices.DeleteFunc(slices.Clone(a.users[userKey{tenantName, user}]), func(o *ticket) bool { return o == t })
	if b.user > 0 && len(same) >= b.user {
		if b.duplicate == tenant.DuplicateDeny {
			return nil, tenant.ReasonUserLimit
		}
		slices.SortFunc(same, func(x, y *ticket) int { return x.started.Compare(y.started) })
		replaced = same[:len(same)-b.user+1]
	}
	if b.tenant > 0 {
		others := a.counts[scope{tenant: tenantName}] - len(replaced)
		if t.tenant == tenantName {
			others--
		}
		if others >= b.tenant {
			v := a.victim(func(o *ticket) bool { return o != t && o.tenant == tenantName })
			if v == nil {
				return nil, tenant.ReasonTenantLimit
			}
			a.drop(v)
			v.evict()
		}
	}
	a.drop(t)
	t.tenant, t.user, t.authed = tenantName, user, true
	a.take(t)
	return replaced, ""
}

// unauthenticate takes back what authenticate did, when the login failed after it.
func (a *admission) unauthenticate(t *ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := t.held
	a.drop(t)
	t.user, t.authed = "", false
	if held {
		a.take(t)
	}
}

// release gives the slot back. It may be called again.
func (a *admission) release(t *ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(t)
}

// slots says how many slots are taken.
func (a *admission) slots() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}
