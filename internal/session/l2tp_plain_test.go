package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	"concentrator/internal/tunnel/l2tp"
	wirel2tp "concentrator/internal/wire/l2tp"
)

// plainly makes the listener one for L2TP outside IPsec, and acme's default profile one that allows it.
func (w *half) plainly() {
	w.t.Helper()
	alter(w.world, mainListener, func(l *store.Listener) { l.Protocols = []tenant.Protocol{tenant.ProtocolL2TP} })
	alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
}

// lac is a peer outside IPsec.
func (w *half) lac(from string) plainPeer {
	return plainPeer{w.m.face(mainListener), netip.MustParseAddr(mainAddr), netip.MustParseAddrPort(from)}
}

// TestLoginPlainL2TP: where listener and profile allow it.
func TestLoginPlainL2TP(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.plainly()
		alter(w.world, acme, func(r *store.Tenant) { r.L2TPTunnelSecret = tenant.Secret("tunnel") })
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) {
			p.MTU, p.AuthMethods = 1500, []tenant.AuthMethod{tenant.AuthPAP}
		})
		w.start()
		d := w.plane.datagramsAt(mainAddr)
		if spec := d.now(); !spec.Plain || spec.IPsec {
			t.Errorf("opened with %+v", spec)
		}
		lac := w.lac("198.51.100.7:1701")
		d.spec.Sink.PlainL2TP(lac.local, lac.remote, make([]byte, 12))
		w.until("the message has come", func() bool { return slices.Equal(w.l2tp.heard(), []string{"1701 12"}) })

		tunnel, a := w.l2tp.open(lac, 1701, 1)
		if tunnel == nil || string(a.Secret) != "tunnel" {
			t.Fatalf("answer %+v", a)
		}
		cl := w.dialIn(tunnel, simppp.MacOS(alice, password))
		w.wantOpen(cl)
		i := w.session(acme)
		if i.Protocol != tenant.ProtocolL2TP || i.Cipher != "NONE" || i.NATDetected || i.MTU != 1460 || i.ClientAddress != lac.remote {
			t.Errorf("session %+v", i)
		}
		// The profile forbids it now: what is in clear ends.
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = false })
		w.settle()
		w.until("the session is gone", cl.gone)
		w.until("the tunnel is gone", func() bool {
			lac.face.mu.Lock()
			defer lac.face.mu.Unlock()
			return len(lac.face.tunnels) == 0
		})
		if d.now().Plain {
			t.Error("L2TP in clear still comes in")
		}
		// Allowed again, and then the listener goes, with the tunnels that are open.
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
		w.settle()
		w.tunnel(lac, 1701, 2)
		remove[store.Listener](w.world, mainListener)
		w.settle()
		w.until("the tunnel is gone", func() bool { return w.l2tp.Stats().Open == 0 })
		if w.plane.datagramsAt(mainAddr) != nil {
			t.Error("the listener is open")
		}
	})
}

// TestProxiedLogin: what a LAC has settled with its user is not asked again.
func TestProxiedLogin(t *testing.T) {
	for _, c := range []struct {
		name, password string
		want           []string // of what the user gets at first
	}{
		{"right", password, []string{"PAP Authenticate-Ack", "IPCP Configure-Request"}},
		{"wrong", "wrong", []string{"PAP Authenticate-Nak"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHalf(t, func(t *testing.T, w *half) {
				w.plainly()
				alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AuthMethods = []tenant.AuthMethod{tenant.AuthPAP} })
				w.start()
				line, a := w.tunnel(w.lac("198.51.100.9:1701"), 1701, 1).call(1)
				if line == nil {
					t.Fatalf("refused: %+v", a)
				}
				fc := w.plane.call(line.id)
				lns{w.m}.Connected(line.id, l2tp.Connect{
					LastSentLCP: []byte{3, 4, 0xc0, 0x23}, LastReceivedLCP: []byte{1, 4, 5, 0xdc}, // PAP; an MRU of 1500
					ProxyAuthentication: l2tp.ProxyAuthentication{
						Type: wirel2tp.ProxyAuthenPAP, Name: alice, ID: 7, Response: []byte(c.password),
					},
				})
				w.after(time.Second)
				if got := fc.history(); len(got) < len(c.want) || !slices.Equal(got[:len(c.want)], c.want) {
					t.Errorf("the user got %q, want %q first", got, c.want)
				}
			})
		})
	}
}

// TestPlainL2TPRefused: either of listener and profile is not enough, and IPsec's clients are not touched by either.
func TestPlainL2TPRefused(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		_, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		d := w.plane.datagramsAt(mainAddr)
		if spec := d.now(); spec.Plain || !spec.IPsec {
			t.Errorf("opened with %+v", spec)
		}
		alter(w.world, mainListener, func(l *store.Listener) { l.Protocols = append(l.Protocols, tenant.ProtocolL2TP) })
		w.settle()
		if d.now().Plain {
			t.Error("the listener is enough")
		}
		// What comes in before the plane knows better is refused by name.
		if tunnel, a := w.l2tp.open(w.lac("198.51.100.9:1701"), 1701, 1); tunnel != nil || a.Result != wirel2tp.StopResultNotAuthorized {
			t.Errorf("answer %+v", a)
		}
		w.wantAttempts("alice ACCEPTED OPEN", "REFUSED L2TP_TUNNEL PLAINTEXT_NOT_ALLOWED")
		alter(w.world, acme+"/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
		w.settle()
		if !d.now().Plain {
			t.Error("both are not enough")
		}
		// A user whose own profile does not allow it.
		create(w.world, &store.Profile{Meta: named(acme + "/profiles/strict")})
		w.addUser("acme", "sam", func(u *store.User) { u.Profile = acme + "/profiles/strict" })
		refused := w.dialIn(w.tunnel(w.lac("198.51.100.9:1701"), 1701, 1), simppp.MacOS("sam", password))
		w.wantRefused(refused)
		if a := w.attempts(); a[len(a)-1] != "sam REFUSED AUTHENTICATION PLAINTEXT_NOT_ALLOWED" {
			t.Errorf("attempts %q", a)
		}
		if !cl.isOpen() || cl.gone() || w.plane.datagramsAt(mainAddr) != d {
			t.Error("the session in IPsec was disturbed")
		}
	})
}

