package session

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// wantBusy fails the test unless a new call is answered busy.
func (w *world) wantBusy() {
	w.t.Helper()
	_, err := w.tryDial(mainAddr, clientFrom, simppp.Windows(alice, password))
	var r *simpptp.ResultError
	if !errors.As(err, &r) || r.Message != wire.TypeOutgoingCallReply || r.Result != wire.ResultBusy {
		w.t.Errorf("the call: %v, want busy", err)
	}
}

// TestBusy: each limit that is known before the user is; one leaves, the next is admitted.
func TestBusy(t *testing.T) {
	for _, c := range []struct {
		name   string
		slots  int
		set    func(w *world)
		reason tenant.Reason
	}{
		{"instance", 1, func(*world) {}, tenant.ReasonInstanceLimit},
		{"tenant", 100, func(w *world) {
			alter(w, acme, func(r *store.Tenant) { r.Limits.MaxSessions = 1 })
		}, tenant.ReasonTenantLimit},
		{"listener", 100, func(w *world) {
			alter(w, mainListener, func(l *store.Listener) { l.MaxPPTPSessions = new(int); *l.MaxPPTPSessions = 1 })
		}, tenant.ReasonListenerLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubbleOf(t, c.slots, func(t *testing.T, w *world) {
				w.furnish()
				c.set(w)
				w.start()
				first := w.login(simppp.Windows(alice, password))
				w.wantBusy()
				if a := w.m.Logins(LoginFilter{})[0]; a.Stage != tenant.StageCall || a.Reason != c.reason || a.Tenant != acme {
					t.Errorf("attempt %+v", a)
				}
				first.hangUp()
				w.until("the slot is free", func() bool { return w.m.slots.slots() == 0 })
				w.login(simppp.Windows(alice, password))
			})
		})
	}
	t.Run("the listener takes none", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.furnish()
			alter(w, mainListener, func(l *store.Listener) { l.MaxPPTPSessions = new(int) })
			w.start()
			w.wantBusy()
			w.wantAttempts("REFUSED CALL LISTENER_LIMIT")
		})
	})
}

// TestLimitOfAnotherTenant: a tenant that only the realm names can be full too, which its user is told.
func TestLimitOfAnotherTenant(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.addTenant("beta", "10.8.0.0/29")
		w.addUser("beta", "carol", nil)
		alter(w, "tenants/beta", func(r *store.Tenant) {
			r.Realms, r.RealmStripping, r.Limits.MaxSessions = []string{"beta"}, true, 1
		})
		alter(w, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta") })
		w.addUser("beta", "dora", nil)
		w.start()
		first := w.login(simppp.Windows("carol@beta", password))
		second := w.dial(simppp.Windows("dora@beta", password))
		w.wantRefused(second)
		if got := second.refusals(); !slices.Equal(got, []string{"The service has no free session, try again later"}) {
			t.Errorf("the client was told %q", got)
		}
		w.wantAttempts("carol ACCEPTED OPEN", "dora REFUSED AUTHENTICATION TENANT_LIMIT")
		w.login(simppp.Windows(alice, password)) // the listener's other tenant is not full
		first.hangUp()
		w.until("the slot is free", func() bool { return len(w.m.Sessions("tenants/beta")) == 0 })
		w.login(simppp.Windows("dora@beta", password))
	})
}

