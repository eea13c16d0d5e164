package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/ike/ikev1"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
)

var behindNAT = who{from: "198.51.100.7:40001"}

// TestLoginL2TPIPsec is one whole login and logout over L2TP in IPsec.
func TestLoginL2TPIPsec(t *testing.T) {
	for _, c := range []struct {
		name    string
		who     who
		cfg     simppp.Config
		rejects []string
	}{
		{"Windows behind a NAT", behindNAT, simppp.Windows(alice, password), []string{"8057", "80fd"}},
		{"macOS behind a NAT", behindNAT, simppp.MacOS(alice, password), []string{"8057"}},
		{"Android, raw ESP", who{from: "198.51.100.7:500", raw: true}, simppp.Android(alice, password), []string{"80fd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				w.start()
				p, cl := w.come(c.who, c.cfg)
				i := w.session(acme)
				want := Info{
					Name: i.Name, Tenant: acme, User: alice, Protocol: tenant.ProtocolL2TPIPsec, State: StateOpen,
					Listener: mainListener, ClientAddress: netip.MustParseAddrPort(c.who.from), Address: netip.MustParseAddr("10.7.0.2"),
					Profile: acme + "/profiles/default", AuthMethod: tenant.AuthMSCHAPv2, Cipher: "AES-256-CBC-SHA1", MTU: 1400,
				}
				if !equalInfo(i, want) || i.NATDetected == c.who.raw {
					t.Errorf("session\n%+v, want\n%+v", i, want)
				}
				if s := cl.fc.attached(); s.RequireMPPE || s.MTU != 1400 {
					t.Errorf("attached with %+v", s)
				}
				if l := cl.fc.spec.L2TP; l == nil || l.Port != 1701 || l.PeerTunnel != 1 || l.PeerSession != 1 || l.LocalTunnel == 0 {
					t.Errorf("installed with %+v", l)
				}
				before(t, cl.fc.history(), "attach 10.7.0.2", "IPCP Configure-Ack")
				if got := rejected(cl.frames()); !slices.Equal(got, c.rejects) {
					t.Errorf("Protocol-Rejects %q", got)
				}
				cl.hangUp()
				w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
				w.wantAttempts("alice ACCEPTED OPEN")
				w.ike.clear(p, tenant.ReasonUserRequest) // the client deletes its SAs
				w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
				w.wantClean()
			})
		})
	}
}

// TestCarrierRoom: the session's MTU is what facts of ESP leave, and what the profile allows.
func TestCarrierRoom(t *testing.T) {
	for _, c := range []struct {
		name string
		who  who
		enc  esphdr.Encryption
		key  int
		auth esphdr.Integrity
		seq  bool
		want int
		suit string
	}{
		{"AES-CBC, NAT-T", behindNAT, esphdr.AESCBC, 32, esphdr.HMACSHA1_96, false, 1402, "AES-256-CBC-SHA1"},
		{"AES-CBC, NAT-T, sequenced", behindNAT, esphdr.AESCBC, 16, esphdr.HMACSHA1_96, true, 1398, "AES-128-CBC-SHA1"},
		{"AES-CBC, raw", who{from: "198.51.100.7:500", raw: true}, esphdr.AESCBC, 32, esphdr.HMACSHA256_128, false, 1418, "AES-256-CBC-SHA256"},
		{"AES-GCM, NAT-T", behindNAT, esphdr.AESGCM16, 16, esphdr.IntegrityUnset, false, 1418, "AES-128-GCM"},
		{"3DES, raw", who{from: "198.51.100.7:500", raw: true}, esphdr.TripleDES, 24, esphdr.HMACSHA1_96, false, 1426, "3DES-CBC-SHA1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.MTU = 1500 })
				w.start()
				p, err := w.ike.mainMode(c.who)
				if err != nil {
					t.Fatal(err)
				}
				w.child(p, c.enc, c.key, c.auth)
				l, a := w.tunnel(p, 1701, 1).call(1)
				if l == nil {
					t.Fatalf("refused: %+v", a)
				}
				lns{w.m}.Connected(l.id, l2tp.Connect{SequencingRequired: c.seq})
				cl := w.client(l, l.id, simppp.MacOS(alice, password)) // whose MRU is 1500
				w.wantOpen(cl)
				if cl.fc.sequenced() != c.seq {
					t.Error("the call is not told of sequencing as the client is")
				}
				if i := w.session(acme); i.MTU != c.want || i.Cipher != c.suit || cl.fc.attached().MTU != c.want {
					t.Errorf("MTU %d, cipher %s, attached with %d", i.MTU, i.Cipher, cl.fc.attached().MTU)
				}
			})
		})
	}
}

