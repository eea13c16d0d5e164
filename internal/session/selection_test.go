package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"concentrator/internal/corpus"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// TestSelection: the tenant of a login for every pair of what IKE has proved, by key or by certificate, the realm and the
// listener's default. A user of one tenant never enters through another's key or certificate; a realm of a tenant that the
// listener does not have means nothing there.
func TestSelection(t *testing.T) {
	const none = "-" // TENANT_MISMATCH
	defaults := []string{"acme", "beta", ""}
	realms := []string{"", "acme.example", "beta.example", "gamma.example", "nowhere.example"}
	for _, c := range []struct {
		proven string
		want   [][]string // by realm, then by default
	}{
		{"", [][]string{
			{"acme", "beta", none}, {"acme", "acme", "acme"}, {"beta", "beta", "beta"}, {"acme", "beta", none}, {"acme", "beta", none},
		}},
		{"acme", [][]string{
			{"acme", "acme", "acme"}, {"acme", "acme", "acme"}, {none, none, none}, {"acme", "acme", "acme"}, {"acme", "acme", "acme"},
		}},
		{"beta", [][]string{
			{"beta", "beta", "beta"}, {none, none, none}, {"beta", "beta", "beta"}, {"beta", "beta", "beta"}, {"beta", "beta", "beta"},
		}},
	} {
		for _, certificate := range []bool{false, true} {
			if c.proven == "" && certificate {
				continue
			}
			t.Run(fmt.Sprintf("%s, certificate %v", c.proven, certificate), func(t *testing.T) {
				inHalf(t, func(t *testing.T, w *half) {
					w.furnishSelection(realms)
					w.start()
					port := 40000
					for d, def := range defaults {
						alter(w.world, mainListener, func(l *store.Listener) {
							l.DefaultTenant = ""
							if def != "" {
								l.DefaultTenant = "tenants/" + def
							}
						})
						w.settle()
						for r, realm := range realms {
							port++
							name := strings.TrimSuffix("user@"+realm, "@")
							var cl *client
							if c.proven == "" {
								cl = w.dial(simppp.Windows(name, password))
							} else {
								p := w.secure(who{
									tenant: "tenants/" + c.proven, id: fmt.Sprint("CN=", port), subject: certificate,
									from: fmt.Sprint("198.51.100.7:", port),
								})
								cl = w.dialIn(w.tunnel(p, 1701, 1), simppp.Windows(name, password))
							}
							w.wantSelected(cl, c.want[r][d], fmt.Sprintf("realm %q, default %q", realm, def))
						}
					}
				})
			})
		}
	}
}

// furnishSelection adds two tenants, of which the listener has one, and a user of all names in every one.
func (w *half) furnishSelection(realms []string) {
	w.addTenant("beta", "10.8.0.0/29")
	w.addTenant("gamma", "10.9.0.0/29")
	for _, id := range []string{"acme", "beta", "gamma"} {
		alter(w.world, "tenants/"+id, func(r *store.Tenant) { r.Realms, r.RealmStripping = []string{id + ".example"}, true })
		for _, realm := range realms {
			w.addUser(id, strings.TrimSuffix("user@"+realm, "@"), nil)
		}
	}
	alter(w.world, mainListener, func(l *store.Listener) {
		l.Protocols = append(l.Protocols, tenant.ProtocolPPTP)
		l.Tenants = append(l.Tenants, "tenants/beta")
	})
}

// wantSelected waits for a login's end: a session of the tenant alone, or TENANT_MISMATCH.
func (w *half) wantSelected(cl *client, want, where string) {
	w.t.Helper()
	w.until("it is decided", func() bool { return cl.isOpen() && cl.fc.isOpen() || cl.ended() })
	list := w.m.Sessions("")
	last := w.m.Logins(LoginFilter{})[0]
	got := "-"
	switch {
	case cl.isOpen() && len(list) == 1:
		got = strings.TrimPrefix(list[0].Tenant, "tenants/")
		if n := w.plane.network(list[0].Tenant); cl.fc.network != n {
			w.t.Errorf("%s: attached to the network of %s", where, cl.fc.network.spec.Tenant)
		}
	case last.Reason != tenant.ReasonTenantMismatch:
		got = string(last.Reason)
	}
	if got != want {
		w.t.Errorf("%s: %s, want %s (%+v)", where, got, want, last)
	}
	cl.stop()
	w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
}

// TestSelectionAfterTheListenerLostTheTenant: what IKE has proved is worth nothing on a listener that has not the tenant.
func TestSelectionAfterTheListenerLostTheTenant(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.furnishSelection([]string{""})
		w.start()
		p := w.secure(behindNAT)
		tunnel := w.tunnel(p, 1701, 1)
		alter(w.world, mainListener, func(l *store.Listener) {
			l.Tenants, l.DefaultTenant = []string{"tenants/beta"}, "tenants/beta"
		})
		w.settle()
		cl := w.dialIn(tunnel, simppp.Windows("user", password))
		w.wantSelected(cl, "-", "proven acme")
	})
}

// hostileNames are names with octets that a terminal, a log or JSON would not survive.
var hostileNames = []string{
	"a\x1b[2J\x00\xff", "\r\nlevel=ERROR msg=\"all is lost\"", "\u202egnp.exe", "a\u200bb\u2028c", "\xc3", "\xed\xa0\x80", "tab\there",
	"../../tenants/beta/users/x", "tenants/beta", "%2F%00", "<script>", `a"b'c`, " ", "\x7f\u0085", "ü\U0001F600",
	strings.Repeat("ü", 126), "x" + strings.Repeat("ü", 126),
}

// TestHostileNames: users of such names can log in, are found under their own name only, and lists, details and watch
// events show them without a single octet that is not text.
func TestHostileNames(t *testing.T) {
	safe := func(t *testing.T, what, text string) {
		t.Helper()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 3*300 {
			t.Errorf("%s: %q", what, text)
		}
	}
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		for _, name := range hostileNames {
			w.addUser("acme", name, nil)
			if login, err := tenant.DecodeUser(tenant.EncodeUser(name)); err != nil || login != name {
				t.Errorf("%q becomes %q, %v", name, login, err)
			}
		}
		w.start()
		for _, name := range hostileNames {
			cl := w.login(simppp.Windows(name, password))
			i := w.session(acme)
			safe(t, "session", i.User)
			safe(t, "session's name", i.Name)
			cl.stop()
			w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		}
		for i, name := range hostileNames { // from another address each: it is not the source that is locked out
			for range 8 {
				cl, err := w.tryDial(mainAddr, fmt.Sprint("198.51.100.", 100+i), simppp.Windows(name, "wrong"))
				if err != nil {
					t.Fatal(err)
				}
				w.wantRefused(cl)
			}
		}
		for _, a := range w.m.Logins(LoginFilter{}) {
			safe(t, "attempt", a.User)
			safe(t, "detail", a.Detail)
			safe(t, "attempt's name", a.Name)
		}
		locked := w.m.Lockouts("")
		if len(locked) < len(hostileNames) {
			t.Errorf("%d lockouts", len(locked))
		}
		for _, l := range locked {
			safe(t, "lockout", l.Subject)
			safe(t, "lockout's name", l.Name)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	corpus.Add(f)
	for _, s := range slices.Concat(hostileNames, []string{"", "alice@acme.example"}) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := printable(name)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is shown as %q", name, got)
		}
		if utf8.RuneCountInString(got) > 256 {
			t.Errorf("%d characters", utf8.RuneCountInString(got))
		}
		if got != printable(got) && len(got) <= 256 {
			t.Errorf("%q is shown as %q, and that as %q", name, got, printable(got))
		}
	})
}