func TestLimitOfUser(t *testing.T) {
	for _, c := range []struct {
		name     string
		policy   tenant.DuplicatePolicy
		limit    int // of the tenant
		own      int // of the user
		survives bool
	}{
		{"deny", tenant.DuplicateDeny, 1, 0, true},
		{"replace", tenant.DuplicateReplace, 1, 0, false},
		{"replace is the default", "", 1, 0, false},
		{"the user's own limit", tenant.DuplicateDeny, 5, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme, func(r *store.Tenant) {
					r.Limits.MaxSessionsPerUser, r.Limits.DuplicatePolicy = c.limit, c.policy
				})
				alter(w, acme+"/users/alice", func(u *store.User) { u.MaxSessions = c.own })
				w.addUser("acme", "bob", nil)
				w.start()
				w.login(simppp.Windows("bob", password)) // another user does not count
				first := w.login(simppp.Windows(alice, password))
				second := w.dial(simppp.Windows(alice, password))
				if c.survives {
					w.wantRefused(second)
					w.wantAttempts("bob ACCEPTED OPEN", "alice ACCEPTED OPEN", "alice REFUSED AUTHENTICATION USER_LIMIT")
					if got := second.refusals(); !slices.Equal(got, []string{"You are already connected the allowed number of times"}) {
						t.Errorf("the client was told %q", got)
					}
					if !first.isOpen() {
						t.Error("the first session is gone")
					}
					first.hangUp()
					w.until("the place is free", func() bool { return len(w.m.Sessions("")) == 1 })
					w.login(simppp.Windows(alice, password))
					return
				}
				w.wantOpen(second)
				if !first.gone() {
					t.Error("the first session is still there")
				}
				w.wantAttempts("bob ACCEPTED OPEN", "alice ACCEPTED OPEN", "alice ACCEPTED OPEN")
				if w.leased(acmePool) != 2 || len(w.m.Sessions("")) != 2 {
					t.Errorf("%d leases, %d sessions", w.leased(acmePool), len(w.m.Sessions("")))
				}
			})
		})
	}
}

// TestStaticAddress: who has a fixed address takes it from whoever holds it, at once and every time.
func TestStaticAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		fixed := netip.MustParseAddr("10.7.0.2")
		w.addUser("acme", "fixed", func(u *store.User) { u.StaticAddress = fixed })
		w.addUser("acme", "gateway", func(u *store.User) { u.StaticAddress = netip.MustParseAddr("10.7.0.1") })
		w.start()
		lucky := w.login(simppp.Windows(alice, password)) // the pool's first address
		if lucky.network().Address != fixed {
			t.Fatalf("alice has %s", lucky.network().Address)
		}
		var last *client
		for range 3 {
			cl := w.login(simppp.Windows("fixed", password))
			if cl.network().Address != fixed {
				t.Errorf("fixed has %s", cl.network().Address)
			}
			if last != nil && !last.gone() {
				t.Error("the session before is still there")
			}
			last = cl
		}
		if !lucky.gone() || w.leased(acmePool) != 1 {
			t.Errorf("alice is gone: %v; %d leases", lucky.gone(), w.leased(acmePool))
		}
		w.login(simppp.Windows(alice, password)) // gets another one
		cl := w.dial(simppp.Windows("gateway", password))
		w.wantRefused(cl)
		if a := w.m.Logins(LoginFilter{})[0]; a.Stage != tenant.StageAddress || a.Reason != tenant.ReasonPoolExhausted {
			t.Errorf("attempt %+v", a)
		}
	})
}

// TestPoolExhausted: an empty pool is said, and its slot is free for others.
func TestPoolExhausted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.addTenant("acme", "10.7.0.0/30") // one gateway, one client
		w.addUser("acme", alice, nil)
		w.addUser("acme", "bob", nil)
		w.addListener("main", mainAddr, "acme")
		w.start()
		first := w.login(simppp.Windows(alice, password))
		second := w.dial(simppp.Windows("bob", password))
		w.wantRefused(second)
		w.wantAttempts("alice ACCEPTED OPEN", "bob REFUSED ADDRESS POOL_EXHAUSTED")
		if got := second.refusals(); !slices.Equal(got, []string{"The server has no free address, try again later"}) {
			t.Errorf("the client was told %q", got)
		}
		if w.m.slots.slots() != 1 {
			t.Errorf("%d slots", w.m.slots.slots())
		}
		first.hangUp()
		w.until("the address is free", func() bool { return w.leased(acmePool) == 0 })
		w.login(simppp.Windows("bob", password))
	})
}

