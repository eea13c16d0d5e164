package session

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// trying is a client that tries these passwords one after the other.
func trying(cfg simppp.Config, passwords ...string) simppp.Config {
	cfg.Passwords = passwords
	return cfg
}

// by is a client that knows only these methods.
func by(cfg simppp.Config, methods ...tenant.AuthMethod) simppp.Config {
	cfg.Methods = methods
	return cfg
}

func TestWrongPassword(t *testing.T) {
	const refused = "alice REFUSED AUTHENTICATION WRONG_CREDENTIALS"
	for _, c := range []struct {
		name      string
		passwords []string
		opens     bool
		attempts  []string
	}{
		{"the client gives up", []string{"a"}, false, []string{refused}},
		{"right the second time, on the same link", []string{"a", password}, true, []string{refused, "alice ACCEPTED OPEN"}},
		{"too often", []string{"a", "b", "c", password}, false, []string{refused, refused, refused}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.ready()
				cl := w.dial(trying(simppp.Pppd(alice, ""), c.passwords...))
				if c.opens {
					w.wantOpen(cl)
					if w.leased(acmePool) != 1 {
						t.Errorf("%d leases", w.leased(acmePool))
					}
				} else {
					w.wantRefused(cl)
					w.wantClean()
				}
				w.wantAttempts(c.attempts...)
				for _, e := range cl.refused {
					if e.Code != 691 || e.Message != "Wrong user name or password" {
						t.Errorf("the client was told %+v", e)
					}
				}
			})
		})
	}
}

// TestRefusedUsers: what the table says about a user, and what the user is told.
func TestRefusedUsers(t *testing.T) {
	for _, c := range []struct {
		name   string
		login  string
		set    func(u *store.User)
		reason string
		code   int
		text   string
	}{
		{"unknown", "mallory", nil, "WRONG_CREDENTIALS", 691, "Wrong user name or password"},
		{"disabled", "bob", func(u *store.User) { u.Disabled = true }, "USER_DISABLED", 647, "This account is disabled"},
		{"expired", "bob", func(u *store.User) { u.ExpireTime = time.Now().Add(-time.Second) }, "USER_EXPIRED", 648, "This account has expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				if c.set != nil {
					w.addUser("acme", c.login, c.set)
				}
				w.start()
				cl := w.dial(simppp.Windows(c.login, password))
				w.wantRefused(cl)
				w.wantAttempts(c.login + " REFUSED AUTHENTICATION " + c.reason)
				if len(cl.refused) != 1 || cl.refused[0].Code != c.code || cl.refused[0].Message != c.text {
					t.Errorf("the client was told %+v", cl.refused)
				}
				w.wantClean()
			})
		})
	}
}

// TestMPPERequired: a client without encryption gets neither an address nor a second look.
func TestMPPERequired(t *testing.T) {
	mute := simppp.Windows(alice, password)
	mute.CCPMode = simppp.CCPMute
	for _, c := range []struct {
		name string
		cfg  simppp.Config
	}{
		{"CCP is rejected", simppp.MacOS(alice, password)},
		{"MPPE is rejected", simppp.Android(alice, password)},
		{"CCP is not answered", mute},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.ready()
				cl := w.dial(c.cfg)
				w.wantRefused(cl)
				w.wantAttempts("alice REFUSED CCP MPPE_REQUIRED")
				if text := terminated(cl.frames()); !strings.HasPrefix(text, "MPPE required") {
					t.Errorf("the client was told %q", text)
				}
				if slices.ContainsFunc(cl.fc.history(), func(s string) bool { return strings.HasPrefix(s, "attach") }) {
					t.Errorf("an address was installed: %q", cl.fc.history())
				}
				w.wantClean()
			})
		})
	}
}

