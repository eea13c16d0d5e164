package session

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// TestClientsOfL2TP: each client comes in through real tunnels and hangs up in its way, and nothing is left.
func TestClientsOfL2TP(t *testing.T) {
	for _, c := range []struct {
		name string
		port uint16
		cfg  siml2tp.Config
		ppp  simppp.Config
	}{
		{"Windows", 1701, siml2tp.Windows("PC", 1), simppp.Windows(alice, password)},
		{"macOS", 50123, siml2tp.MacOS("mac", 77), simppp.MacOS(alice, password)},
		{"Android", 49999, siml2tp.Android(4711, nil, nil), simppp.Android(alice, password)},
		{"xl2tpd", 1701, siml2tp.Xl2tpd("box", 5), simppp.MacOS(alice, password)},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTunnels(t, 100, func(t *testing.T, w *half) {
				w.start()
				p := w.secure(behindNAT)
				began := time.Now()
				cl := w.enter(attachment{peer: p, port: c.port}, c.cfg, c.ppp)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				w.after(10 * time.Minute) // HELLOs and echoes come and go
				if !cl.isOpen() || cl.gone() {
					t.Fatal("the session is gone")
				}
				if i := w.session(acme); i.Protocol != tenant.ProtocolL2TPIPsec || i.Cipher != "AES-256-CBC-SHA1" || !i.NATDetected {
					t.Errorf("session %+v", i)
				}
				cl.hangUp()
				w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
				w.wantAttempts("alice ACCEPTED OPEN")
				w.ike.clear(p, tenant.ReasonUserRequest)
				w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
			})
		})
	}
}

// TestRebornInTunnels: a client that died is in again at once, with the same address, port and tunnel ID, and what it has
// left goes when it has logged in.
func TestRebornInTunnels(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		alter(w.world, acme, func(r *store.Tenant) {
			r.Limits.MaxSessionsPerUser, r.Limits.DuplicatePolicy = 1, tenant.DuplicateDeny
		})
		w.start()
		n := in(w.secure(behindNAT))
		old := w.enter(n, siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		old.setMute(true)
		old.line.Abort()
		time.Sleep(5 * time.Second)

		// One that can't log in leaves the old one alone.
		n = in(w.secure(behindNAT))
		wrong, err := w.tryTunnel(n, siml2tp.Windows("PC", 1), simppp.Windows(alice, "wrong"))
		if err != nil {
			t.Fatal(err)
		}
		w.until("it is sent away", wrong.ended)
		wrong.stop()
		if len(w.m.Sessions(acme)) == 0 {
			t.Fatal("the old session is gone")
		}

		began := time.Now()
		w.enter(n, siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		w.until("the old one is gone", func() bool { return len(w.m.Sessions(acme)) == 1 })
	})
}

// TestFiftyBehindOneNAT: all with the same private address, tunnel ID and inner port.
func TestFiftyBehindOneNAT(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		remove[store.Pool](w.world, acmePool)
		create(w.world, &store.Pool{Meta: named(acmePool), Ranges: []string{"10.7.0.0/24"}})
		alter(w.world, acme, func(r *store.Tenant) { r.Limits.HalfOpenPerSource = new(int) })
		w.start()
		var all []*client
		for i := range 50 {
			p := w.secure(who{from: fmt.Sprintf("198.51.100.7:%d", 40000+i)})
			all = append(all, w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(alice, password)))
		}
		w.after(10 * time.Minute)
		seen := map[netip.Addr]bool{}
		for _, c := range all {
			if !c.isOpen() || c.gone() {
				t.Error("a session is gone")
			}
			seen[c.network().Address] = true
		}
		if len(seen) != 50 || len(w.m.Sessions(acme)) != 50 {
			t.Errorf("%d addresses, %d sessions", len(seen), len(w.m.Sessions(acme)))
		}
	})
}

// TestTunnelSecret: a tenant's secret is asked for in ESP too.
func TestTunnelSecret(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		alter(w.world, acme, func(r *store.Tenant) { r.L2TPTunnelSecret = tenant.Secret("tunnel") })
		w.start()
		n := in(w.secure(behindNAT))
		challenge := make([]byte, 32)
		if _, err := w.tryTunnel(n, siml2tp.Android(1, []byte("wrong"), challenge), simppp.Android(alice, password)); !errors.Is(err, siml2tp.ErrSecret) {
			t.Errorf("with a wrong secret: %v", err)
		}
		w.after(time.Minute)
		if got := w.attempts(); len(got) == 0 || got[0] != "REFUSED L2TP_TUNNEL TUNNEL_SECRET_MISMATCH" {
			t.Errorf("attempts %q", got)
		}
		n = in(w.secure(behindNAT))
		w.enter(n, siml2tp.Android(2, []byte("tunnel"), challenge), simppp.Android(alice, password))
	})
}

