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
// for concurrent use; a scan over at most 1000 tickets per call is cheaper than keeping counts true.
type admission struct {
	mu      sync.Mutex
	max     int
	tickets map[*ticket]struct{}
}

func newAdmission(max int) *admission {
	return &admission{max: max, tickets: make(map[*ticket]struct{})}
}

// admit gives t a slot. Where a limit is reached it first takes the slot of the oldest unauthenticated call of the
// source that has the most of them; the answer is a refusal only when all that count against the limit are
// authenticated.
func (a *admission) admit(t *ticket, b bounds) tenant.Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.listener == 0 {
		return tenant.ReasonListenerLimit
	}
	scopes := []struct {
		limit  int
		reason tenant.Reason
		in     func(*ticket) bool
	}{
		{b.perSource, tenant.ReasonInstanceLimit, func(o *ticket) bool { return !o.authed && o.source == t.source }},
		{max(1, a.max/4), tenant.ReasonInstanceLimit, func(o *ticket) bool { return !o.authed }},
		{b.listener, tenant.ReasonListenerLimit, func(o *ticket) bool { return o.listener == t.listener && o.protocol == t.protocol }},
		{b.tenant, tenant.ReasonTenantLimit, func(o *ticket) bool { return t.tenant != "" && o.tenant == t.tenant }},
		{a.max, tenant.ReasonInstanceLimit, func(*ticket) bool { return true }},
	}
	// All limits are looked at before anyone is sent away for the sake of one of them.
	var victims []*ticket
	gone := func(o *ticket) bool { return slices.Contains(victims, o) }
	for _, s := range scopes {
		if s.limit <= 0 {
			continue
		}
		if a.count(s.in, gone) < s.limit {
			continue
		}
		v := a.victim(s.in, gone)
		if v == nil {
			return s.reason
		}
		victims = append(victims, v)
	}
	for _, v := range victims {
		a.drop(v)
		v.evict()
	}
	t.held = true
	a.tickets[t] = struct{}{}
	return ""
}

func (a *admission) count(in, gone func(*ticket) bool) (n int) {
	for o := range a.tickets {
		if in(o) && !gone(o) {
			n++
		}
	}
	return n
}

// victim is the oldest unauthenticated ticket in scope of the source with the most such tickets.
func (a *admission) victim(in, gone func(*ticket) bool) *ticket {
	perSource := make(map[netip.Addr]int)
	for o := range a.tickets {
		if !o.authed && in(o) && !gone(o) {
			perSource[o.source]++
		}
	}
	var best *ticket
	for o := range a.tickets {
		if o.authed || !in(o) || gone(o) {
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
	var same []*ticket
	for o := range a.tickets {
		if o != t && o.authed && o.tenant == tenantName && o.user == user {
			same = append(same, o)
		}
	}
	slices.SortFunc(same, func(x, y *ticket) int { return x.started.Compare(y.started) })
	if b.user > 0 && len(same) >= b.user {
		if b.duplicate == tenant.DuplicateDeny {
			return nil, tenant.ReasonUserLimit
		}
		replaced = same[:len(same)-b.user+1]
	}
	if b.tenant > 0 {
		none := func(*ticket) bool { return false }
		others := func(o *ticket) bool {
			return o != t && o.tenant == tenantName && !slices.Contains(replaced, o)
		}
		if a.count(others, none) >= b.tenant {
			v := a.victim(others, none)
			if v == nil {
				return nil, tenant.ReasonTenantLimit
			}
			a.drop(v)
			v.evict()
		}
	}
	t.tenant, t.user, t.authed = tenantName, user, true
	return replaced, ""
}

// unauthenticate takes back what authenticate did, when the login failed after it.
func (a *admission) unauthenticate(t *ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.user, t.authed = "", false
}

// release gives the slot back. It may be called again.
func (a *admission) release(t *ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(t)
}

func (a *admission) drop(t *ticket) {
	t.held = false
	delete(a.tickets, t)
}

// slots says how many slots are taken.
func (a *admission) slots() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tickets)
}
