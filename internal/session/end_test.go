package session

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/authz/local"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
	wirelcp "concentrator/internal/wire/lcp"
	wire "concentrator/internal/wire/ppp"
)

// thinking is a user table that takes its time: so long for each question in turn, then no longer.
type thinking struct {
	users
	mu    sync.Mutex
	times []time.Duration
	asked int
}

func (u *thinking) User(tenantID, user string) (local.User, bool, error) {
	u.mu.Lock()
	var d time.Duration
	if u.asked < len(u.times) {
		d = u.times[u.asked]
	}
	u.asked++
	u.mu.Unlock()
	time.Sleep(d)
	return u.users.User(tenantID, user)
}

func (u *thinking) questions() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// think makes the next logins take so long to decide.
func (w *world) think(times ...time.Duration) *thinking {
	u := &thinking{users: users{w.store}, times: times}
	w.m.local = local.New(u)
	return u
}

// TestHalfOpen: a call that does not get on is given up, wherever it stands, and leaves nothing.
func TestHalfOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		cut     string // GRE is cut when the session has done that; empty: at once
		cfg     simppp.Config
		attempt string
		most    time.Duration
	}{
		{"not a word", "", simppp.Windows(alice, password), "REFUSED LCP PEER_TIMEOUT", 60 * time.Second},
		{"dead in LCP", "LCP Configure-Request", simppp.Windows(alice, password), "REFUSED LCP PEER_TIMEOUT", 67 * time.Second},
		{"dead in the login", "CHAP Challenge", simppp.Windows(alice, password), "REFUSED AUTHENTICATION PEER_TIMEOUT", 68 * time.Second},
		{"dead in CCP", "CHAP Success", simppp.Windows(alice, password), "alice REFUSED CCP MPPE_REQUIRED", 68 * time.Second},
		{"dead in IPCP", "encrypt 128", simppp.Pppd(alice, password), "alice REFUSED ADDRESS PEER_TIMEOUT", 68 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", func(p *store.Profile) { p.Echo = tenant.Echo{Interval: time.Hour, Failures: 1} })
				w.start()
				began := time.Now()
				cl := w.dial(c.cfg)
				if c.cut != "" {
					w.until("it is time to cut", func() bool { return slices.Contains(cl.fc.history(), c.cut) })
				}
				cl.setMute(true)
				w.until("the session is given up", func() bool { return w.m.byCallID(cl.fc.id) == nil })
				if took := time.Since(began); took > c.most {
					t.Errorf("given up after %v, want %v at most", took, c.most)
				}
				w.wantClean()
				w.wantAttempts(c.attempt)
				w.until("the client hears of it", cl.gone)
			})
		})
	}
}

// TestSlowLine: who has been heard of in LCP has time for the login, however long LCP took.
func TestSlowLine(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.dial(simppp.Windows(alice, password))
		cl.setMute(true)
		time.Sleep(20 * time.Second)
		cl.setMute(false)
		w.until("LCP is open", func() bool { return slices.Contains(cl.fc.history(), "CHAP Challenge") })
		cl.setMute(true)
		time.Sleep(20 * time.Second)
		cl.setMute(false)
		w.until("the session is open", cl.isOpen)
	})
}

// TestConnectionLostInEveryPhase cuts the control connection at each moment of a login, and later.
func TestConnectionLostInEveryPhase(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		for i := range 40 {
			at := time.Duration(i) * 4 * time.Millisecond
			cfg := simppp.Windows(alice, password)
			if i%2 == 1 {
				cfg = simppp.Pppd(alice, password)
			}
			cl := w.dial(cfg)
			time.Sleep(at)
			cl.abort()
			w.until("the session is gone", func() bool { return w.m.byCallID(cl.fc.id) == nil })
			synctest.Wait()
			w.wantClean()
			if got := len(w.m.Logins(LoginFilter{})); got != i+1 {
				t.Fatalf("cut after %v: %d attempts: %q", at, got, w.attempts())
			}
			if t.Failed() {
				t.Fatalf("cut after %v: %q", at, cl.fc.history())
			}
		}
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		if w.plane.closes != 40 {
			t.Errorf("%d calls were closed", w.plane.closes)
		}
	})
}

