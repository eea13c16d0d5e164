package session

import (
	"strings"
	"testing"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// TestWhatEndsSessions: which changes of what is stored end which live sessions. What manifest.FindSessions tells people
// before a change is this table; its test has the same.
func TestWhatEndsSessions(t *testing.T) {
	ofTenant := func(f func(r *store.Tenant)) func(w *half) {
		return func(w *half) { alter(w.world, acme, f) }
	}
	ofListener := func(f func(l *store.Listener)) func(w *half) {
		return func(w *half) { alter(w.world, mainListener, f) }
	}
	ofProfile := func(f func(p *store.Profile)) func(w *half) {
		return func(w *half) { alter(w.world, acme+"/profiles/default", f) }
	}
	protocols := func(list ...tenant.Protocol) func(w *half) {
		return ofListener(func(l *store.Listener) { l.Protocols = list })
	}
	for _, c := range []struct {
		name   string
		change func(w *half)
		ends   string
	}{
		{"namespace", ofTenant(func(r *store.Tenant) { r.Network.Namespace = "other" }), "PPTP IPsec plain"},
		{"device", ofTenant(func(r *store.Tenant) { r.Network.Device = "tun9" }), "PPTP IPsec plain"},
		{"network's mtu", ofTenant(func(r *store.Tenant) { r.Network.MTU = 1300 }), "PPTP IPsec plain"},
		{"masquerade and client to client", ofTenant(func(r *store.Tenant) {
			r.Network.Masquerade, r.Network.ClientToClient, r.Network.ProxyArp = true, true, true
		}), ""},
		{"limits, realms, suspended", ofTenant(func(r *store.Tenant) {
			r.Limits.MaxSessions, r.Realms, r.Suspended = 1, []string{"x"}, true
		}), ""},
		{"backend", ofTenant(func(r *store.Tenant) { r.Backend = tenant.BackendRADIUS }), ""},
		{"keys", ofTenant(func(r *store.Tenant) { r.IPsec.PSKs = []store.PSK{{Secret: tenant.Secret("new")}} }), ""},
		{"profile's mtu and pool", ofProfile(func(p *store.Profile) { p.MTU, p.Pool = 1300, acmePool }), ""},
		{"plaintext no more", ofProfile(func(p *store.Profile) { p.AllowPlaintext = false }), "plain"},
		{"methods that nobody can use", ofProfile(func(p *store.Profile) { p.AuthMethods = []tenant.AuthMethod{tenant.AuthEAP} }), "plain"},
		{"default profile deleted", func(w *half) { remove[store.Profile](w.world, acme+"/profiles/default") }, "plain"},
		{"users disabled", func(w *half) {
			for _, u := range []string{"ann", "ben", "cid"} {
				alter(w.world, acme+"/users/"+u, func(u *store.User) { u.Disabled = true })
			}
		}, ""},
		{"users deleted", func(w *half) {
			for _, u := range []string{"ann", "ben", "cid"} {
				remove[store.User](w.world, acme+"/users/"+u)
			}
		}, ""},
		{"address", ofListener(func(l *store.Listener) { l.Address = "192.0.2.9" }), "IPsec plain"},
		{"listener's namespace", ofListener(func(l *store.Listener) { l.Namespace = "other" }), "PPTP IPsec plain"},
		{"no PPTP", protocols(tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP), "PPTP"},
		{"no plain L2TP", protocols(tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec), "plain"},
		{"no IPsec", protocols(tenant.ProtocolPPTP, tenant.ProtocolL2TP), "IPsec plain"},
		{"another order", protocols(tenant.ProtocolL2TP, tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec), ""},
		{"another default, which allows no plaintext", ofListener(func(l *store.Listener) { l.DefaultTenant = "tenants/beta" }), "plain"},
		{"the tenant is not the listener's any more", ofListener(func(l *store.Listener) {
			l.Tenants, l.DefaultTenant = []string{"tenants/beta"}, "tenants/beta"
		}), "plain"},
		{"ports", ofListener(func(l *store.Listener) { l.MaxPPTPSessions, l.MaxL2TPSessions = new(int), new(int) }), ""},
		{"listener deleted", func(w *half) { remove[store.Listener](w.world, mainListener) }, "PPTP IPsec plain"},
		{"tenant deleted", func(w *half) {
			if err := w.store.DeleteChildren(acme); err != nil {
				t.Fatal(err)
			}
			remove[store.Tenant](w.world, acme)
		}, "PPTP IPsec plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				w.addTenant("beta", "10.8.0.0/29")
				for _, u := range []string{"ann", "ben", "cid"} {
					w.addUser("acme", u, nil)
				}
				alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
				alter(w.world, mainListener, func(l *store.Listener) {
					l.Protocols = []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TPIPsec, tenant.ProtocolL2TP}
					l.Tenants = append(l.Tenants, "tenants/beta")
				})
				w.start()
				pptp := w.login(simppp.Windows("ann", password))
				_, ipsec := w.come(behindNAT, simppp.MacOS("ben", password))
				plain := w.dialIn(w.tunnel(w.lac("198.51.100.9:1701"), 1701, 1), simppp.MacOS("cid", password))
				w.wantOpen(plain)
				c.change(w)
				w.settle()
				w.after(farewell) // how long a listener takes at most to close
				var ended []string
				for _, s := range []struct {
					name string
					c    *client
				}{{"PPTP", pptp}, {"IPsec", ipsec}, {"plain", plain}} {
					if w.m.byCallID(s.c.fc.id) == nil {
						ended = append(ended, s.name)
					}
				}
				if got := strings.Join(ended, " "); got != c.ends {
					t.Errorf("%q ended, want %q", got, c.ends)
				}
			})
		})
	}
}