// TestNoPoolNoNetwork: what is not there is said too.
func TestNoPoolNoNetwork(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		errors int // that are logged, at least
	}{
		{"no pool at all", func(w *world) { remove[store.Pool](w, acmePool) }, 0},
		{"two pools and no choice", func(w *world) {
			create(w, &store.Pool{Meta: named(acme + "/pools/other"), Ranges: []string{"10.9.0.0/29"}})
		}, 0},
		{"a pool that does not exist", func(w *world) {
			alter(w, acme+"/profiles/default", func(p *store.Profile) { p.Pool = acme + "/pools/nowhere" })
		}, 0},
		{"no network", func(w *world) { w.plane.failNet = errors.New("no such device") }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				c.change(w)
				w.start()
				cl := w.dial(simppp.Windows(alice, password))
				w.wantRefused(cl)
				w.wantAttempts("alice REFUSED ADDRESS POOL_EXHAUSTED")
				w.wantClean()
				if got := len(w.errors.take()); got < c.errors {
					t.Errorf("%d errors logged", got)
				}
			})
		})
	}
}

// TestUnauthenticatedCallsGiveWay: one source can not fill the slots with calls that never log in.
func TestUnauthenticatedCallsGiveWay(t *testing.T) {
	silent := simppp.Windows(alice, password)
	silent.Methods = nil // it would only delay the end
	t.Run("a source has eight", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.ready()
			var calls []*client
			for range 8 {
				cl := w.dial(silent)
				cl.setMute(true)
				calls = append(calls, cl)
				time.Sleep(time.Second)
			}
			other, err := w.tryDial(mainAddr, "198.51.100.8", silent)
			if err != nil {
				t.Fatal(err)
			}
			other.setMute(true)
			time.Sleep(time.Second)
			inside := w.login(simppp.Windows(alice, password))
			gone := slices.IndexFunc(calls, (*client).gone)
			if gone != 0 || other.gone() || !inside.isOpen() {
				t.Errorf("the first to go was %d, the other source's is gone: %v", gone, other.gone())
			}
			if slices.ContainsFunc(calls[1:], (*client).gone) {
				t.Error("more than one had to go")
			}
			if got := w.attempts()[0]; got != "REFUSED LCP INSTANCE_LIMIT" {
				t.Errorf("attempt %q", got)
			}
		})
	})
	t.Run("all have a quarter", func(t *testing.T) {
		inBubbleOf(t, 8, func(t *testing.T, w *world) {
			w.furnish()
			alter(w, acme, func(r *store.Tenant) { r.Limits.HalfOpenPerSource = new(int) })
			w.start()
			var calls []*client
			for i := range 3 {
				cl, err := w.tryDial(mainAddr, fmt.Sprintf("198.51.100.%d", 10+i), silent)
				if err != nil {
					t.Fatal(err)
				}
				cl.setMute(true)
				calls = append(calls, cl)
				time.Sleep(time.Second)
			}
			if !calls[0].gone() || calls[1].gone() || calls[2].gone() || w.m.slots.slots() != 2 {
				t.Errorf("gone: %v %v %v; %d slots", calls[0].gone(), calls[1].gone(), calls[2].gone(), w.m.slots.slots())
			}
		})
	})
}

// TestPlaneRefuses: no call ID, no call; the slot is free again.
func TestPlaneRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.plane.mu.Lock()
		w.plane.failCall = errors.New("no free call ID")
		w.plane.mu.Unlock()
		_, err := w.tryDial(mainAddr, clientFrom, simppp.Windows(alice, password))
		var r *simpptp.ResultError
		if !errors.As(err, &r) || r.Result != wire.ResultGeneralError {
			t.Errorf("the call: %v", err)
		}
		w.wantClean()
		w.wantAttempts("REFUSED CALL PROTOCOL_ERROR")
		if len(w.errors.take()) != 1 {
			t.Error("nobody was told")
		}
		w.login(simppp.Windows(alice, password))
	})
}