// TestConnectionLostOverTCP: the same once with the kernel's sockets.
func TestConnectionLostOverTCP(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		half := w.dial(simppp.Windows(alice, password))
		half.setMute(true)
		cl.abort()
		half.abort()
		w.until("the sessions are gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
	})
}

// TestCallCleared: the client ends the call, not the link.
func TestCallCleared(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		cl.stop()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
		w.wantAttempts("alice ACCEPTED OPEN")
	})
}

// TestDecisionAfterDeath: the client dies while its login is being decided; what was decided comes to nothing.
func TestDecisionAfterDeath(t *testing.T) {
	t.Run("before it takes a place", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.ready()
			w.think(5 * time.Second)
			cl := w.dial(simppp.Windows(alice, password))
			time.Sleep(time.Second)
			cl.abort()
			w.until("the session is gone", func() bool { return w.m.byCallID(cl.fc.id) == nil })
			time.Sleep(10 * time.Second)
			w.wantClean()
			w.wantAttempts("alice REFUSED AUTHENTICATION LOST_CARRIER")
		})
	})
	t.Run("while it waits for its predecessor to go", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.furnish()
			alter(w, acme, func(r *store.Tenant) { r.Limits.MaxSessionsPerUser = 1 })
			w.start()
			first := w.login(simppp.Windows(alice, password))
			w.plane.mu.Lock()
			w.plane.slowClose = func(c *fakeCall) {
				if c == first.fc {
					time.Sleep(3 * time.Second)
				}
			}
			w.plane.mu.Unlock()
			second := w.dial(simppp.Windows(alice, password))
			time.Sleep(time.Second) // second has the place, first is on its way out
			if !slices.Contains(w.attempts(), "alice ACCEPTED OPEN") || len(w.attempts()) != 1 {
				t.Fatalf("attempts %q", w.attempts())
			}
			second.abort()
			time.Sleep(10 * time.Second)
			w.wantClean()
			w.wantAttempts("alice ACCEPTED OPEN", "alice REFUSED AUTHENTICATION LOST_CARRIER")
		})
	})
	t.Run("when it lies in the mailbox", func(t *testing.T) {
		released := 0
		s := &session{done: make(chan struct{}), inbox: make(chan event, 2)}
		grant := func() *outcome { return &outcome{grant: &granted{release: func() { released++ }}} }
		s.answer(grant())
		s.answer(grant()) // takes the place of the first
		if released != 1 {
			t.Errorf("%d released, want the stale one", released)
		}
		s.closeMailbox()
		close(s.done)
		s.answer(grant())
		if released != 3 {
			t.Errorf("%d released, want all", released)
		}
	})
}

// TestOverlappingLogins: a client that got our Challenge twice answers twice, and is decided on twice. The second
// decision counts, whichever comes first, and the first one leaves nothing behind.
func TestOverlappingLogins(t *testing.T) {
	for _, static := range []bool{false, true} {
		t.Run(fmt.Sprintf("static %v", static), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.addTenant("acme", "10.7.0.0/30") // one address only
				w.addUser("acme", alice, func(u *store.User) {
					if static {
						u.StaticAddress = netip.MustParseAddr("10.7.0.2")
					}
				})
				w.addUser("acme", "bob", nil)
				w.addListener("main", mainAddr, "acme")
				w.start()
				table := w.think(3*time.Second, time.Second)
				cl := w.dial(simppp.Windows(alice, password))
				isChallenge := func(f frame) bool { return f.protocol == wire.ProtocolCHAP && f.packet[0] == chap.CodeChallenge }
				w.until("the Challenge is there", func() bool { return slices.ContainsFunc(cl.frames(), isChallenge) })
				time.Sleep(500 * time.Millisecond)
				heard := cl.frames()
				again := heard[slices.IndexFunc(heard, isChallenge)]
				cl.tell(func(now time.Time) { cl.m.Receive(now, again.protocol, again.packet) })
				w.wantOpen(cl)
				time.Sleep(10 * time.Second)
				if table.questions() != 2 {
					t.Fatalf("%d questions, want 2", table.questions())
				}
				encrypt, decrypt := cl.fc.keys()
				if !cl.isOpen() || encrypt != cl.recv || decrypt != cl.send {
					t.Errorf("open %v, server %+v %+v, client %+v %+v", cl.isOpen(), encrypt, decrypt, cl.send, cl.recv)
				}
				w.wantAttempts("alice ACCEPTED OPEN")
				if w.leased(acmePool) != 1 {
					t.Errorf("%d leases", w.leased(acmePool))
				}
				bob := w.dial(simppp.Windows("bob", password)) // the only address is alice's
				w.wantRefused(bob)
				cl.hangUp()
				w.until("the address is free", func() bool { return w.leased(acmePool) == 0 })
			})
		})
	}
}