// TestRekey: another SA keeps the session and shows its cipher and room; the last SA gone too, if a new one comes soon.
func TestRekey(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.MTU = 1500 })
		w.start()
		p := w.secure(behindNAT)
		first := p.children[0]
		cl := w.dialIn(w.tunnel(p, 50000, 7), simppp.MacOS(alice, password))
		w.wantOpen(cl)
		gcm := aesGCM(w, p)
		w.until("the session shows it", func() bool { return w.session(acme).Cipher == "AES-128-GCM" })
		if i := w.session(acme); i.MTU != 1418 || cl.fc.attached().MTU != 1418 {
			t.Errorf("MTU %d, attached with %d", i.MTU, cl.fc.attached().MTU)
		}
		if n := fake(p).installed(); n != 2 {
			t.Errorf("%d SAs", n)
		}
		w.ike.remove(p, first)
		if f := fake(p); f.installed() != 1 || f.pair != gcm.InboundSPI {
			t.Errorf("%d SAs, out %#x", f.installed(), f.pair)
		}

		// macOS makes a new ISAKMP SA every 48 minutes: it is the same peer.
		again, err := w.ike.mainMode(behindNAT)
		if err != nil || again != p {
			t.Errorf("another peer, or %v", err)
		}
		// Everything is deleted, and made anew within the grace.
		w.ike.clear(p, tenant.ReasonUserRequest)
		w.after(emptyGrace - time.Second)
		if w.secure(behindNAT) != p {
			t.Error("another peer")
		}
		w.after(time.Minute)
		if !cl.isOpen() || cl.gone() {
			t.Fatal("the session is gone")
		}
		w.ike.clear(p, tenant.ReasonLostCarrier)
		w.after(emptyGrace + time.Second)
		if !cl.gone() || len(w.plane.openPeers()) != 0 {
			t.Error("it outlives its last SA")
		}
		w.wantAttempts("alice ACCEPTED OPEN")
	})
}

// TestTenantMismatch: a user of one tenant never enters through another's key.
func TestTenantMismatch(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.addTenant("beta", "10.8.0.0/29")
		w.addUser("beta", "carol", nil)
		alter(w.world, "tenants/beta", func(r *store.Tenant) { r.Realms, r.RealmStripping = []string{"beta"}, true })
		alter(w.world, acme, func(r *store.Tenant) { r.Realms, r.RealmStripping = []string{"acme"}, true })
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants = append(l.Tenants, "tenants/beta") })
		w.start()
		p := w.secure(behindNAT)
		cl := w.dialIn(w.tunnel(p, 1701, 1), simppp.MacOS("carol@beta", password))
		w.wantRefused(cl)
		w.wantAttempts("carol@beta REFUSED AUTHENTICATION TENANT_MISMATCH")
		if a := w.m.Logins(LoginFilter{})[0]; a.Tenant != acme {
			t.Errorf("attempt %+v", a)
		}
		// The proven tenant is the default, whatever the listener's is.
		p = w.secure(who{tenant: "tenants/beta", from: "198.51.100.7:40002"})
		w.wantOpen(w.dialIn(w.tunnel(p, 1701, 1), simppp.MacOS("carol", password)))
		w.wantOpen(w.dialIn(w.tunnel(p, 1701, 2), simppp.MacOS("carol@beta", password)))
		refused := w.dialIn(w.tunnel(p, 1701, 3), simppp.MacOS("alice@acme", password))
		w.wantRefused(refused)
	})
}

// TestMethodsInESP: what ESP protects may be PAP, if the profile lists it.
func TestMethodsInESP(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) {
			p.AuthMethods = []tenant.AuthMethod{tenant.AuthPAP}
			p.MPPE.Policy = tenant.MPPERequired
		})
		w.start()
		cfg := simppp.MacOS(alice, password)
		cfg.Methods = []tenant.AuthMethod{tenant.AuthPAP}
		w.come(behindNAT, cfg)
		if i := w.session(acme); i.AuthMethod != tenant.AuthPAP || i.Cipher != "AES-256-CBC-SHA1" {
			t.Errorf("session %+v", i)
		}
	})
}

