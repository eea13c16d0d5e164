package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/ike/ikev1"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// drain runs a Drain in the background, and keeps how many sessions were left, second by second.
type drainRun struct {
	done   chan error
	cancel context.CancelFunc
	begin  time.Time
	left   []int // by the look
}

func (w *world) drain(end time.Time) *drainRun {
	w.m.SetDraining(true)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	r := &drainRun{done: make(chan error, 1), cancel: cancel, begin: time.Now()}
	go func() { r.done <- w.m.Drain(ctx, end, func(left int) { r.left = append(r.left, left) }) }()
	return r
}

// open counts the clients that are in.
func (w *world) open() (n int) {
	for _, c := range w.clients {
		if c.isOpen() {
			n++
		}
	}
	return n
}

// TestDrainSpreads: the number of sessions goes down evenly, those without traffic go first, each is told why, and nobody comes
// in. Undrained, the next call is taken.
func TestDrainSpreads(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		alter(w, acmePool, func(p *store.Pool) { p.Ranges = []string{"10.7.0.0/24"} })
		w.settle()
		const n = 20
		for i := range n {
			user := fmt.Sprintf("u%d", i)
			w.addUser("acme", user, nil)
			w.login(simppp.Windows(user, password))
			time.Sleep(time.Second)
		}
		slices.Reverse(w.clients) // so that the first of them has the latest traffic
		for _, c := range slices.Backward(w.clients) {
			c.fc.traffic(1)
			time.Sleep(time.Second)
		}
		const deadline = 100 * time.Second
		r := w.drain(time.Now().Add(deadline))
		if !w.m.Draining() || !w.m.Instance().Draining {
			t.Error("the instance does not say that it drains")
		}
		for i := range n {
			time.Sleep(deadline/n - time.Millisecond)
			if got := w.open(); got < n-i-1 || got > n-i+1 {
				t.Errorf("after %s %d are in, want about %d", time.Since(r.begin), got, n-i)
			}
			time.Sleep(time.Millisecond)
			if i == n/2 {
				w.wantBusy()
				for k, c := range w.clients {
					if c.isOpen() != (k < w.open()) {
						t.Errorf("of those with the latest traffic the %dth is in: %t", k, c.isOpen())
					}
				}
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		select {
		case err := <-r.done:
			if took := time.Since(r.begin); err != nil || took > deadline+5*time.Second {
				t.Errorf("Drain returned %v after %s", err, took)
			}
		default:
			t.Fatalf("Drain goes on, with %d left", r.left[len(r.left)-1])
		}
		if text := terminated(w.clients[3].frames()); text != drained {
			t.Errorf("a client was told %q", text)
		}
		attempts := w.attempts()
		if got := attempts[len(attempts)-1]; got != "REFUSED CALL DRAINING" {
			t.Errorf("the call while it drained: %s", got)
		}
		if i := w.m.Instance(); i.Accepted != n || i.Refused != 1 {
			t.Errorf("%d accepted and %d refused, want %d and 1", i.Accepted, i.Refused, n)
		}
		w.m.SetDraining(false)
		w.login(simppp.Windows(alice, password))
	})
}

func TestDrainDeadlines(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func() time.Time
		most time.Duration // 0: it does not end by itself
	}{
		{"at once", time.Now, 10 * time.Second},
		{"long ago", func() time.Time { return time.Now().Add(-time.Hour) }, 10 * time.Second},
		{"none", func() time.Time { return time.Time{} }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.ready()
				w.addUser("acme", "bob", nil)
				w.login(simppp.Windows(alice, password))
				w.login(simppp.Windows("bob", password)).setMute(true) // does not answer the goodbye
				r := w.drain(c.end())
				if c.most > 0 {
					if err := <-r.done; err != nil || time.Since(r.begin) > c.most {
						t.Errorf("%v after %s", err, time.Since(r.begin))
					}
					return
				}
				time.Sleep(5 * time.Second)
				if got := w.m.count(); got != 2 {
					t.Errorf("%d are in, want 2", got)
				}
				r.cancel()
				if err := <-r.done; !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled, it returned %v", err)
				}
				if got := w.m.count(); got != 2 {
					t.Errorf("cancelled, %d are in, want 2", got)
				}
			})
		})
	}
}

