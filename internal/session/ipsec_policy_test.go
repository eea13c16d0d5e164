package session

import (
	"strings"
	"testing"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// keys lists whose keys a policy tries: "tenants/acme:acme-key".
func keys(p *ikev1.Policy) (out []string) {
	for _, t := range p.Tenants {
		for _, k := range t.PSKs {
			out = append(out, t.Name+":"+string(k.Secret))
		}
	}
	return out
}

// TestPolicy: what IKE may negotiate follows the store.
func TestPolicy(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		alter(w.world, "tenants/beta", func(r *store.Tenant) {
			r.IPsec = store.IPsec{
				PSKs: []store.PSK{{ID: "a", Secret: tenant.Secret("b1")}, {Secret: tenant.Secret("b2")}, {}}, LegacyClients: true,
				AggressiveMode: true, GroupName: "group", IKELifetime: time.Hour, ESPLifetime: time.Minute,
			}
		})
		w.start()
		host := ikeHost{w.m}
		first := host.Policy(mainListener)
		if got := strings.Join(keys(first), " "); got != "tenants/acme:acme-key" || first.Certificate != nil {
			t.Errorf("keys %q", got)
		}
		if host.Policy(mainListener) != first || host.Policy("listeners/none") != nil {
			t.Error("not a snapshot, or one of nobody's listener")
		}
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta", "tenants/none") })
		w.settle()
		p := host.Policy(mainListener)
		if got := strings.Join(keys(p), " "); got != "tenants/acme:acme-key tenants/beta:b1 tenants/beta:b2" {
			t.Errorf("keys %q", got)
		}
		if b := p.Tenants[1]; !b.Legacy || !b.Aggressive || b.GroupName != "group" || b.IKELifetime != time.Hour ||
			b.ESPLifetime != time.Minute || b.PSKs[0].ID != "a" || b.Trust != nil || p.Tenants[0].Legacy {
			t.Errorf("policy %+v", b)
		}
		if len(first.Tenants) != 1 {
			t.Error("a snapshot has changed")
		}
		if w.errors.take() != nil {
			t.Error("an error was logged")
		}

		// A key that another tenant has too is nobody's second one.
		alter(w.world, "tenants/beta", func(r *store.Tenant) { r.IPsec.PSKs[0].Secret = tenant.Secret("acme-key") })
		w.settle()
		if got := strings.Join(keys(host.Policy(mainListener)), " "); got != "tenants/acme:acme-key tenants/beta:b2" {
			t.Errorf("keys %q", got)
		}
		if got := w.errors.take(); len(got) != 1 || !strings.Contains(got[0], "tenant=tenants/beta") || strings.Contains(got[0], "acme-key") {
			t.Errorf("logged %q", got)
		}
		// What can't be read is named, once, and does not hold up the others.
		alter(w.world, "tenants/beta", func(r *store.Tenant) {
			r.IPsec.PSKs[0].Secret = tenant.Secret("b1")
			r.IPsec.CACertificates = []string{"nonsense"}
		})
		alter(w.world, mainListener, func(l *store.Listener) { l.CertificateChain, l.CertificateKey = "nonsense", tenant.Secret("x") })
		w.settle()
		if got := strings.Join(keys(host.Policy(mainListener)), " "); got != "tenants/acme:acme-key tenants/beta:b1 tenants/beta:b2" {
			t.Errorf("keys %q", got)
		}
		w.m.poke()
		w.settle()
		got := w.errors.take()
		if len(got) != 2 || !strings.Contains(strings.Join(got, "\n"), "tenant=tenants/beta") || !strings.Contains(strings.Join(got, "\n"), "listener="+mainListener) {
			t.Errorf("logged %q", got)
		}
	})
}

// TestTenantRemoved: its peers go, others' do not.
func TestTenantRemoved(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta") })
		w.start()
		stays := w.secure(behindNAT)
		w.tunnel(stays, 1701, 1)
		goes := w.secure(who{tenant: "tenants/beta", from: "198.51.100.7:40002"})
		w.tunnel(goes, 1701, 1)
		if err := w.store.DeleteChildren("tenants/beta"); err != nil {
			t.Fatal(err)
		}
		remove[store.Tenant](w.world, "tenants/beta")
		w.settle()
		w.until("its peer is gone", func() bool { return len(w.plane.openPeers()) == 1 })
		if fake(stays).installed() != 1 {
			t.Error("the other tenant's peer was disturbed")
		}
	})
}