// TestBusyInTunnels: the answer of a full instance is CDN with result 4, and one leaves, the next is admitted.
func TestBusyInTunnels(t *testing.T) {
	inTunnels(t, 1, func(t *testing.T, w *half) {
		w.start()
		first := w.enter(in(w.secure(behindNAT)), siml2tp.MacOS("mac", 1), simppp.MacOS(alice, password))
		n := in(w.secure(who{from: "198.51.100.7:40002"}))
		_, err := w.tryTunnel(n, siml2tp.MacOS("mac", 1), simppp.MacOS(alice, password))
		var r *siml2tp.ResultError
		if !errors.As(err, &r) || r.Type != wirel2tp.TypeCDN || r.Result.Code != wirel2tp.CallResultTemporary {
			t.Errorf("refused with %v", err)
		}
		w.wantAttempts("alice ACCEPTED OPEN", "REFUSED CALL INSTANCE_LIMIT")
		first.hangUp()
		w.until("the slot is free", func() bool { return w.m.slots.slots() == 0 })
		w.enter(n, siml2tp.MacOS("mac", 2), simppp.MacOS(alice, password))
	})
}

// TestMergeInTunnels: the client goes on in its tunnel after its NAT has moved it, and IKE with it.
func TestMergeInTunnels(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.start()
		old := w.secure(behindNAT)
		cl := w.enter(in(old), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		w.after(silence + time.Second)
		p := w.secure(who{from: "198.51.100.7:45000"})
		p.Stray(1701, cl.line.(*l2tpLine).tunnel.PeerTunnel())
		w.after(20 * time.Minute)
		if p.now() != old || !cl.isOpen() || cl.gone() {
			t.Fatalf("merged: %v, open: %v", p.now() == old, cl.isOpen())
		}
		cl.hangUp()
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
	})
}

// TestPlainTunnels: a LAC outside IPsec, with several calls in one tunnel.
func TestPlainTunnels(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.plainly()
		w.start()
		n := attachment{face: w.m.face(mainListener), from: netip.MustParseAddrPort("198.51.100.7:1701")}
		cl := w.enter(n, siml2tp.Xl2tpd("lac", 5), simppp.MacOS(alice, password))
		w.after(10 * time.Minute)
		if i := w.session(acme); i.Protocol != tenant.ProtocolL2TP || i.Cipher != "NONE" || cl.gone() {
			t.Errorf("session %+v", i)
		}
		cl.hangUp()
		w.until("the tunnel is gone", func() bool { return w.m.l2tp.Stats().Open == 0 })
		w.wantAttempts("alice ACCEPTED OPEN")
	})
}

// TestSAsLost: without SAs tunnels end, with the reason that says so.
func TestSAsLost(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.start()
		watch := w.watch(acme)
		p := w.secure(behindNAT)
		cl := w.enter(in(p), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		w.ike.clear(p, tenant.ReasonUserRequest)
		w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
		w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
		if got := watch.seen(); !slices.Equal(got, []string{".", "+ESTABLISHING", "+AUTHENTICATING", "+OPEN", "+CLOSING", "-"}) {
			t.Errorf("watch %q", got)
		}
		cl.abort()
	})
}

// TestGoodbyeOfTunnels: at the daemon's end clients are told by PPP and by L2TP.
func TestGoodbyeOfTunnels(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.start()
		cl := w.enter(in(w.secure(behindNAT)), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		w.shutdown(time.Minute)
		tunnel := cl.line.(*l2tpLine).tunnel
		var r *siml2tp.ResultError
		if err := tunnel.Err(); !errors.As(err, &r) || r.Type != wirel2tp.TypeStopCCN || r.Result.Code != wirel2tp.StopResultShutdown {
			t.Errorf("the tunnel ended with %v", err)
		}
		if got := terminated(cl.frames()); got == "" {
			t.Error("PPP was not told")
		}
	})
}

// TestGoodbyeOfTheDead: a client that is gone does not keep the daemon from telling the others.
func TestGoodbyeOfTheDead(t *testing.T) {
	inTunnels(t, 100, func(t *testing.T, w *half) {
		w.start()
		dead := w.enter(in(w.secure(behindNAT)), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		dead.setMute(true)
		dead.line.Abort()
		cl := w.enter(in(w.secure(who{from: "198.51.100.7:40002"})), siml2tp.Windows("PC", 1), simppp.Windows(alice, password))
		w.shutdown(5 * time.Second)
		if terminated(cl.frames()) == "" || cl.line.(*l2tpLine).tunnel.Err() == nil {
			t.Error("the client was not told")
		}
		if w.ike.late {
			t.Error("IKE had no time to say goodbye")
		}
	})
}