// TestPolicies: which methods and which encryption a profile comes to.
func TestPolicies(t *testing.T) {
	all := []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthCHAP, tenant.AuthPAP}
	for _, c := range []struct {
		name    string
		profile store.Profile
		cfg     simppp.Config
		result  uint8 // of the refused call
		attempt string
		method  tenant.AuthMethod
		cipher  string
	}{
		{
			"PAP without allowPlaintext",
			store.Profile{AuthMethods: []tenant.AuthMethod{tenant.AuthPAP}},
			simppp.MacOS(alice, password), wire.ResultDoNotAccept, "REFUSED CALL PLAINTEXT_NOT_ALLOWED", "", "",
		},
		{
			"PAP with allowPlaintext, but MPPE required",
			store.Profile{AuthMethods: []tenant.AuthMethod{tenant.AuthPAP}, AllowPlaintext: true},
			simppp.MacOS(alice, password), wire.ResultDoNotAccept, "REFUSED CALL PLAINTEXT_NOT_ALLOWED", "", "",
		},
		{
			"MPPE disabled without allowPlaintext",
			store.Profile{MPPE: tenant.MPPE{Policy: tenant.MPPEDisabled}},
			simppp.MacOS(alice, password), wire.ResultDoNotAccept, "REFUSED CALL PLAINTEXT_NOT_ALLOWED", "", "",
		},
		{
			"PAP",
			store.Profile{AuthMethods: all, AllowPlaintext: true, MPPE: tenant.MPPE{Policy: tenant.MPPEDisabled}},
			by(simppp.MacOS(alice, password), tenant.AuthPAP), 0, "alice ACCEPTED OPEN", tenant.AuthPAP, "NONE",
		},
		{
			"CHAP",
			store.Profile{AuthMethods: all, AllowPlaintext: true, MPPE: tenant.MPPE{Policy: tenant.MPPEOptional}},
			by(simppp.MacOS(alice, password), tenant.AuthCHAP), 0, "alice ACCEPTED OPEN", tenant.AuthCHAP, "NONE",
		},
		{
			"optional, and the client wants none",
			store.Profile{AllowPlaintext: true, MPPE: tenant.MPPE{Policy: tenant.MPPEOptional}},
			simppp.MacOS(alice, password), 0, "alice ACCEPTED OPEN", tenant.AuthMSCHAPv2, "NONE",
		},
		{
			"optional, and the client wants it",
			store.Profile{AllowPlaintext: true, MPPE: tenant.MPPE{Policy: tenant.MPPEOptional}},
			simppp.Windows(alice, password), 0, "alice ACCEPTED OPEN", tenant.AuthMSCHAPv2, "MPPE-128",
		},
		{
			"optional without allowPlaintext is required",
			store.Profile{MPPE: tenant.MPPE{Policy: tenant.MPPEOptional}},
			simppp.MacOS(alice, password), 0, "alice REFUSED CCP MPPE_REQUIRED", "", "",
		},
		{
			"40 bits, stateful",
			store.Profile{MPPE: tenant.MPPE{KeyBits: []int{40}, AllowStateful: true}},
			func() simppp.Config {
				cfg := simppp.Pppd(alice, password)
				cfg.MPPE, cfg.CCP[0].Value = 0x20, []byte{0, 0, 0, 0x20}
				return cfg
			}(), 0, "alice ACCEPTED OPEN", tenant.AuthMSCHAPv2, "MPPE-40-STATEFUL",
		},
		{
			"the client knows only PAP",
			store.Profile{},
			by(simppp.MacOS(alice, password), tenant.AuthPAP), 0, "REFUSED LCP NO_COMMON_AUTH_METHOD", "", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", func(p *store.Profile) {
					p.AuthMethods, p.AllowPlaintext, p.MPPE = c.profile.AuthMethods, c.profile.AllowPlaintext, c.profile.MPPE
				})
				w.start()
				cl, err := w.tryDial(mainAddr, clientFrom, c.cfg)
				switch {
				case c.result != 0:
					var r *simpptp.ResultError
					if !errors.As(err, &r) || r.Result != c.result {
						t.Errorf("the call: %v, want result %d", err, c.result)
					}
				case err != nil:
					t.Fatal(err)
				case c.cipher != "":
					w.wantOpen(cl)
					w.until("the cipher is known", func() bool { return w.session(acme).Cipher == c.cipher })
					i := w.session(acme)
					if i.AuthMethod != c.method {
						t.Errorf("logged in by %s", i.AuthMethod)
					}
					if s := cl.fc.attached(); s.RequireMPPE && c.cipher == "NONE" {
						t.Errorf("attached with %+v", s)
					}
				default:
					w.wantRefused(cl)
				}
				w.wantAttempts(c.attempt)
			})
		})
	}
}

