package session

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/ike/ikev1"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// message is a control message that names one of our tunnels.
func message(tunnelID uint16) []byte {
	h := wirel2tp.Header{Control: true, HasLength: true, HasSequence: true, Length: wirel2tp.ControlHeaderLen, TunnelID: tunnelID}
	b, err := h.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// TestTwoBehindOneNAT: two clients of one private address and one public one, both from port 1701.
func TestTwoBehindOneNAT(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.addUser("acme", "bob", nil)
		w.start()
		p1, c1 := w.come(behindNAT, simppp.MacOS(alice, password))
		p2, c2 := w.come(who{from: "198.51.100.7:40002"}, simppp.MacOS("bob", password))
		if p1 == p2 || p1.plane.Shard() != p2.plane.Shard() {
			t.Errorf("one peer: %v; shards %d and %d", p1 == p2, p1.plane.Shard(), p2.plane.Shard())
		}
		w.after(2 * time.Minute)
		for _, c := range []*client{c1, c2} {
			if !c.isOpen() || c.gone() {
				t.Error("a session is gone")
			}
		}
		// The one that hangs up leaves the other alone.
		c1.hangUp()
		w.ike.clear(p1, tenant.ReasonUserRequest)
		w.after(time.Minute)
		if !c2.isOpen() || len(w.plane.openPeers()) != 1 {
			t.Error("the other one is gone")
		}
	})
}

// TestReborn: a client that died comes back at once, from the same address and port and with the same tunnel ID.
func TestReborn(t *testing.T) {
	for _, deny := range []bool{false, true} {
		t.Run(fmt.Sprintf("one session a user: %v", deny), func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				if deny {
					alter(w.world, acme, func(r *store.Tenant) {
						r.Limits.MaxSessionsPerUser, r.Limits.DuplicatePolicy = 1, tenant.DuplicateDeny
					})
				}
				w.start()
				p, old := w.come(behindNAT, simppp.MacOS(alice, password))
				old.setMute(true)
				if w.secure(behindNAT) != p {
					t.Error("another peer")
				}
				began := time.Now()
				cl := w.dialIn(w.tunnel(p, 1701, 1), simppp.MacOS(alice, password))
				w.wantOpen(cl)
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
				w.until("the old one is gone", old.gone)
				if list := w.m.Sessions(acme); len(list) != 1 {
					t.Errorf("sessions %+v", list)
				}
				w.wantAttempts("alice ACCEPTED OPEN", "alice ACCEPTED OPEN")
			})
		})
	}
}

// TestOtherTunnelStays: another tunnel of the same client is no relic.
func TestOtherTunnelStays(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p, first := w.come(behindNAT, simppp.MacOS(alice, password))
		w.wantOpen(w.dialIn(w.tunnel(p, 1701, 2), simppp.MacOS(alice, password)))
		w.wantOpen(w.dialIn(w.tunnel(p, 50001, 1), simppp.MacOS(alice, password)))
		w.after(time.Minute)
		if first.gone() || len(w.m.Sessions(acme)) != 3 {
			t.Errorf("%d sessions", len(w.m.Sessions(acme)))
		}
	})
}