// TestTunnelSecretOfManyTenants: without a default tenant it must be the same for all that may be meant.
func TestTunnelSecretOfManyTenants(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.plainly()
		w.addTenant("beta", "10.8.0.0/29")
		alter(w.world, mainListener, func(l *store.Listener) { l.Tenants, l.DefaultTenant = append(l.Tenants, "tenants/beta"), "" })
		alter(w.world, "tenants/beta", func(r *store.Tenant) { r.L2TPTunnelSecret = tenant.Secret("b") })
		w.start()
		lac := w.lac("198.51.100.9:1701")
		w.tunnel(lac, 1701, 1) // beta does not allow it, so acme is meant
		alter(w.world, "tenants/beta/profiles/default", func(p *store.Profile) { p.AllowPlaintext = true })
		if tunnel, a := w.l2tp.open(lac, 1701, 2); tunnel != nil || a.Result != wirel2tp.StopResultNotAuthorized {
			t.Errorf("answer %+v", a)
		}
		w.wantAttempts("REFUSED L2TP_TUNNEL TUNNEL_SECRET_MISMATCH")
	})
}

// TestL2TPHandlerSaysNo: what the server reports is an attempt like any other.
func TestL2TPHandlerSaysNo(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		p := w.secure(behindNAT)
		lns{w.m}.Refused(p, tenant.StageL2TPTunnel, tenant.ReasonTunnelSecretMismatch, "test")
		if a := w.m.Logins(LoginFilter{})[0]; a.Tenant != acme || a.Protocol != tenant.ProtocolL2TPIPsec || a.ClientAddress.String() != behindNAT.from {
			t.Errorf("attempt %+v", a)
		}
		if tunnel, a := w.l2tp.open(w.lac("198.51.100.9:1701"), 1701, 1); tunnel != nil {
			t.Errorf("answer %+v", a)
		}
		w.m.mu.Lock()
		w.m.closed = true
		w.m.mu.Unlock()
		if tunnel, a := w.l2tp.open(p, 1701, 1); tunnel != nil || a.Result != wirel2tp.StopResultShutdown {
			t.Errorf("answer %+v", a)
		}
		lns{w.m}.Connected(9, l2tp.Connect{}) // of no session
		w.m.mu.Lock()
		w.m.closed = false
		w.m.mu.Unlock()
	})
}

// TestL2TPListeners: each protocol of a listener comes and goes for itself.
func TestL2TPListeners(t *testing.T) {
	inHalf(t, func(t *testing.T, w *half) {
		w.start()
		_, cl := w.come(behindNAT, simppp.MacOS(alice, password))
		d := w.plane.datagramsAt(mainAddr)
		alter(w.world, mainListener, func(l *store.Listener) { l.Protocols = append(l.Protocols, tenant.ProtocolPPTP) })
		w.settle()
		byPPTP, err := w.tryDial(mainAddr, clientFrom, simppp.Windows(alice, password))
		if err != nil {
			t.Fatal(err)
		}
		w.wantOpen(byPPTP)
		alter(w.world, mainListener, func(l *store.Listener) { l.Protocols = l.Protocols[:1] })
		w.settle()
		w.until("PPTP's session is gone", byPPTP.gone)
		if !cl.isOpen() || cl.gone() || w.plane.datagramsAt(mainAddr) != d {
			t.Error("the session in IPsec was disturbed")
		}
		// The address changes: L2TP in IPsec can't go on, and its clients may come to the new one.
		alter(w.world, mainListener, func(l *store.Listener) { l.Address = "192.0.2.9" })
		w.settle()
		w.until("the session is gone", cl.gone)
		w.until("the peer is gone", func() bool { return len(w.plane.openPeers()) == 0 })
		if w.plane.datagramsAt(mainAddr) != nil || w.plane.datagramsAt("192.0.2.9") == nil {
			t.Error("the listener has not moved")
		}
		w.come(behindNAT, simppp.MacOS(alice, password))
		remove[store.Listener](w.world, mainListener)
		w.settle()
		w.until("everything is gone", func() bool { return len(w.m.Sessions("")) == 0 && len(w.plane.openPeers()) == 0 })
		if got := w.ike.drops(); !slices.Equal(got, []tenant.Reason{tenant.ReasonAdminDisconnect, tenant.ReasonAdminDisconnect}) {
			t.Errorf("dropped %q", got)
		}
		time.Sleep(time.Minute)
	})
}
