package session

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// leaseLines shows the leases of a pool.
func (w *world) leaseLines(pool string) string {
	var all []string
	list, more := w.m.Leases(pool, netip.Addr{}, 100)
	if more {
		w.t.Error("there are more leases than addresses")
	}
	for _, l := range list {
		all = append(all, fmt.Sprintf("%s %s %s %t", l.Address, l.User, l.State, l.Session != ""))
	}
	return strings.Join(all, ", ")
}

// An operator sees who has which address, and takes one back: the session ends, and its user gets another one.
func TestReleaseLease(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addUser("acme", "bob", nil)
		c := w.login(simppp.Windows(alice, password))
		w.login(simppp.Windows("bob", password))
		first := netip.MustParseAddr("10.7.0.2")
		if got, want := w.leaseLines(acmePool), "10.7.0.2 alice LEASED true, 10.7.0.3 bob LEASED true"; got != want {
			t.Errorf("leases: %s, want %s", got, want)
		}
		l, ok := w.m.Lease(acmePool, first)
		if i, there := w.m.Session(l.Session); !ok || !there || i.User != alice || i.Address != first {
			t.Errorf("lease %+v, session %+v", l, i)
		}
		if err := w.m.ReleaseLease(acmePool, first); err != nil {
			t.Fatal(err)
		}
		w.until("the session has ended", func() bool { return c.gone() && w.leased(acmePool) == 1 })
		if got, want := w.leaseLines(acmePool), "10.7.0.3 bob LEASED true"; got != want {
			t.Errorf("leases: %s, want %s", got, want)
		}
		again := w.login(simppp.Windows(alice, password))
		if a := again.network().Address; a == first {
			t.Errorf("alice got %s, which was taken from her", a)
		}
		again.hangUp()
		w.until("she is gone", func() bool { return w.leased(acmePool) == 1 })
		if got, want := w.leaseLines(acmePool), "10.7.0.3 bob LEASED true, 10.7.0.4 alice RELEASED false"; got != want {
			t.Errorf("leases: %s, want %s", got, want)
		}
		if err := w.m.ReleaseLease(acmePool, netip.MustParseAddr("10.7.0.4")); err != nil {
			t.Error(err)
		}
		for _, a := range []string{"10.7.0.4", "10.7.0.2", "192.0.2.1"} {
			if err := w.m.ReleaseLease(acmePool, netip.MustParseAddr(a)); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", a, err)
			}
		}
	})
}

// A released address stays its user's for the pool's quarantine, and the refusal of others says so.
func TestQuarantine(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.addTenant("acme", "10.7.0.0/30") // one address
		alter(w, acmePool, func(p *store.Pool) { p.Quarantine = time.Hour })
		w.addUser("acme", alice, nil)
		w.addUser("acme", "bob", nil)
		w.addListener("main", mainAddr, "acme")
		w.start()
		leave := func(c *client) {
			c.hangUp()
			w.until("it is gone", func() bool { return w.leased(acmePool) == 0 })
		}
		leave(w.login(simppp.Windows(alice, password)))
		if n := w.m.PoolQuarantined(acmePool); n != 1 {
			t.Errorf("%d in quarantine", n)
		}
		w.wantRefused(w.dial(simppp.Windows("bob", password)))
		last := w.m.Logins(LoginFilter{User: "bob"})[0]
		if last.Reason != tenant.ReasonPoolExhausted || !strings.Contains(last.Detail, "0 of 1 are leased, 1 are in quarantine") {
			t.Errorf("bob: %s %q", last.Reason, last.Detail)
		}
		c := w.login(simppp.Windows(alice, password))
		w.wantRefused(w.dial(simppp.Windows("bob", password)))
		last = w.m.Logins(LoginFilter{User: "bob"})[0]
		if last.Reason != tenant.ReasonPoolExhausted || !strings.HasSuffix(last.Detail, "no free address: 1 of 1 are leased") {
			t.Errorf("bob: %s %q", last.Reason, last.Detail)
		}
		leave(c)
		time.Sleep(time.Hour)
		w.login(simppp.Windows("bob", password))
	})
}

// A pool that can't be what the store says stays what it is: its sessions go on, and others come.
func TestPoolThatCannotChange(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addUser("acme", "bob", nil)
		c := w.login(simppp.Windows(alice, password))
		held := c.network().Address
		alter(w, acmePool, func(p *store.Pool) { p.Gateway = held })
		w.settle()
		if len(w.errors.take()) == 0 {
			t.Error("nothing is said of it")
		}
		if u := w.pools.Usage(acmePool); u.Size != 5 || u.Leased != 1 {
			t.Errorf("usage %+v", u)
		}
		w.login(simppp.Windows("bob", password))
		if !c.isOpen() {
			t.Error("alice's session is gone")
		}
		alter(w, acmePool, func(p *store.Pool) { p.Gateway = netip.Addr{}; p.Ranges = []string{"10.7.0.0/28"} })
		w.settle()
		w.errors.take()
		if u := w.pools.Usage(acmePool); u.Size != 13 || u.Leased != 2 {
			t.Errorf("grown: usage %+v", u)
		}
	})
}