// TestMerge: a client whose NAT has given it another port makes new SAs, and goes on in its old tunnel.
func TestMerge(t *testing.T) {
	later := func(w *half) { w.after(silence + time.Second) }
	moved := who{from: "198.51.100.7:45000"}
	ann := func(from string) who { return who{from: from, subject: true, id: "CN=ann"} }
	for _, c := range []struct {
		name   string
		first  who
		second who
		port   uint16
		wait   func(w *half)
		stray  bool
		want   bool
	}{
		{"a control message", behindNAT, moved, 1701, later, false, true},
		{"data", behindNAT, moved, 1701, later, true, true},
		{"not silent", behindNAT, moved, 1701, func(*half) {}, false, false},
		{"another inner port", behindNAT, moved, 1702, later, false, false},
		{"another address", behindNAT, who{from: "198.51.100.8:45000"}, 1701, later, false, false},
		{"another identity", behindNAT, who{from: "198.51.100.7:45000", id: "192.168.1.3"}, 1701, later, false, false},
		{"another address, with a certificate", ann("198.51.100.7:40001"), ann("203.0.113.9:45000"), 1701, later, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				w.start()
				old := w.secure(c.first)
				tunnel := w.tunnel(old, 1701, 9)
				cl := w.dialIn(tunnel, simppp.MacOS(alice, password))
				w.wantOpen(cl)
				fake(old).heard()
				c.wait(w)
				p := w.secure(c.second)
				aesGCM(w, p)
				if p == old {
					t.Fatal("not another peer")
				}
				if c.stray {
					p.Stray(c.port, tunnel.id)
				} else {
					p.Control(c.port, message(tunnel.id))
				}
				w.after(time.Second)
				if got := p.now() == old; got != c.want {
					t.Fatalf("merged: %v", got)
				}
				if !c.want {
					return
				}
				i := w.session(acme)
				if i.Cipher != "AES-128-GCM" {
					t.Errorf("cipher %s", i.Cipher)
				}
				if i.ClientAddress != netip.MustParseAddrPort(c.second.from) || old.Remote() != i.ClientAddress {
					t.Errorf("the client is at %s, the peer at %s", i.ClientAddress, old.Remote())
				}
				if fake(old).installed() != 3 || w.ike.merges != 1 || len(w.plane.openPeers()) != 1 {
					t.Errorf("%d SAs, %d merges, %d peers", fake(old).installed(), w.ike.merges, len(w.plane.openPeers()))
				}
				// What is still said to the new one reaches the old one, and its main modes come to it.
				p.Send(1701, message(0))
				if again, err := w.ike.mainMode(c.second); err != nil || again != old {
					t.Errorf("a main mode comes to another peer, or %v", err)
				}
				w.after(2 * time.Minute)
				if !cl.isOpen() || cl.gone() {
					t.Error("the session is gone")
				}
				cl.hangUp()
				w.ike.clear(old, tenant.ReasonUserRequest)
				w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
			})
		})
	}
}

// TestMergeWithSessions: what the new one carries already comes along.
func TestMergeWithSessions(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.addUser("acme", "bob", nil)
		w.start()
		old := w.secure(behindNAT)
		tunnel := w.tunnel(old, 1701, 9)
		w.wantOpen(w.dialIn(tunnel, simppp.MacOS(alice, password)))
		w.after(silence + time.Second)
		p, cl := w.come(who{from: "198.51.100.7:45000"}, simppp.MacOS("bob", password))
		p.Stray(1701, tunnel.id)
		w.after(time.Second)
		aesGCM(w, old)
		w.until("both show it", func() bool {
			list := w.m.Sessions(acme)
			return len(list) == 2 && list[0].Cipher == "AES-128-GCM" && list[1].Cipher == "AES-128-GCM"
		})
		// Its client comes back from there, and what it left goes before it counts.
		alter(w.world, acme, func(r *store.Tenant) {
			r.Limits.MaxSessionsPerUser, r.Limits.DuplicatePolicy = 1, tenant.DuplicateDeny
		})
		w.wantOpen(w.dialIn(w.tunnel(old, 1701, 1), simppp.MacOS("bob", password)))
		w.until("the old one is gone", cl.gone)
		if n := len(w.m.Sessions(acme)); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}