// TestBusyL2TP: all slots authenticated is CDN with result 4.
func TestBusyL2TP(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(w *half)
		reason tenant.Reason
	}{
		{"tenant", func(w *half) { alter(w.world, acme, func(r *store.Tenant) { r.Limits.MaxSessions = 1 }) }, tenant.ReasonTenantLimit},
		{"listener", func(w *half) {
			alter(w.world, mainListener, func(l *store.Listener) { l.MaxL2TPSessions = new(int); *l.MaxL2TPSessions = 1 })
		}, tenant.ReasonListenerLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				c.set(w)
				w.start()
				_, first := w.come(behindNAT, simppp.MacOS(alice, password))
				p := w.secure(who{from: "198.51.100.7:40002"})
				tunnel := w.tunnel(p, 1701, 1)
				if _, a := tunnel.call(1); a.Result != wirel2tp.CallResultTemporary {
					t.Errorf("answer %+v", a)
				}
				w.wantAttempts("alice ACCEPTED OPEN", "REFUSED CALL "+string(c.reason))
				first.hangUp()
				w.until("the slot is free", func() bool { return w.m.slots.slots() == 0 })
				w.wantOpen(w.dialIn(tunnel, simppp.MacOS(alice, password)))
			})
		})
	}
}

// TestEarlyFrames: what a client sends right behind its ICCN, and what overtakes that, is not lost: it would cost the
// client's restart timer.
func TestEarlyFrames(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		l, a := w.tunnel(w.secure(behindNAT), 1701, 1).call(1)
		if l == nil {
			t.Fatalf("refused: %+v", a)
		}
		begun := time.Now()
		cl := w.client(l, l.id, simppp.Windows(alice, password))
		w.after(10 * time.Millisecond)
		if frames := cl.frames(); len(frames) != 0 {
			t.Errorf("the server spoke before the call was connected: %v", frames)
		}
		lns{w.m}.Connected(l.id, l2tp.Connect{})
		w.wantOpen(cl)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("open after %s", took)
		}
	})
}

// Test3DESLimits: an SA with blocks of 64 bits carries no more than is safe, whatever was negotiated.
func Test3DESLimits(t *testing.T) {
	for _, c := range []struct {
		enc                            esphdr.Encryption
		soft, hard, wantSoft, wantHard uint64
	}{
		{esphdr.TripleDES, 0, 0, soft3DES, hard3DES},
		{esphdr.TripleDES, 1 << 40, 1 << 41, soft3DES, hard3DES},
		{esphdr.TripleDES, 100, 200, 100, 200},
		{esphdr.AESCBC, 0, 1 << 41, 0, 1 << 41},
	} {
		pair := specOf(&ikev1.Child{InboundSPI: 4711, OutboundSPI: 1147, Encryption: c.enc, SoftBytes: c.soft, HardBytes: c.hard})
		for spi, s := range map[uint32]esp.Params{4711: pair.In, 1147: pair.Out} {
			if s.SoftBytes != c.wantSoft || s.HardBytes != c.wantHard || s.SPI != spi {
				t.Errorf("%v with %d and %d: %d and %d", c.enc, c.soft, c.hard, s.SoftBytes, s.HardBytes)
			}
		}
	}
}

// TestStages: each stage that a login comes to is counted, once.
func TestStages(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		w.come(behindNAT, simppp.Windows(alice, password))
		got := map[string]float64{}
		families, err := w.m.cfg.Metrics.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() != "concentrator_login_stages_total" {
					continue
				}
				for _, l := range m.GetLabel() {
					if l.GetName() == "stage" {
						got[l.GetValue()] += m.GetCounter().GetValue()
					}
				}
			}
		}
		for _, s := range tenant.Stages {
			want := 1.0
			if s == tenant.StageCCP { // PPTP's
				want = 0
			}
			if got[string(s)] != want {
				t.Errorf("stage %s counted %v times, want %v", s, got[string(s)], want)
			}
		}
	})
}