// TestRenegotiation: a client that lost its state logs in anew on the same call. It keeps its address, also where there
// is no other, until somebody else logs in on the link.
func TestRenegotiation(t *testing.T) {
	for _, c := range []struct {
		name   string
		pool   string
		static string
	}{
		{"the pool has one address", "10.7.0.0/30", ""},
		{"the pool has more", "10.7.0.0/29", ""},
		{"fixed address", "10.7.0.0/29", "10.7.0.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.addTenant("acme", c.pool)
				w.addUser("acme", alice, func(u *store.User) {
					if c.static != "" {
						u.StaticAddress = netip.MustParseAddr(c.static)
					}
				})
				w.addListener("main", mainAddr, "acme")
				w.start()
				cl := w.login(simppp.Windows(alice, password))
				for round := range 3 {
					before := w.session(acme)
					_, key := cl.fc.keys()
					cl.tell(func(now time.Time) { cl.m.Renegotiate(now) })
					w.until("the link is down", func() bool { return !cl.fc.isOpen() })
					w.until("it is up again", func() bool { return cl.isOpen() && cl.fc.isOpen() })
					after := w.session(acme)
					if after.Name != before.Name || after.Address != before.Address || after.State != StateOpen || after.Cipher != "MPPE-128" {
						t.Errorf("before %+v, after %+v", before, after)
					}
					if _, now := cl.fc.keys(); now == key || now != cl.send {
						t.Errorf("the old key is still used")
					}
					if w.leased(acmePool) != 1 || w.m.slots.slots() != 1 {
						t.Errorf("round %d: %d leases, %d slots", round, w.leased(acmePool), w.m.slots.slots())
					}
				}
				w.wantAttempts("alice ACCEPTED OPEN", "alice ACCEPTED OPEN", "alice ACCEPTED OPEN", "alice ACCEPTED OPEN")
				cl.hangUp()
				w.until("the address is free", func() bool { return w.leased(acmePool) == 0 })
			})
		})
	}
}

// TestRenegotiationRefused: the user was disabled meanwhile; the session ends and its address is free.
func TestRenegotiationRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		alter(w, acme+"/users/alice", func(u *store.User) { u.Disabled = true })
		cl.tell(func(now time.Time) { cl.m.Renegotiate(now) })
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
		w.wantAttempts("alice ACCEPTED OPEN", "alice REFUSED AUTHENTICATION USER_DISABLED")
	})
}

// TestAttachFails: a session whose address can't be installed is no success.
func TestAttachFails(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.lax = true // our Ack can't be taken back
		n := w.plane.network(acme)
		w.plane.mu.Lock()
		n.taken[netip.MustParseAddr("10.7.0.2")] = &fakeCall{}
		w.plane.mu.Unlock()
		cl := w.dial(simppp.Windows(alice, password))
		w.until("the session is gone", func() bool { return w.m.byCallID(cl.fc.id) == nil })
		w.wantAttempts("alice REFUSED ADDRESS POOL_EXHAUSTED")
		if cl.fc.isOpen() || slices.Contains(cl.fc.history(), "open true") {
			t.Error("IP passed without an address")
		}
		if len(w.errors.take()) != 1 {
			t.Error("nobody was told")
		}
		w.wantClean()
	})
}

func TestDisconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		i := w.session(acme)
		if err := w.m.Disconnect(acme+"/sessions/nobody", tenant.ReasonAdminDisconnect); !errors.Is(err, ErrNotFound) {
			t.Errorf("no such session: %v", err)
		}
		if err := w.m.Disconnect(strings.Replace(i.Name, "acme", "beta", 1), tenant.ReasonAdminDisconnect); !errors.Is(err, ErrNotFound) {
			t.Errorf("another tenant's name: %v", err)
		}
		if err := w.m.Disconnect(i.Name, tenant.ReasonAdminDisconnect); err != nil {
			t.Fatal(err)
		}
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
		w.until("the client's link is down", func() bool { return cl.ended() })
		if text := terminated(cl.frames()); text != "ended by an operator" {
			t.Errorf("the client was told %q", text)
		}
		w.until("the call is gone", cl.gone)
		if err := w.m.Disconnect(i.Name, tenant.ReasonAdminDisconnect); !errors.Is(err, ErrNotFound) {
			t.Errorf("again: %v", err)
		}
	})
}

// TestDisconnectDeadClient: a client that does not answer the goodbye is gone all the same, and meanwhile costs nothing.
func TestDisconnectDeadClient(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		cl.setMute(true)
		began := time.Now()
		if err := w.m.Disconnect(w.session(acme).Name, tenant.ReasonAdminDisconnect); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := w.session(acme); s.State != StateClosing {
			t.Errorf("state %s", s.State)
		}
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if took := time.Since(began); took > terminateTimeout+100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		w.wantClean()
	})
}

// TestTimeouts: idle and session timeout end a session, politely, at their time; traffic only holds off the first.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name    string
		idle    time.Duration
		session time.Duration
		traffic time.Duration // how long there is some
		want    time.Duration
		text    string
	}{
		{"idle", time.Minute, 0, 0, time.Minute, "no traffic for 1m0s"},
		{"idle after traffic", time.Minute, 0, 5 * time.Minute, 6 * time.Minute, "no traffic for 1m0s"},
		{"session", 0, 3 * time.Minute, time.Hour, 3 * time.Minute, "the session's time is over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", func(p *store.Profile) { p.IdleTimeout, p.SessionTimeout = c.idle, c.session })
				w.start()
				cl := w.login(simppp.Windows(alice, password))
				began := time.Now()
				for time.Since(began) < min(c.traffic, c.want) && !cl.ended() {
					cl.fc.traffic(1)
					time.Sleep(10 * time.Second)
				}
				w.until("the goodbye is said", func() bool { return terminated(cl.frames()) != "" })
				if took := time.Since(began); took < c.want-11*time.Second || took > c.want+time.Second {
					t.Errorf("ended after %v, want %v", took, c.want)
				}
				if text := terminated(cl.frames()); text != c.text {
					t.Errorf("the client was told %q", text)
				}
				w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
				w.wantClean()
			})
		})
	}
}

// TestGoodbyeDoesNotSpin: while a dead client is waited for, timeouts that are over already must not keep the session's
// goroutine busy.
func TestGoodbyeDoesNotSpin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.IdleTimeout, p.SessionTimeout = time.Minute, time.Minute+time.Second })
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		s := w.m.byCallID(cl.fc.id)
		time.Sleep(30 * time.Second)
		cl.setMute(true)
		w.until("the goodbye begins", func() bool { return s.snapshot().State == StateClosing })
		// The bubble's time stands still while anything runs: if the session spins, this never returns.
		began := time.Now()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if took := time.Since(began); took > terminateTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// TestLostCarrier: a client that dies is found by the keepalive, and its things are free.
func TestLostCarrier(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		cl.setMute(true)
		began := time.Now()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if took := time.Since(began); took > 80*time.Second {
			t.Errorf("it took %v, want 80 s at most", took)
		}
		w.wantClean()
		// Data is as good as an answer.
		alive := w.login(simppp.Windows(alice, password))
		alive.setMute(true)
		for range 30 {
			time.Sleep(10 * time.Second)
			alive.fc.traffic(1)
		}
		if !alive.fc.isOpen() {
			t.Error("a session with traffic was given up")
		}
	})
}

