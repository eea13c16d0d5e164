package session

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// slowAdmission is admission by looking at every ticket each time.
type slowAdmission struct {
	max     int
	tickets []*ticket
}

func (a *slowAdmission) in(match func(*ticket) bool) (out []*ticket) {
	for _, o := range a.tickets {
		if match(o) {
			out = append(out, o)
		}
	}
	return out
}

// victim is the oldest unauthenticated one of the source that has the most of them.
func (a *slowAdmission) victim(match func(*ticket) bool) *ticket {
	all := a.in(func(o *ticket) bool { return !o.authed && match(o) })
	sources := map[netip.Addr]int{}
	for _, o := range all {
		sources[o.source]++
	}
	var best *ticket
	for _, o := range all {
		if best == nil || sources[o.source] > sources[best.source] ||
			sources[o.source] == sources[best.source] && o.started.Before(best.started) {
			best = o
		}
	}
	return best
}

// admit says whom a call would send away, or why it is refused.
func (a *slowAdmission) admit(t *ticket, b bounds) (victims []*ticket, refused tenant.Reason) {
	if b.listener == 0 {
		return nil, tenant.ReasonListenerLimit
	}
	left := func(match func(*ticket) bool) func(*ticket) bool {
		return func(o *ticket) bool { return match(o) && !slices.Contains(victims, o) }
	}
	step := func(limit int, reason tenant.Reason, match func(*ticket) bool) {
		if limit <= 0 || refused != "" || len(a.in(left(match))) < limit {
			return
		}
		if v := a.victim(left(match)); v != nil {
			victims = append(victims, v)
		} else {
			refused = reason
		}
	}
	step(b.perSource, tenant.ReasonInstanceLimit, func(o *ticket) bool { return !o.authed && o.source == t.source })
	step(max(1, a.max/4), tenant.ReasonInstanceLimit, func(o *ticket) bool { return !o.authed })
	step(b.listener, tenant.ReasonListenerLimit, func(o *ticket) bool { return o.listener == t.listener && o.protocol == t.protocol })
	step(b.tenant, tenant.ReasonTenantLimit, func(o *ticket) bool { return t.tenant != "" && o.tenant == t.tenant })
	step(a.max, tenant.ReasonInstanceLimit, func(*ticket) bool { return true })
	if refused != "" {
		return nil, refused
	}
	return victims, ""
}

// authenticate says who goes for a user, and whom the tenant's limit sends away, or why the user is refused.
func (a *slowAdmission) authenticate(t *ticket, tenantName, user string, b userBounds) (replaced []*ticket, victim *ticket, refused tenant.Reason) {
	if !slices.Contains(a.tickets, t) {
		return nil, nil, tenant.ReasonInstanceLimit
	}
	same := a.in(func(o *ticket) bool { return o != t && o.authed && o.tenant == tenantName && o.user == user })
	slices.SortFunc(same, func(x, y *ticket) int { return x.started.Compare(y.started) })
	if b.user > 0 && len(same) >= b.user {
		if b.duplicate == tenant.DuplicateDeny {
			return nil, nil, tenant.ReasonUserLimit
		}
		replaced = same[:len(same)-b.user+1]
	}
	others := func(o *ticket) bool { return o != t && o.tenant == tenantName && !slices.Contains(replaced, o) }
	if b.tenant > 0 && len(a.in(others)) >= b.tenant {
		if victim = a.victim(others); victim == nil {
			return nil, nil, tenant.ReasonTenantLimit
		}
	}
	return replaced, victim, ""
}

