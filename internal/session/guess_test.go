package session

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/guess"
	"concentrator/internal/ppp"
	"concentrator/internal/simclient/eap"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/tenant"
	wireeap "concentrator/internal/wire/eap"
)

// Where guesses come from, and a place where alice was never before.
const (
	enemyFrom = "203.0.113.66"
	hotelFrom = "203.0.113.9"
)

// dialFrom is dial from another address.
func (w *world) dialFrom(from string, cfg simppp.Config) *client {
	w.t.Helper()
	c, err := w.tryDial(mainAddr, from, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// refused dials, waits until the client is sent away, and says why.
func (w *world) refused(from string, cfg simppp.Config) tenant.Reason {
	w.t.Helper()
	w.wantRefused(w.dialFrom(from, cfg))
	a := w.m.Logins(LoginFilter{})[0]
	if a.Outcome != OutcomeRefused {
		w.t.Fatalf("the attempt is %+v", a)
	}
	return a.Reason
}

// lockOut guesses until it is held up for longer than a log-in takes, and returns how many guesses were read.
func (w *world) lockOut(from string, wrong func(i int) simppp.Config) int {
	w.t.Helper()
	for i := range 20 {
		switch r := w.refused(from, wrong(i)); r {
		case tenant.ReasonLockedOut:
			return i
		case tenant.ReasonWrongCredentials, tenant.ReasonRadiusReject:
		default:
			w.t.Fatalf("guess %d: %s", i, r)
		}
	}
	w.t.Fatal("twenty guesses were read")
	return 0
}

func wrongPassword(int) simppp.Config { return simppp.Windows(alice, "wrong") }

// leave hangs a client up.
func (w *world) leave(c *client) {
	w.t.Helper()
	c.hangUp()
	w.until("the session is gone", func() bool { return w.m.byCallID(c.fc.id) == nil })
}

// TestGuessing: who guesses alice's password is held up, and not told when it is right; alice is not, at home.
func TestGuessing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.leave(w.login(simppp.Windows(alice, password)))
		n := w.lockOut(enemyFrom, wrongPassword)
		if n < 5 || n > 8 {
			t.Errorf("%d guesses were read", n)
		}
		right := w.dialFrom(enemyFrom, simppp.Windows("Alice", password))
		w.wantRefused(right)
		a := w.m.Logins(LoginFilter{})[0]
		if a.Reason != tenant.ReasonLockedOut || a.Stage != tenant.StageAuthentication || a.Tenant != acme || !strings.Contains(a.Detail, "failures of this user from addresses") {
			t.Errorf("the right guess: %+v", a)
		}
		if got := right.refusals(); len(got) != 1 || !strings.HasPrefix(got[0], "Too many failed attempts, try again in ") {
			t.Errorf("the client was told %q", got)
		}
		w.leave(w.login(simppp.Windows(alice, password)))
		list := w.m.Lockouts(acme)
		if len(list) != 1 || list[0].Kind != guess.KindUser || list[0].Subject != alice || list[0].Failures != n || list[0].Until.IsZero() {
			t.Fatalf("lockouts %+v", list)
		}
		if len(w.m.Lockouts("tenants/other")) != 0 || len(w.m.Lockouts("")) != 1 {
			t.Error("the lockouts of others are wrong")
		}
		// From a new place she has to wait, not for long; or an operator lifts it.
		if r := w.refused(hotelFrom, simppp.Windows(alice, password)); r != tenant.ReasonLockedOut {
			t.Errorf("from a new place: %s", r)
		}
		for _, name := range []string{"", "tenants/acme/lockouts/", "lockouts/" + list[0].Name, "tenants/other" + strings.TrimPrefix(list[0].Name, acme)} {
			if err := w.m.Lift(name); err == nil {
				t.Errorf("%q was lifted", name)
			}
		}
		if err := w.m.Lift(list[0].Name); err != nil || len(w.m.Lockouts("")) != 0 {
			t.Errorf("lift: %v, left %v", err, w.m.Lockouts(""))
		}
		cl := w.dialFrom(hotelFrom, simppp.Windows(alice, password))
		w.wantOpen(cl)
		w.leave(cl)
	})
}

// TestGuessingEndsByItself: a hold-up is over after a while, and no failure is forgotten by being refused for it.
func TestGuessingEndsByItself(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.lockOut(enemyFrom, wrongPassword)
		time.Sleep(15 * time.Second)
		cl := w.dialFrom(enemyFrom, simppp.Windows(alice, password))
		w.wantOpen(cl)
		w.leave(cl)
	})
}