// TestComesBackAtOnce: a client that died and calls again with the same call ID replaces itself.
func TestComesBackAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		first := w.login(simppp.Windows(alice, password))
		first.setMute(true)
		w.nextID-- // the same call ID again, from the same address
		second := w.login(simppp.Windows(alice, password))
		w.until("the first is gone", func() bool { return w.m.byCallID(first.fc.id) == nil })
		if !second.isOpen() || w.leased(acmePool) != 1 || w.m.slots.slots() != 1 {
			t.Errorf("open %v, %d leases, %d slots", second.isOpen(), w.leased(acmePool), w.m.slots.slots())
		}
	})
}

// TestShutdown: everyone is told, nothing is left, and nobody can hold it up.
func TestShutdown(t *testing.T) {
	for _, c := range []struct {
		name  string
		run   func(*testing.T, func(*testing.T, *world))
		bound time.Duration
		most  time.Duration
	}{
		{"patient", inBubble, time.Minute, 20 * time.Second},
		{"in a hurry", inBubble, 2 * time.Second, 2100 * time.Millisecond},
		{"over TCP", inReality, 300 * time.Millisecond, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, func(t *testing.T, w *world) {
				w.ready()
				open := w.login(simppp.Windows(alice, password))
				dead := w.login(simppp.Windows(alice, password))
				dead.setMute(true)
				half := w.dial(simppp.Windows(alice, password))
				half.setMute(true)
				w.think(time.Second)
				undecided := w.dial(simppp.Windows(alice, password))
				if took := w.shutdown(c.bound); took > c.most {
					t.Errorf("it took %v, want %v at most", took, c.most)
				}
				w.wantClean()
				w.until("all calls are over", func() bool {
					return open.gone() && dead.gone() && half.gone() && undecided.gone()
				})
				if text := terminated(open.frames()); text != "the server shuts down" {
					t.Errorf("the client was told %q", text)
				}
				if _, err := w.tryDial(mainAddr, clientFrom, simppp.Windows(alice, password)); err == nil {
					t.Error("a call was taken after the end")
				}
			})
		})
	}
}

// TestDraining: while the goodbyes are said, new calls are turned away.
func TestDraining(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		cl.setMute(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.shutdown(time.Minute)
		}()
		time.Sleep(time.Second)
		w.wantBusy()
		w.wantAttempts("alice ACCEPTED OPEN", "REFUSED CALL DRAINING")
		<-done
	})
}

// TestShutdownWithoutRun: the daemon may fail before the first pass.
func TestShutdownWithoutRun(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) { w.furnish() })
}

// TestInboxOverflow: a client that floods its session with control frames loses frames, not the session, and nobody waits.
func TestInboxOverflow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		echo := wire.AppendPacket(nil, wirelcp.CodeEchoRequest, 1, []byte{0, 0, 0, 9})
		w.plane.mu.Lock()
		w.plane.slowClose = func(*fakeCall) {
			for range 10 * inboxSize { // while nobody reads the inbox any more
				cl.fc.deliver(wire.ProtocolLCP, echo)
			}
		}
		w.plane.mu.Unlock()
		for range 100 * inboxSize {
			cl.fc.deliver(wire.ProtocolLCP, echo)
		}
		cl.fc.deliver(wire.ProtocolLCP, nil)
		cl.fc.spec.Sink.OutOfSync()
		synctest.Wait()
		if !cl.fc.isOpen() {
			t.Fatal("the flood ended the session")
		}
		w.think(time.Second)
		flooded := w.dial(simppp.Windows(alice, password))
		time.Sleep(500 * time.Millisecond) // the decision is under way
		for range 20 {
			for range 10 * inboxSize {
				flooded.fc.deliver(wire.ProtocolLCP, echo)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.wantOpen(flooded) // the decision was not lost
		cl.hangUp()
		flooded.hangUp()
		w.until("both are gone", func() bool { return w.m.slots.slots() == 0 })
		w.wantClean()
	})
}