// TestAdmissionCountsAsAScanWould: whatever happens in whatever order, the counts say what looking at all tickets says.
func TestAdmissionCountsAsAScanWould(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	limit := func(most int) int { // mostly none
		if r.IntN(3) > 0 {
			return 0
		}
		return 1 + r.IntN(most)
	}
	outcomes := map[string]int{}
	for _, most := range []int{5, 12} {
		fast, slow := newAdmission(most), &slowAdmission{max: most}
		var all []*ticket // with and without a slot
		leave := func(gone []*ticket) {
			slow.tickets = slices.DeleteFunc(slow.tickets, func(o *ticket) bool { return slices.Contains(gone, o) })
		}
		anyOf := func() *ticket { // mostly one with a slot
			if n := len(slow.tickets); n > 0 && r.IntN(8) > 0 {
				return slow.tickets[r.IntN(n)]
			}
			return all[r.IntN(len(all))]
		}
		for i := range 10000 {
			var evicted []*ticket
			switch what := r.IntN(10); {
			case what < 4 || len(all) == 0:
				n := &ticket{
					source: netip.MustParseAddr(pick("198.51.100.1", "198.51.100.2", "198.51.100.3")), listener: pick("listeners/a", "listeners/b"),
					protocol: tenant.Protocol(pick("PPTP", "L2TP")), tenant: pick("", "tenants/a", "tenants/b"), started: time.Unix(int64(i), 0),
				}
				all = append(all, n)
				for _, o := range all {
					o.evict = func() { evicted = append(evicted, o) }
				}
				b := bounds{listener: limit(most), tenant: limit(most), perSource: limit(3)}
				if b.listener == 0 && r.IntN(50) > 0 {
					b.listener = -1
				}
				wantVictims, want := slow.admit(n, b)
				got := fast.admit(n, b)
				if got != want || !slices.Equal(evicted, wantVictims) {
					t.Fatalf("step %d: admit: got %q and %d sent away, want %q and %d", i, got, len(evicted), want, len(wantVictims))
				}
				outcomes[fmt.Sprintf("admit %s %d", got, len(evicted))]++
				leave(wantVictims)
				if got == "" {
					slow.tickets = append(slow.tickets, n)
				}
			case what < 8:
				o := anyOf()
				for _, x := range all {
					x.evict = func() { evicted = append(evicted, x) }
				}
				tenantName, user := pick("tenants/a", "tenants/b"), pick("alice", "bob")
				b := userBounds{tenant: limit(most), user: limit(3), duplicate: tenant.DuplicatePolicy(pick("DENY", "REPLACE"))}
				wantReplaced, victim, want := slow.authenticate(o, tenantName, user, b)
				replaced, got := fast.authenticate(o, tenantName, user, b)
				if got != want || !slices.Equal(replaced, wantReplaced) || victim == nil != (len(evicted) == 0) ||
					victim != nil && evicted[0] != victim {
					t.Fatalf("step %d: authenticate: got %q, %d replaced, %d sent away; want %q, %d, %v",
						i, got, len(replaced), len(evicted), want, len(wantReplaced), victim)
				}
				outcomes[fmt.Sprintf("authenticate %s %d", got, len(evicted))]++
				if victim != nil {
					leave([]*ticket{victim})
				}
			case what < 9 && r.IntN(2) == 0:
				fast.unauthenticate(anyOf())
			default:
				o := anyOf()
				fast.release(o)
				leave([]*ticket{o})
			}
			if len(all) > 4*most { // the oldest that have no slot any more
				all = slices.DeleteFunc(all, func(o *ticket) bool { return !slices.Contains(slow.tickets, o) })
			}
			if fast.slots() != len(slow.tickets) {
				t.Fatalf("step %d: %d slots are taken, want %d", i, fast.slots(), len(slow.tickets))
			}
		}
		for _, o := range all {
			fast.release(o)
		}
		if fast.held != 0 || len(fast.counts)+len(fast.waiting)+len(fast.users) != 0 {
			t.Errorf("of %d: when all have left, %d are held: %v, %d wait, %v", most, fast.held, fast.counts, len(fast.waiting), fast.users)
		}
	}
	for _, o := range []string{
		"admit  0", "admit  1", "admit LISTENER_LIMIT 0", "admit INSTANCE_LIMIT 0", "admit TENANT_LIMIT 0",
		"authenticate  0", "authenticate  1", "authenticate USER_LIMIT 0", "authenticate TENANT_LIMIT 0",
		"authenticate INSTANCE_LIMIT 0",
	} {
		if outcomes[o] == 0 {
			t.Errorf("it never came to %q: %v", o, outcomes)
		}
	}
}
