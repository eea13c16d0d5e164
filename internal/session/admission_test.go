package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// guest is a ticket of a test, with a note of whether it was sent away.
type guest struct {
	*ticket
	evicted, replaced bool
}

func newGuest(source string, at int) *guest {
	g := &guest{}
	g.ticket = &ticket{
		source: netip.MustParseAddr(source), protocol: tenant.ProtocolPPTP, listener: "listeners/main",
		tenant: "tenants/acme", started: time.Unix(int64(at), 0),
		evict:   func() { g.evicted = true },
		replace: func() { g.replaced = true },
	}
	return g
}

func noLimits() bounds { return bounds{listener: 1000} }

func mustAdmit(t *testing.T, a *admission, g *guest, b bounds) {
	t.Helper()
	if r := a.admit(g.ticket, b); r != "" {
		t.Fatalf("admit: refused with %s", r)
	}
}

func mustAuthenticate(t *testing.T, a *admission, g *guest, user string) {
	t.Helper()
	if _, r := a.authenticate(g.ticket, "tenants/acme", user, userBounds{}); r != "" {
		t.Fatalf("authenticate: refused with %s", r)
	}
}

func TestBusyOnlyWhenAllSlotsAreAuthenticated(t *testing.T) {
	a := newAdmission(3)
	var in []*guest
	for i := range 3 {
		g := newGuest("198.51.100.1", i)
		mustAdmit(t, a, g, noLimits())
		mustAuthenticate(t, a, g, "alice")
		in = append(in, g)
	}
	late := newGuest("198.51.100.2", 9)
	if r := a.admit(late.ticket, noLimits()); r != tenant.ReasonInstanceLimit {
		t.Fatalf("fourth call: got %q, want INSTANCE_LIMIT", r)
	}
	a.release(in[1].ticket)
	mustAdmit(t, a, late, noLimits())
	if in[0].evicted || in[2].evicted {
		t.Error("an authenticated session was sent away for a new call")
	}
}

func TestUnauthenticatedCallsHoldAtMostAQuarter(t *testing.T) {
	a := newAdmission(8)
	first, second, third := newGuest("198.51.100.1", 1), newGuest("198.51.100.1", 2), newGuest("198.51.100.2", 0)
	mustAdmit(t, a, first, noLimits())
	mustAdmit(t, a, second, noLimits())
	mustAdmit(t, a, third, noLimits())
	// The source with the most goes first, and of it the oldest, although another source's call is older.
	if !first.evicted || second.evicted || third.evicted {
		t.Errorf("evicted: first %v, second %v, third %v; want only the first", first.evicted, second.evicted, third.evicted)
	}
	if a.slots() != 2 {
		t.Errorf("%d slots are taken, want 2", a.slots())
	}
}

func TestHalfOpenPerSource(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		want  bool
	}{{"two a source", 2, true}, {"off", 0, false}} {
		t.Run(c.name, func(t *testing.T) {
			a := newAdmission(1000)
			var all []*guest
			for i := range 3 {
				g := newGuest("198.51.100.1", i)
				mustAdmit(t, a, g, bounds{listener: 1000, perSource: c.limit})
				all = append(all, g)
			}
			if all[0].evicted != c.want || all[1].evicted {
				t.Errorf("evicted %v, %v; want %v, false", all[0].evicted, all[1].evicted, c.want)
			}
		})
	}
}

func TestListenerAndTenantLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		bounds bounds
		want   tenant.Reason
	}{
		{"listener takes none", bounds{listener: 0}, tenant.ReasonListenerLimit},
		{"listener takes one", bounds{listener: 1}, tenant.ReasonListenerLimit},
		{"tenant takes one", bounds{listener: 9, tenant: 1}, tenant.ReasonTenantLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAdmission(10)
			g := newGuest("198.51.100.1", 1)
			mustAdmit(t, a, g, noLimits())
			mustAuthenticate(t, a, g, "alice")
			late := newGuest("198.51.100.2", 2)
			if r := a.admit(late.ticket, c.bounds); r != c.want {
				t.Fatalf("got %q, want %q", r, c.want)
			}
		})
	}
}