// TestGuessingManyNames: one source that tries many names is held up as a source; a tenant that has many users behind one is
// spared that.
func TestGuessingManyNames(t *testing.T) {
	for _, shared := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			w.furnish()
			if shared {
				alter(w, acme, func(r *store.Tenant) { r.Limits.HalfOpenPerSource = new(int) })
			}
			w.start()
			name := func(i int) simppp.Config { return simppp.Windows("u"+string(rune('a'+i)), "wrong") }
			if shared {
				for i := range 20 {
					if r := w.refused(enemyFrom, name(i)); r != tenant.ReasonWrongCredentials {
						t.Fatalf("guess %d: %s", i, r)
					}
				}
				if list := w.m.Lockouts(acme); len(list) != 0 {
					t.Errorf("%+v", list)
				}
				return
			}
			n := w.lockOut(enemyFrom, name)
			if list := w.m.Lockouts(acme); n < 10 || len(list) != 1 || list[0].Kind != guess.KindSource || list[0].Subject != enemyFrom {
				t.Errorf("after %d guesses: %+v", n, list)
			}
		})
	}
}

// TestNoGuess: what says nothing of the password holds nobody up.
func TestNoGuess(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.addUser("acme", "off", func(u *store.User) { u.Disabled = true })
		w.start()
		for range 12 {
			if r := w.refused(clientFrom, simppp.Windows("off", password)); r != tenant.ReasonUserDisabled {
				t.Fatal(r)
			}
		}
		alter(w, acme, func(r *store.Tenant) { r.Backend = tenant.BackendRADIUS }) // there is no server
		for range 12 {
			if r := w.refused(clientFrom, simppp.Windows(alice, password)); r != tenant.ReasonRadiusTimeout {
				t.Fatal(r)
			}
		}
		if l := w.m.Lockouts(""); len(l) != 0 {
			t.Errorf("%+v", l)
		}
	})
}

func TestWrongGuess(t *testing.T) {
	for _, c := range []struct {
		name   string
		method tenant.AuthMethod
		v      authz.Verdict
		want   bool
	}{
		{"wrong password", tenant.AuthMSCHAPv2, authz.Verdict{Deny: tenant.ReasonWrongCredentials, Retry: true}, true},
		{"a server's no", tenant.AuthMSCHAPv2, authz.Verdict{Deny: tenant.ReasonRadiusReject, Retry: true}, true},
		{"a server's no to PAP", tenant.AuthPAP, authz.Verdict{Deny: tenant.ReasonRadiusReject}, true},
		{"a server's no to EAP", tenant.AuthEAP, authz.Verdict{Deny: tenant.ReasonRadiusReject, EAP: []byte{4, 1, 0, 4}}, true},
		{"a one-time password is asked for", tenant.AuthPAP, authz.Verdict{Deny: tenant.ReasonRadiusReject, Retry: true}, false},
		{"EAP begins anew", tenant.AuthEAP, authz.Verdict{Deny: tenant.ReasonRadiusReject, Restart: true}, false},
		{"disabled", tenant.AuthPAP, authz.Verdict{Deny: tenant.ReasonUserDisabled}, false},
		{"expired", tenant.AuthMSCHAPv2, authz.Verdict{Deny: tenant.ReasonUserExpired, ChangePassword: true}, false},
		{"malformed", tenant.AuthCHAP, authz.Verdict{Deny: tenant.ReasonProtocolError}, false},
		{"let in", tenant.AuthCHAP, authz.Verdict{}, false},
	} {
		if got := wrongGuess(c.method, c.v); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestLoginsPerSecond: the tenant's limit refuses what is more, without asking the backend, and the next second is another.
func TestLoginsPerSecond(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme, func(r *store.Tenant) { r.Limits.LoginsPerSecond = 2 })
		w.start()
		for i := range 5 {
			w.addUser("acme", "u"+string(rune('a'+i)), nil)
			w.dial(simppp.Windows("u"+string(rune('a'+i)), password))
		}
		w.until("all are decided", func() bool { return len(w.m.Logins(LoginFilter{})) == 5 })
		if n := len(w.m.Logins(LoginFilter{Outcome: OutcomeAccepted})); n != 2 {
			t.Errorf("%d are in, want 2: %q", n, w.attempts())
		}
		for _, a := range w.m.Logins(LoginFilter{Outcome: OutcomeRefused}) {
			if a.Reason != tenant.ReasonTenantLimit || !strings.Contains(a.Detail, "a second") {
				t.Errorf("%+v", a)
			}
		}
		time.Sleep(time.Second)
		w.login(simppp.Windows(alice, password))
	})
}

