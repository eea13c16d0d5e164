package session

import (
	"testing"
	"time"

	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// TestChangeOfPSK: clients change over from one key to another one by one, each key's use is counted, and whoever came
// with the old one stays when it goes.
func TestChangeOfPSK(t *testing.T) {
	inFull(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		alter(w.world, "tenants/beta", func(r *store.Tenant) { r.IPsec.PSKs = []store.PSK{{ID: "old", Secret: tenant.Secret("beta-key")}} })
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta") })
		keys := func(keys ...store.PSK) {
			t.Helper()
			alter(w.world, acme, func(r *store.Tenant) { r.IPsec.PSKs = keys })
		}
		before, after := store.PSK{ID: "old", Secret: tenant.Secret("old-key")}, store.PSK{ID: "new", Secret: tenant.Secret("new-key")}
		keys(before)
		w.start()
		want := func(id string, n int64) {
			t.Helper()
			use := w.m.PSKUse(acme, id)
			if use.Count != n || use.Last.IsZero() != (n == 0) || use.Last.After(time.Now()) {
				t.Errorf("key %q: %+v; want %d uses", id, use, n)
			}
		}
		gateway := newNAT("198.51.100.7")
		connect := func(addr, psk string) (*ikeClient, *ipsecPeer) {
			t.Helper()
			host := w.ikeClient(addr, gateway)
			p, err := host.connect(simike.Windows(), psk)
			if err != nil {
				t.Fatalf("%s: %v", psk, err)
			}
			return host, p
		}
		host, p := connect("192.168.1.2", "old-key")
		first := w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		want("old", 1)
		want("new", 0)
		earlier := w.m.PSKUse(acme, "old").Last

		keys(before, after)
		w.settle()
		want("old", 1) // another key begins; this one goes on
		_, _ = connect("192.168.1.3", "new-key")
		_, _ = connect("192.168.1.4", "old-key")
		want("old", 2)
		want("new", 1)
		if !w.m.PSKUse(acme, "old").Last.After(earlier) {
			t.Error("the last use is not the last one")
		}
		if use := w.m.PSKUse("tenants/beta", "old"); use != (PSKUse{}) {
			t.Errorf("another tenant's key of that ID: %+v", use)
		}
		if _, err := w.ikeClient("192.168.1.5", gateway).connect(simike.Windows(), "wrong"); err == nil {
			t.Error("a wrong key came in")
		}
		want("old", 2)
		want("new", 1)

		keys(after)
		w.settle()
		want("old", 0) // nothing is kept of what is gone
		if _, err := w.ikeClient("192.168.1.6", gateway).connect(simike.Windows(), "old-key"); err == nil {
			t.Error("the key that is gone still lets in")
		}
		host.traffic(time.Minute)
		if !first.isOpen() || first.gone() {
			t.Errorf("who came with the old key is gone; attempts %q", w.attempts())
		}

		// Another secret under the same ID is another key.
		keys(store.PSK{ID: "new", Secret: tenant.Secret("newer-key")})
		w.settle()
		want("new", 0)
		_, _ = connect("192.168.1.7", "newer-key")
		want("new", 1)
		if n := len(w.m.pskUses.all); n != 2 {
			t.Errorf("%d keys are counted, want those that there are", n)
		}
	})
}

// TestReencryptUnderSessions: a new key of the secrets at rest touches nothing that runs: neither what IKE may negotiate,
// nor the sessions, nor what talks to RADIUS servers; and the next one comes in as before.
func TestReencryptUnderSessions(t *testing.T) {
	inFull(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		create(w.world, &store.RadiusServer{
			Meta: named("tenants/beta/radiusServers/one"), Address: "192.0.2.1", Secrets: []tenant.Secret{tenant.Secret("hush")},
		})
		w.start()
		gateway := newNAT("198.51.100.7")
		host := w.ikeClient("192.168.1.2", gateway)
		p, err := host.connect(simike.Windows(), "acme-key")
		if err != nil {
			t.Fatal(err)
		}
		cl := w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		policy, radius := w.m.policyCache.tenants[acme].policy, w.m.radius["tenants/beta"]
		if policy == nil || radius == nil {
			t.Fatal("nothing to compare")
		}

		for range 3 {
			if done, err := w.store.Reencrypt(t.Context(), nil); err != nil || done.Resealed < 3 {
				t.Fatalf("%+v, %v", done, err)
			}
			w.settle()
		}
		if w.m.policyCache.tenants[acme].policy != policy || w.m.radius["tenants/beta"] != radius {
			t.Error("what is in use was made anew")
		}
		host.traffic(10 * time.Hour) // with its rekeys
		if !cl.isOpen() || cl.gone() {
			t.Errorf("the session is gone; attempts %q", w.attempts())
		}
		w.addUser("acme", "bob", nil)
		p, err = w.ikeClient("192.168.1.3", gateway).connect(simike.Windows(), "acme-key")
		if err != nil {
			t.Fatal(err)
		}
		w.enter(in(p), siml2tp.Windows("PC", 2), simppp.Windows("bob", password))
	})
}
