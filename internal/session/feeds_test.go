package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/ippool"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
)

// states is how a feed tells of one thing.
func states[T any](t *testing.T, f *Feed[T], name string, spell func(*T) string) (out []string) {
	t.Helper()
	for _, c := range rest(t, f, 0) {
		switch {
		case c.Name != name:
		case c.Value == nil:
			out = append(out, "-")
		default:
			out = append(out, spell(c.Value))
		}
	}
	return out
}

// A log-in and its end are told of by the feeds of leases, pools and login attempts.
func TestFeedsOfALogin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acmePool, func(p *store.Pool) { p.Quarantine = time.Minute })
		w.start()
		defer w.m.LeaseFeed().Follow()()
		defer w.m.PoolFeed().Follow()()
		cl := w.login(simppp.Windows(alice, password))
		time.Sleep(3 * lookEvery)
		cl.hangUp()
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		time.Sleep(3 * lookEvery)
		lease := acmePool + "/leases/10.7.0.2"
		if l, _ := w.m.Lease(acmePool, netip.MustParseAddr("10.7.0.2")); l.State != LeaseQuarantined || l.User != alice {
			t.Errorf("the lease is %+v", l)
		}
		time.Sleep(time.Minute)
		if got, want := states(t, w.m.LeaseFeed(), lease, func(l *Lease) string { return string(l.State) }),
			[]string{"LEASED", "QUARANTINED", "RELEASED"}; !slices.Equal(got, want) {
			t.Errorf("the lease was %q, want %q", got, want)
		}
		usage := states(t, w.m.PoolFeed(), acmePool, func(u *ippool.Usage) string { return (&ippool.ExhaustedError{Usage: *u}).Counts()[:6] })
		if want := []string{"0 of 5", "1 of 5", "0 of 5", "0 of 5"}; !slices.Equal(usage, want) {
			t.Errorf("the pool was %q, want %q", usage, want)
		}
		logins := states(t, w.m.LoginFeed(), w.m.Logins(LoginFilter{})[0].Name, func(a *LoginAttempt) string { return string(a.Outcome) })
		if !slices.Equal(logins, []string{"ACCEPTED"}) {
			t.Errorf("the login was %q", logins)
		}
		remove[store.Profile](w, acme+"/profiles/default")
		remove[store.Pool](w, acmePool)
		w.settle()
		if all, _ := w.m.LeaseFeed().Snapshot(every); len(all) != 0 {
			t.Errorf("leases of a pool that is gone: %q", told(all))
		}
		time.Sleep(2 * lookEvery)
		if all, _ := w.m.PoolFeed().Snapshot(every); len(all) != 0 {
			t.Errorf("pools that are gone: %q", told(all))
		}
	})
}

// What others change of a session that is over is not published any more.
func TestNothingIsToldOfWhatIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		w.m.mu.Lock()
		var s *session
		for _, s = range w.m.sessions {
		}
		w.m.mu.Unlock()
		cl.hangUp()
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		s.update(func(i *Info) { i.MTU = 1 })
		if all, _ := w.m.SessionFeed().Snapshot(every); len(all) != 0 {
			t.Errorf("still there: %q", told(all))
		}
	})
}

// Lockouts come and go in their feed, also by time alone.
func TestLockoutFeed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		defer w.m.LockoutFeed().Follow()()
		w.lockOut(clientFrom, wrongPassword)
		time.Sleep(2 * lookEvery)
		held := w.m.Lockouts(acme)
		if len(held) == 0 {
			t.Fatal("nobody is held up")
		}
		have, _ := w.m.LockoutFeed().Snapshot(every)
		if len(have) != len(held) || have[0].Name != held[0].Name {
			t.Errorf("the feed has %q of %d lockouts", told(have), len(held))
		}
		for len(w.m.Lockouts(acme)) > 0 { // an hour or two, which take no time
			time.Sleep(time.Minute)
		}
		time.Sleep(2 * lookEvery)
		if have, _ := w.m.LockoutFeed().Snapshot(every); len(have) != 0 {
			t.Errorf("the feed still has %q", told(have))
		}
	})
}

// The health feed says whether a RADIUS server answers, and that it is out of use.
func TestHealthFeed(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadius(w, func(q *radiusQuery) []byte { return acceptMSCHAP(q) })
		w.start()
		defer w.m.HealthFeed().Follow()()
		one := acme + "/radiusServers/one"
		now := func() (state RadiusState) {
			have, _ := w.m.HealthFeed().Snapshot(func(name string) bool { return name == one })
			for _, c := range have {
				state = *c.Value
			}
			return state
		}
		w.login(simppp.Windows(alice, password))
		w.until("the server is known to answer", func() bool { return now() == RadiusAlive })
		remove[store.RadiusServer](w, one)
		w.settle()
		w.wantRefused(w.dial(simppp.Windows("later", password))) // who asks next finds it gone
		w.until("the server is gone", func() bool { return now() == "" })
	})
}