// TestMergeIntoEmptyPeer: the old SAs are gone already, and the engine merges nothing.
func TestMergeIntoEmptyPeer(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		old := w.secure(behindNAT)
		tunnel := w.tunnel(old, 1701, 9)
		cl := w.dialIn(tunnel, simppp.MacOS(alice, password))
		w.wantOpen(cl)
		w.ike.clear(old, tenant.ReasonLostCarrier)
		w.after(emptyGrace / 2)
		p := w.secure(who{from: "198.51.100.7:45000"})
		p.Control(1701, message(tunnel.id))
		w.after(time.Minute)
		if !cl.isOpen() || cl.gone() || p.now() != old {
			t.Fatal("the session is gone")
		}
		aesGCM(w, p) // the engine still knows it as the new one
		w.until("the session shows it", func() bool { return w.session(acme).Cipher == "AES-128-GCM" })
		old.SAUsed(1)
		w.after(time.Second)
		if !slices.Equal(w.ike.used, []uint32{1}) {
			t.Errorf("the engine heard of %v", w.ike.used)
		}
		w.ike.clear(p, tenant.ReasonLostCarrier)
		w.after(emptyGrace + time.Second)
		if !cl.gone() || len(w.plane.openPeers()) != 0 {
			t.Error("it outlives its last SA")
		}
	})
}

// TestNATMoves: a mapping that changes inside an SA moves the peer.
func TestNATMoves(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		for port := range uint16(100) {
			p.Moved(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), 45000+port))
		}
		w.after(time.Second)
		last := netip.MustParseAddrPort("198.51.100.7:45099")
		if i := w.session(acme); i.ClientAddress != last || p.Remote() != last || !slices.Contains(w.ike.moved, last) {
			t.Errorf("the client is at %s, the peer at %s, the engine knows %v", i.ClientAddress, p.Remote(), w.ike.moved)
		}
		if w.secure(who{from: last.String()}) != p {
			t.Error("a main mode from there is another peer")
		}
		path := behindNAT.path()
		path.Remote = netip.MustParseAddrPort("198.51.100.7:46000")
		p.Move(path)
		if i := w.session(acme); i.ClientAddress != path.Remote || fake(p).remote != path.Remote {
			t.Errorf("the client is at %s, the plane's peer at %s", i.ClientAddress, fake(p).remote)
		}
		if !cl.isOpen() {
			t.Error("the session is gone")
		}
	})
}

// TestNoTunnel: SAs without a tunnel are a login that failed, at the stage that it came to.
func TestNoTunnel(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		if _, err := w.ike.mainMode(behindNAT); err != nil {
			t.Fatal(err)
		}
		w.after(tunnelTimeout + time.Second)
		w.wantAttempts("REFUSED IKE_QUICK_MODE PEER_TIMEOUT")
		w.secure(behindNAT)
		w.after(tunnelTimeout + time.Second)
		w.wantAttempts("REFUSED IKE_QUICK_MODE PEER_TIMEOUT", "REFUSED L2TP_TUNNEL PEER_TIMEOUT")
		if a := w.m.Logins(LoginFilter{})[0]; a.Tenant != acme || a.Protocol != tenant.ProtocolL2TPIPsec || a.ClientAddress.String() != behindNAT.from {
			t.Errorf("attempt %+v", a)
		}
		p := w.secure(behindNAT)
		w.ike.clear(p, tenant.ReasonUserRequest)
		w.after(time.Second)
		w.wantAttempts("REFUSED IKE_QUICK_MODE PEER_TIMEOUT", "REFUSED L2TP_TUNNEL PEER_TIMEOUT", "REFUSED L2TP_TUNNEL LOST_CARRIER")
		if n := len(w.plane.openPeers()); n != 0 || len(w.m.peers.all) != 0 || len(w.m.peers.byKey) != 0 {
			t.Errorf("%d peers are left", n)
		}
	})
}

// TestRefusedQuickMode is reported once, by the engine.
func TestRefusedQuickMode(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		if _, err := w.ike.mainMode(behindNAT); err != nil {
			t.Fatal(err)
		}
		ikeHost{w.m}.Refused(ikev1.Refusal{
			Path: behindNAT.path(), Tenant: acme, Identity: "ipv4:192.168.1.2", Stage: tenant.StageIKEQuickMode,
			Reason: tenant.ReasonNoCommonProposal, Detail: "nothing in common",
		})
		w.after(time.Minute)
		w.wantAttempts("REFUSED IKE_QUICK_MODE NO_COMMON_PROPOSAL")
		if len(w.plane.openPeers()) != 0 {
			t.Error("the peer is left")
		}
	})
}