func TestNobodyIsEvictedForARefusedCall(t *testing.T) {
	a := newAdmission(100)
	half := newGuest("198.51.100.1", 1)
	mustAdmit(t, a, half, noLimits())
	full := newGuest("198.51.100.9", 1)
	mustAdmit(t, a, full, noLimits())
	mustAuthenticate(t, a, full, "alice")
	// The source's limit would send half away, but the tenant's limit refuses the call anyhow.
	a.authenticate(half.ticket, "tenants/other", "x", userBounds{})
	a.unauthenticate(half.ticket)
	late := newGuest("198.51.100.1", 2)
	if r := a.admit(late.ticket, bounds{listener: 100, tenant: 1, perSource: 1}); r != tenant.ReasonTenantLimit {
		t.Fatalf("got %q, want TENANT_LIMIT", r)
	}
	if half.evicted {
		t.Error("a call was sent away for one that was not admitted")
	}
}

func TestUserLimit(t *testing.T) {
	for _, c := range []struct {
		name     string
		bounds   userBounds
		replaced []int
		want     tenant.Reason
	}{
		{"none", userBounds{}, nil, ""},
		{"deny", userBounds{user: 2, duplicate: tenant.DuplicateDeny}, nil, tenant.ReasonUserLimit},
		{"replace the oldest", userBounds{user: 2, duplicate: tenant.DuplicateReplace}, []int{0}, ""},
		{"replace is the default", userBounds{user: 2}, []int{0}, ""},
		{"replace down to the limit", userBounds{user: 1}, []int{0, 1}, ""},
		{"room left", userBounds{user: 3, duplicate: tenant.DuplicateDeny}, nil, ""},
		{"tenant's limit", userBounds{tenant: 2}, nil, tenant.ReasonTenantLimit},
		{"tenant's limit, but one is replaced", userBounds{tenant: 2, user: 2}, []int{0}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAdmission(100)
			old := []*guest{newGuest("198.51.100.1", 1), newGuest("198.51.100.2", 2)}
			for _, g := range old {
				mustAdmit(t, a, g, noLimits())
				mustAuthenticate(t, a, g, "alice")
			}
			g := newGuest("198.51.100.3", 3)
			mustAdmit(t, a, g, noLimits())
			replaced, refused := a.authenticate(g.ticket, "tenants/acme", "alice", c.bounds)
			if refused != c.want {
				t.Fatalf("refused with %q, want %q", refused, c.want)
			}
			var got []int
			for _, r := range replaced {
				got = append(got, slices.IndexFunc(old, func(o *guest) bool { return o.ticket == r }))
			}
			if !slices.Equal(got, c.replaced) {
				t.Errorf("replaced %v, want %v", got, c.replaced)
			}
			if g.authed != (c.want == "") {
				t.Errorf("authenticated: %v", g.authed)
			}
		})
	}
}

func TestEvictedWhileDeciding(t *testing.T) {
	a := newAdmission(4)
	g, other := newGuest("198.51.100.1", 1), newGuest("198.51.100.1", 2)
	mustAdmit(t, a, g, noLimits())
	mustAdmit(t, a, other, noLimits()) // a quarter of four is one
	if _, refused := a.authenticate(g.ticket, "tenants/acme", "alice", userBounds{}); refused != tenant.ReasonInstanceLimit {
		t.Errorf("got %q, want INSTANCE_LIMIT for a call whose slot went to another", refused)
	}
}

// Strangers make room before those who are known, although they came later and are no more of one source.
func TestStrangersMakeRoomFirst(t *testing.T) {
	a := newAdmission(8) // two may wait
	known, stranger := newGuest("198.51.100.1", 1), newGuest("198.51.100.2", 2)
	known.known = true
	mustAdmit(t, a, known, noLimits())
	mustAdmit(t, a, stranger, noLimits())
	mustAdmit(t, a, newGuest("198.51.100.3", 3), noLimits())
	if known.evicted || !stranger.evicted {
		t.Errorf("evicted: known %v, stranger %v", known.evicted, stranger.evicted)
	}
	second := newGuest("198.51.100.4", 4)
	second.known = true
	mustAdmit(t, a, second, noLimits())
	mustAdmit(t, a, newGuest("198.51.100.5", 5), noLimits())
	if !known.evicted || second.evicted {
		t.Error("where all are known, the oldest makes room")
	}
}
