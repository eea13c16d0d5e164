package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// TestFullLogin is a whole login of each client, from its first IKE message to its last, behind a NAT and not.
func TestFullLogin(t *testing.T) {
	for _, c := range []struct {
		name   string
		ike    simike.Client
		l2tp   siml2tp.Config
		ppp    simppp.Config
		nat    bool
		cipher string
	}{
		{"Windows behind a NAT", simike.Windows(), siml2tp.Windows("PC", 1), simppp.Windows(alice, password), true, "AES-256-CBC-SHA1"},
		{"Windows", simike.Windows(), siml2tp.Windows("PC", 1), simppp.Windows(alice, password), false, "AES-256-CBC-SHA1"},
		{"macOS behind a NAT", simike.MacOS(), siml2tp.MacOS("mac", 9), simppp.MacOS(alice, password), true, "AES-256-CBC-SHA256"},
		{"Android", simike.Android(), siml2tp.Android(77, nil, nil), simppp.Android(alice, password), true, "AES-256-CBC-SHA1"},
		{"ChromeOS", simike.ChromeOS(), siml2tp.Xl2tpd("box", 3), simppp.MacOS(alice, password), false, "AES-128-GCM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inFull(t, func(t *testing.T, w *half) {
				w.start()
				var n *nat
				if c.nat {
					n = newNAT("198.51.100.7")
				}
				host := w.ikeClient("192.168.1.2", n)
				p, err := host.connect(c.ike, "acme-key")
				if err != nil {
					t.Fatalf("%v; %+v; attempts %q", err, host.refused, w.attempts())
				}
				port := c.ike.Port
				if port == 0 {
					port = 1701
				}
				cl := w.enter(attachment{peer: p, port: port}, c.l2tp, c.ppp)
				i := w.session(acme)
				if i.Cipher != c.cipher || i.NATDetected != c.nat || i.Protocol != tenant.ProtocolL2TPIPsec || i.MTU != 1400 {
					t.Errorf("session %+v", i)
				}
				want := netip.MustParseAddr("192.168.1.2")
				if c.nat {
					want = n.outer
				}
				if i.ClientAddress.Addr() != want {
					t.Errorf("the client is at %s", i.ClientAddress)
				}
				host.traffic(time.Minute)
				cl.hangUp()
				host.drop()
				w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
				w.wantAttempts("alice ACCEPTED OPEN")
			})
		})
	}
}

// TestWrongPSK: refused at the right stage with the right reason, and nothing is left.
func TestWrongPSK(t *testing.T) {
	inFull(t, func(t *testing.T, w *half) {
		w.start()
		host := w.ikeClient("192.168.1.2", newNAT("198.51.100.7"))
		if _, err := host.connect(simike.Windows(), "wrong"); err == nil {
			t.Fatal("it came in")
		}
		if got := w.attempts(); len(got) == 0 || got[0] != "REFUSED IKE_MAIN_MODE PSK_MISMATCH" {
			t.Errorf("attempts %q", got)
		}
		if len(w.plane.openPeers()) != 0 || w.m.ike.Stats().SAs != 0 {
			t.Errorf("%d peers, %+v", len(w.plane.openPeers()), w.m.ike.Stats())
		}
	})
}

// TestTenantByPSK: the key names the tenant, and its users are looked for there.
func TestTenantByPSK(t *testing.T) {
	inFull(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		w.addUser("beta", "carol", nil)
		alter(w.world, "tenants/beta", func(r *store.Tenant) { r.IPsec.PSKs = []store.PSK{{Secret: tenant.Secret("beta-key")}} })
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta") })
		w.start()
		gateway := newNAT("198.51.100.7")
		for _, c := range []struct{ addr, psk, user, tenant string }{
			{"192.168.1.2", "acme-key", alice, acme}, {"192.168.1.3", "beta-key", "carol", "tenants/beta"},
		} {
			p, err := w.ikeClient(c.addr, gateway).connect(simike.Windows(), c.psk)
			if err != nil {
				t.Fatal(err)
			}
			w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(c.user, password))
			if i := w.session(c.tenant); i.User != c.user {
				t.Errorf("session %+v", i)
			}
		}
	})
}

// TestHoursOfRekeys: phase 1 and 2 are made anew by the client again and again, and the session goes on.
func TestHoursOfRekeys(t *testing.T) {
	for _, as := range []simike.Client{simike.Windows(), simike.MacOS()} {
		t.Run(as.Name, func(t *testing.T) {
			inFull(t, func(t *testing.T, w *half) {
				w.start()
				host := w.ikeClient("192.168.1.2", newNAT("198.51.100.7"))
				p, err := host.connect(as, "acme-key")
				if err != nil {
					t.Fatal(err)
				}
				first := host.list()[0]
				cl := w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
				host.traffic(10 * time.Hour)
				if !cl.isOpen() || cl.gone() {
					t.Fatalf("the session is gone; attempts %q", w.attempts())
				}
				if host.peer() != p || slices.Contains(host.list(), first) {
					t.Errorf("another peer: %v; the first child is still there: %v", host.peer() != p, slices.Contains(host.list(), first))
				}
				if n := fake(p).installed(); n < 1 || n > 3 {
					t.Errorf("%d SAs", n)
				}
			})
		})
	}
}

// TestRebornWithIKE: killed and booted again with the same address, port and tunnel ID.
func TestRebornWithIKE(t *testing.T) {
	for _, behind := range []bool{false, true} {
		inFull(t, func(t *testing.T, w *half) {
			w.start()
			var n *nat
			if behind {
				n = newNAT("198.51.100.7")
			}
			host := w.ikeClient("192.168.1.2", n)
			p, err := host.connect(simike.NetworkManagerStrongSwan(), "acme-key")
			if err != nil {
				t.Fatal(err)
			}
			old := w.enter(in(p), siml2tp.Xl2tpd("box", 5), simppp.MacOS(alice, password))
			old.setMute(true)
			old.line.Abort()
			host.kill()
			time.Sleep(5 * time.Second)
			began := time.Now()
			host = w.ikeClient("192.168.1.2", n)
			again, err := host.connect(simike.NetworkManagerStrongSwan(), "acme-key")
			if err != nil {
				t.Fatal(err)
			}
			if again != p {
				t.Error("another peer")
			}
			w.enter(in(again), siml2tp.Xl2tpd("box", 5), simppp.MacOS(alice, password))
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			w.until("the old one is gone", func() bool { return len(w.m.Sessions(acme)) == 1 })
		})
	}
}