// TestPeerHangsUp: after its last tunnel a peer may call again, until it has been silent for long.
func TestPeerHangsUp(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		cl.hangUp()
		w.after(idlePeerTimeout - time.Minute)
		fake(p).heard()
		w.after(idlePeerTimeout - time.Minute)
		cl = w.dialIn(w.tunnel(p, 1701, 2), simppp.MacOS(alice, password))
		w.wantOpen(cl)
		cl.hangUp()
		w.after(idlePeerTimeout + time.Second)
		if got := w.ike.drops(); !slices.Equal(got, []tenant.Reason{tenant.ReasonIdleTimeout}) || len(w.plane.openPeers()) != 0 {
			t.Errorf("dropped %q, %d peers are left", got, len(w.plane.openPeers()))
		}
		w.wantAttempts("alice ACCEPTED OPEN", "alice ACCEPTED OPEN")
	})
}

// TestPeersOfOneSource: so many may be without a tunnel, and a tenant may lift that.
func TestPeersOfOneSource(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		from := func(port int) who { return who{from: fmt.Sprintf("198.51.100.7:%d", port)} }
		for port := range waitingPerSource {
			w.secure(from(10000 + port))
		}
		if _, err := w.ike.mainMode(from(9000)); err == nil {
			t.Error("one more came in")
		}
		w.secure(who{from: "198.51.100.8:9000"})
		alter(w.world, acme, func(r *store.Tenant) { r.Limits.HalfOpenPerSource = new(int) })
		w.secure(from(9000))
		for port := 20000; len(w.m.peers.all) < 2*w.m.cfg.MaxSessions+waitingPerSource; port++ {
			w.secure(from(port))
		}
		if _, err := w.ike.mainMode(from(9001)); err == nil {
			t.Error("peers without bound")
		}
	})
}

// TestKeepalive: a NAT before us is kept open.
func TestKeepalive(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		sa := ikev1.SA{Tenant: acme, Path: behindNAT.path(), NAT: ikev1.NAT{Local: true}, PSK: "x"}
		p, err := ikeHost{w.m}.Established(sa)
		if err != nil {
			t.Fatal(err)
		}
		w.after(keepaliveInterval + time.Second)
		f := fake(p.(*ipsecPeer))
		if f.alive != 1 {
			t.Errorf("%d keepalives", f.alive)
		}
		p.Empty(tenant.ReasonUserRequest, "test")
		w.after(time.Minute)
		if f.alive != 1 {
			t.Errorf("%d keepalives of a peer that is gone", f.alive)
		}
	})
}

// TestMetricsOfIPsec: what lives is counted, with no label that has no bound.
func TestMetricsOfIPsec(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p, _ := w.come(behindNAT, simppp.MacOS(alice, password))
		aesGCM(w, p)
		families, err := w.m.cfg.Metrics.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			for _, v := range f.GetMetric() {
				got[f.GetName()] += v.GetGauge().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"concentrator_ipsec_peers": 1, "concentrator_esp_sas": 2, "concentrator_l2tp_tunnels": 1, "concentrator_ike_sas": 1,
			"concentrator_ike_half_open": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
	})
}

// TestShutdownL2TP: everybody is told, and nothing is left, which the world's end checks.
func TestShutdownL2TP(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		_, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		w.secure(who{from: "198.51.100.8:40000"})
		w.shutdown(time.Minute)
		if !cl.gone() || !slices.Contains(cl.fc.history(), "LCP Terminate-Request") {
			t.Errorf("gone: %v, %q", cl.gone(), cl.fc.history())
		}
		if _, err := w.ike.mainMode(behindNAT); err == nil {
			t.Error("a peer came in during the goodbye")
		}
	})
}