// TestGuessesOutliveTheDaemon: another run, on the same file, knows who guessed and who was known.
func TestGuessesOutliveTheDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guesses.db")
	open := func(t *testing.T) *bolt.DB {
		kv, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	run := func(name string, test func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := open(t)
				defer kv.Close()
				g, err := guess.Open(guess.Config{Storage: GuessStorage(kv)})
				if err != nil {
					t.Fatal(err)
				}
				w := newWorldOf(t, true, 100, func(c Config) *Manager {
					c.Guesses = g
					return New(c)
				})
				w.ready()
				test(t, w)
				w.shutdown(time.Minute)
			})
		})
	}
	run("before", func(_ *testing.T, w *world) {
		w.leave(w.login(simppp.Windows(alice, password)))
		for range 5 {
			w.refused(enemyFrom, simppp.Windows(alice, "wrong"))
		}
	})
	kv, items := open(t), 0
	if err := GuessStorage(kv).Load(func(string, []byte) error { items++; return nil }); err != nil || items != 4 {
		t.Errorf("%d items are stored, %v; want the known user, the guessed one, the source and the tenant", items, err)
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	run("after", func(t *testing.T, w *world) {
		if l := w.m.Lockouts(acme); len(l) != 1 || l[0].Failures != 5 {
			t.Errorf("lockouts %+v", l)
		}
		w.leave(w.login(simppp.Windows(alice, password)))
	})
}

// TestGuessesGoWithTheTenant: another tenant of the same name begins anew.
func TestGuessesGoWithTheTenant(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addTenant("beta", "10.8.0.0/29")
		w.settle()
		pass, _ := w.m.guesses.Allow(guess.Attempt{Tenant: "beta", User: "bob"})
		pass.Fail()
		for range 4 {
			pass, _ = w.m.guesses.Allow(guess.Attempt{Tenant: "beta", User: "bob"})
			pass.Fail()
		}
		if len(w.m.Lockouts("tenants/beta")) != 1 {
			t.Fatal("nobody is held up")
		}
		remove[store.Profile](w, "tenants/beta/profiles/default")
		remove[store.Pool](w, "tenants/beta/pools/main")
		remove[store.Tenant](w, "tenants/beta")
		w.settle()
		if l := w.m.Lockouts(""); len(l) != 0 {
			t.Errorf("left: %+v", l)
		}
	})
}

// eapMD5 is a RADIUS server's half of EAP-MD5 (RFC 3748 section 5.4) for the user alice.
func eapMD5(q *radiusQuery) []byte {
	const eapMessage, state, accessChallenge = 79, 24, 11
	p := q.plain[eapMessage]
	challenge := []byte("0123456789abcdef")
	if len(p) < 5 {
		return nil
	}
	id := p[1]
	if p[4] == wireeap.TypeIdentity {
		request := append([]byte{1, id + 1, 0, 22, wireeap.TypeMD5, 16}, challenge...)
		return join(accessChallenge, attr(eapMessage, request...), attr(state, 'x'))
	}
	want := md5.Sum(slices.Concat([]byte{id}, []byte(password), challenge))
	if len(p) < 22 || !bytes.Equal(p[6:22], want[:]) {
		return join(accessReject, attr(eapMessage, 4, id, 0, 4))
	}
	return join(accessAccept, attr(eapMessage, 3, id, 0, 4))
}

// furnishEAP makes a tenant whose RADIUS server speaks EAP-MD5.
func (w *world) furnishEAP(answer func(*radiusQuery) []byte) *fakeRadius {
	w.furnish()
	alter(w, acme+"/profiles/default", func(p *store.Profile) {
		p.AuthMethods, p.AllowPlaintext, p.MPPE.Policy = []tenant.AuthMethod{tenant.AuthEAP}, true, tenant.MPPEDisabled
	})
	return startRadius(w, answer)
}

func byMD5(password string) simppp.Config {
	cfg := by(simppp.MacOS(alice, password), tenant.AuthEAP)
	cfg.EAP = eap.Config{Methods: []byte{wireeap.TypeMD5}}
	return cfg
}

// TestGuessingByEAP: a conversation is one log-in, however many steps it has.
func TestGuessingByEAP(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnishEAP(eapMD5)
		alter(w, acme, func(r *store.Tenant) { r.Limits.LoginsPerSecond = 1 }) // of a conversation of two steps, one counts
		w.start()
		w.leave(w.login(byMD5(password)))
		alter(w, acme, func(r *store.Tenant) { r.Limits.LoginsPerSecond = 0 })
		if n := w.lockOut(clientFrom, func(int) simppp.Config { return byMD5("wrong") }); n < 5 {
			t.Errorf("held up after %d guesses", n)
		}
	})
}