// TestUsersOwnProfile: the listener's methods are its tenant's default profile's, but what counts in the end is the
// user's own.
func TestUsersOwnProfile(t *testing.T) {
	lax := func(p *store.Profile) {
		p.AuthMethods = []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthPAP}
		p.AllowPlaintext, p.MPPE.Policy = true, tenant.MPPEOptional
	}
	for _, c := range []struct {
		name    string
		profile store.Profile // bob's
		cfg     simppp.Config
		attempt string
		text    string
	}{
		{
			"the method is not allowed",
			store.Profile{},
			by(simppp.MacOS("bob", password), tenant.AuthPAP),
			"bob REFUSED AUTHENTICATION NO_COMMON_AUTH_METHOD", "This authentication method is not allowed for you",
		},
		{
			"MPPE is required", store.Profile{}, simppp.MacOS("bob", password), "bob REFUSED CCP MPPE_REQUIRED", "",
		},
		{
			"nothing is allowed",
			store.Profile{MPPE: tenant.MPPE{Policy: tenant.MPPEDisabled}},
			simppp.MacOS("bob", password),
			"bob REFUSED CCP PLAINTEXT_NOT_ALLOWED", "Unencrypted connections are not allowed",
		},
		{"all is well", store.Profile{MTU: 1300}, simppp.Windows("bob", password), "bob ACCEPTED OPEN", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", lax)
				p := c.profile
				p.Meta = named(acme + "/profiles/strict")
				create(w, &p)
				w.addUser("acme", "bob", func(u *store.User) { u.Profile = p.Name })
				w.start()
				cl := w.dial(c.cfg)
				if strings.HasSuffix(c.attempt, "OPEN") {
					w.wantOpen(cl)
					if i := w.session(acme); i.Profile != p.Name || i.MTU != 1300 || i.Cipher != "MPPE-128" {
						t.Errorf("session %+v", i)
					}
				} else {
					w.wantRefused(cl)
					w.wantClean()
				}
				w.wantAttempts(c.attempt)
				if c.text != "" && !slices.Equal(cl.refusals(), []string{c.text}) {
					t.Errorf("the client was told %q", cl.refusals())
				}
			})
		})
	}
}

// TestRealms: the realm of the name chooses the tenant, and nobody gets into one that the listener does not have.
func TestRealms(t *testing.T) {
	for _, c := range []struct {
		name    string
		login   string
		tenants []string // of the listener; the first is its default
		noFirst bool     // it has no default
		tenant  string   // where the login ends up
		user    string
		attempt string
	}{
		{"no realm", "alice", []string{"acme", "beta"}, false, "acme", "alice", "ACCEPTED OPEN"},
		{"realm behind", "carol@beta.example", []string{"acme", "beta"}, false, "beta", "carol", "ACCEPTED OPEN"},
		{"realm in front, in capitals", `BETA\carol`, []string{"acme", "beta"}, false, "beta", "carol", "ACCEPTED OPEN"},
		{"realm that is kept", "dave@gamma.example", []string{"acme", "gamma"}, false, "gamma", "dave@gamma.example", "ACCEPTED OPEN"},
		{"unknown realm, with a default", "alice@nowhere.example", []string{"acme"}, false, "acme", "alice@nowhere.example", "REFUSED AUTHENTICATION WRONG_CREDENTIALS"},
		{"realm of a tenant that the listener has not", "carol@beta.example", []string{"acme"}, false, "acme", "carol@beta.example", "REFUSED AUTHENTICATION WRONG_CREDENTIALS"},
		{"unknown realm, no default", "carol@nowhere.example", []string{"acme", "beta"}, true, "", "carol@nowhere.example", "REFUSED AUTHENTICATION TENANT_MISMATCH"},
		{"no realm, no default", "alice", []string{"acme", "beta"}, true, "", "alice", "REFUSED AUTHENTICATION TENANT_MISMATCH"},
		{"realm, no default", "carol@beta.example", []string{"acme", "beta"}, true, "beta", "carol", "ACCEPTED OPEN"},
		{"realm, no default, and a tenant that is gone", "carol@beta.example", []string{"gone", "beta", "acme"}, true, "beta", "carol", "ACCEPTED OPEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.addTenant("acme", "10.7.0.0/29")
				w.addUser("acme", alice, nil)
				w.addTenant("beta", "10.7.0.0/29") // another tenant's network may have the same addresses
				alter(w, "tenants/beta", func(r *store.Tenant) { r.Realms, r.RealmStripping = []string{"beta.example", "beta"}, true })
				w.addUser("beta", "carol", nil)
				w.addTenant("gamma", "10.8.0.0/29")
				alter(w, "tenants/gamma", func(r *store.Tenant) { r.Realms = []string{"gamma.example"} })
				w.addUser("gamma", "dave@gamma.example", nil)
				w.addListener("main", mainAddr, c.tenants...)
				if c.noFirst {
					alter(w, mainListener, func(l *store.Listener) { l.DefaultTenant = "" })
				}
				w.start()
				cl := w.dial(simppp.Windows(c.login, password))
				if strings.HasSuffix(c.attempt, "OPEN") {
					w.wantOpen(cl)
					i := w.session("tenants/" + c.tenant)
					if i.User != c.user || i.Tenant != "tenants/"+c.tenant || len(w.m.Sessions("")) != 1 {
						t.Errorf("session %+v", i)
					}
					if n := w.plane.network("tenants/" + c.tenant); cl.fc.network != n {
						t.Errorf("attached to the network of %s", cl.fc.network.spec.Tenant)
					}
				} else {
					w.wantRefused(cl)
				}
				w.wantAttempts(c.user + " " + c.attempt)
				a := w.m.Logins(LoginFilter{})[0]
				wantTenant := ""
				if c.tenant != "" {
					wantTenant = "tenants/" + c.tenant
				}
				if a.Tenant != wantTenant || a.ClientAddress.Addr().String() != clientFrom || !strings.HasPrefix(strings.TrimPrefix(a.Name, wantTenant+"/"), "logins/") {
					t.Errorf("attempt %+v", a)
				}
			})
		})
	}
}