// TestDrainNobody: with nobody there it is over at once.
func TestDrainNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		r := w.drain(time.Now().Add(time.Hour))
		if err := <-r.done; err != nil || time.Since(r.begin) > time.Second {
			t.Errorf("%v after %s", err, time.Since(r.begin))
		}
	})
}

// TestDrainLeavesByThemselves: those that leave by themselves count, so that nobody is sent away before the others are due.
func TestDrainLeavesByThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addUser("acme", "bob", nil)
		first := w.login(simppp.Windows(alice, password))
		w.login(simppp.Windows("bob", password))
		w.drain(time.Now().Add(100 * time.Second))
		time.Sleep(10 * time.Second)
		first.hangUp()
		time.Sleep(35 * time.Second)
		if got := w.m.count(); got != 1 {
			t.Errorf("%d are left at half time, want 1", got)
		}
	})
}

// TestDrainRefusesTunnels: L2TP says it in its own words, and who has a session may renew its ISAKMP SA.
func TestDrainRefusesTunnels(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.start()
		p := w.secure(behindNAT)
		w.enter(in(p), siml2tp.MacOS("mac", 9), simppp.MacOS(alice, password))
		w.m.SetDraining(true)

		_, err := w.tryTunnel(attachment{peer: p, port: 1702}, siml2tp.MacOS("mac", 10), simppp.MacOS("bob", password))
		var r *siml2tp.ResultError
		if !errors.As(err, &r) || r.Type != wirel2tp.TypeStopCCN || r.Result.Code != wirel2tp.StopResultShutdown {
			t.Errorf("a tunnel: %v", err)
		}
		w.wantAttempts("alice ACCEPTED OPEN", "REFUSED L2TP_TUNNEL DRAINING")
	})
}

// TestDrainRefusesPeers: a new peer is refused by IKE, one that is here is not, also behind another port of its NAT.
func TestDrainRefusesPeers(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		w.m.SetDraining(true)
		for _, c := range []struct {
			from string
			want tenant.Reason
		}{
			{behindNAT.from, ""},
			{"198.51.100.7:40009", ""},
			{"198.51.100.8:40001", tenant.ReasonDraining},
		} {
			_, err := w.ike.mainMode(who{from: c.from})
			var no *ikev1.RefusedError
			got := tenant.Reason("")
			if errors.As(err, &no) {
				got = no.Reason
			}
			if got != c.want || (err != nil) != (c.want != "") {
				t.Errorf("a peer from %s: %v, want %q", c.from, err, c.want)
			}
		}
		cl.hangUp()
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		w.ike.clear(p, tenant.ReasonUserRequest)
	})
}

// TestStanding: what is wanted and not there is named.
func TestStanding(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		if got := w.m.Standing(); got.Networks != 0 || got.Listeners != 0 {
			t.Errorf("before the first pass: %+v", got)
		}
		w.ready()
		if got := w.m.Standing(); got.Networks != 1 || len(got.NetworksDown) != 0 || got.Listeners != 1 || len(got.ListenersDown) != 0 {
			t.Errorf("all is up: %+v", got)
		}
		w.plane.mu.Lock()
		w.plane.failNet = errors.New("the device is taken")
		w.plane.failOpen[netip.MustParseAddrPort("192.0.2.2:1723")] = errors.New("the port is taken")
		w.plane.mu.Unlock()
		w.addTenant("beta", "10.8.0.0/24")
		alter(w, mainListener, func(l *store.Listener) { l.Address = "192.0.2.2" })
		w.until("it is seen", func() bool { return len(w.m.Standing().NetworksDown) > 0 && len(w.m.Standing().ListenersDown) > 0 })
		got := w.m.Standing()
		if got.Networks != 2 || !slices.Equal(got.NetworksDown, []string{"tenants/beta"}) ||
			got.Listeners != 1 || !slices.Equal(got.ListenersDown, []string{mainListener}) {
			t.Errorf("it is %+v", got)
		}
		w.errors.take()
	})
}