// TestGuessingByHalfOfEAP: a client that hangs up before the server has said no has guessed all the same.
func TestGuessingByHalfOfEAP(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		callers := make(chan *client, 1)
		w.furnishEAP(func(q *radiusQuery) []byte {
			(<-callers).setMute(true) // so that it never answers what comes now
			return eapMD5(q)
		})
		w.start()
		for range 5 {
			cl := w.dial(byMD5(password))
			callers <- cl
			w.until("the server has asked", func() bool {
				s := w.m.byCallID(cl.fc.id)
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.pass != nil
			})
			cl.abort()
			w.until("the session is gone", func() bool { return w.m.byCallID(cl.fc.id) == nil })
		}
		w.until("it counts", func() bool { return len(w.m.Lockouts(acme)) == 1 })
		for _, a := range w.m.Logins(LoginFilter{}) {
			if a.Reason == tenant.ReasonRadiusReject {
				t.Errorf("the server has said no: %+v", a)
			}
		}
	})
}

// TestOneTimePassword: the server's question for one is no failure, however often.
func TestOneTimePassword(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme+"/profiles/default", func(p *store.Profile) {
			p.AuthMethods, p.AllowPlaintext, p.MPPE.Policy = []tenant.AuthMethod{tenant.AuthPAP}, true, tenant.MPPEDisabled
		})
		const accessChallenge, state = 11, 24
		startRadius(w, func(q *radiusQuery) []byte {
			if reveal(q) == "123456" {
				return join(accessAccept)
			}
			return join(accessChallenge, attr(state, 'x'), attr(attrReplyMessage, []byte("token?")...))
		})
		w.start()
		for i := range 8 {
			cl := w.dial(by(simppp.MacOS(alice, password), tenant.AuthPAP))
			w.until("it is asked for", func() bool { return len(w.m.Logins(LoginFilter{})) == i+1 })
			cl.abort()
			w.until("the session is gone", func() bool { return w.m.byCallID(cl.fc.id) == nil })
		}
		w.login(trying(by(simppp.MacOS(alice, ""), tenant.AuthPAP), password, "123456"))
		if l := w.m.Lockouts(""); len(l) != 0 {
			t.Errorf("%+v", l)
		}
	})
}

// TestLeavingAConversation: only a client that goes by itself has guessed, and only where it has learned something.
func TestLeavingAConversation(t *testing.T) {
	next, broken := authz.Verdict{Next: &authz.Step{}}, errors.New("broken off")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name   string
		steps  func(s *session, pass *guess.Pass)
		reason tenant.Reason
		counts bool
	}{
		{"it hangs up before it answers", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonUserRequest, true},
		{"its line is lost", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonLostCarrier, true},
		{"it answers and hangs up", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
			s.settle(canceled, s.takePass(), ppp.AuthRequest{State: 1}, authz.Verdict{}, broken)
		}, tenant.ReasonUserRequest, true},
		{"it answers, hangs up, and the decision is late", func(s *session, pass *guess.Pass) {
			s.leaveConversation(tenant.ReasonUserRequest)
			s.settle(canceled, pass, ppp.AuthRequest{State: 1}, authz.Verdict{}, broken)
		}, tenant.ReasonUserRequest, true},
		{"it hangs up at once", func(s *session, pass *guess.Pass) {
			s.settle(canceled, pass, ppp.AuthRequest{}, authz.Verdict{}, broken)
		}, tenant.ReasonUserRequest, false},
		{"the server is silent", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{State: 1}, authz.Verdict{}, broken)
		}, tenant.ReasonUserRequest, false},
		{"we shut down", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonShutdown, false},
		{"an operator ends it", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonAdminDisconnect, false},
		{"another takes its place", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonReplaced, false},
		{"it makes room", func(s *session, pass *guess.Pass) {
			s.settle(t.Context(), pass, ppp.AuthRequest{}, next, nil)
		}, tenant.ReasonInstanceLimit, false},
	} {
		policies := guess.DefaultPolicies()
		policies.User.Free = 1
		g, s := guess.New(guess.Config{Policies: policies}), &session{}
		pass, _ := g.Allow(guess.Attempt{Tenant: "acme", User: alice})
		c.steps(s, pass)
		s.leaveConversation(c.reason)
		if got := len(g.List("")) > 0; got != c.counts {
			t.Errorf("%s: counts %v", c.name, got)
		}
	}
}