func TestSuspendedTenant(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		inside := w.login(simppp.Windows(alice, password))
		alter(w, acme, func(r *store.Tenant) { r.Suspended = true })
		cl := w.dial(simppp.Windows(alice, password))
		w.wantRefused(cl)
		w.wantAttempts("alice ACCEPTED OPEN", "alice REFUSED AUTHENTICATION TENANT_SUSPENDED")
		if cl.refused[0].Code != 649 || cl.refused[0].Message != "This service is suspended" {
			t.Errorf("the client was told %+v", cl.refused[0])
		}
		if !inside.isOpen() {
			t.Error("a session that was open before is gone")
		}
		alter(w, acme, func(r *store.Tenant) { r.Suspended = false })
		w.login(simppp.Windows(alice, password))
	})
}

// TestHostileName: whatever a client calls itself, logs and lists stay readable.
func TestHostileName(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.wantRefused(w.dial(simppp.Windows("a\x1b[2J\x00\xff"+strings.Repeat("b", 400), password)))
		a := w.m.Logins(LoginFilter{})[0]
		if !strings.HasPrefix(a.User, "a\uFFFD[2J\uFFFD\uFFFDbb") || len(a.User) > 300 || a.Reason != tenant.ReasonWrongCredentials {
			t.Errorf("attempt %+v", a)
		}
	})
}

// TestControlConnectionWithoutCall: what the PPTP server turns away by itself stands in the login log too.
func TestControlConnectionWithoutCall(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		nc, err := w.plane.dial("", mainAddr, clientFrom)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		w.until("it is refused", func() bool { return len(w.attempts()) == 1 })
		w.wantAttempts("REFUSED CALL PROTOCOL_ERROR")
		w.wantClean()
	})
}

// TestMetrics: what is counted by state and by outcome.
func TestMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.login(simppp.Windows(alice, password))
		w.wantRefused(w.dial(simppp.Windows(alice, "wrong")))
		families, err := w.m.cfg.Metrics.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			if n := f.GetName(); n == "concentrator_sessions" || n == "concentrator_logins_total" {
				for _, m := range f.GetMetric() {
					got = append(got, m.String())
				}
			}
		}
		all := strings.Join(got, "\n")
		for _, want := range []string{`"OPEN"`, `"ACCEPTED"`, `"WRONG_CREDENTIALS"`, `"tenants/acme"`} {
			if !strings.Contains(all, want) {
				t.Errorf("no %s in\n%s", want, all)
			}
		}
		if size, leased := w.m.PoolUsage(acmePool); size != 5 || leased != 1 {
			t.Errorf("pool: %d of %d", leased, size)
		}
	})
}
