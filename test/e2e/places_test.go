package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/session"
	simike "concentrator/internal/simclient/ike"
	"concentrator/internal/simclient/ipsec"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// only returns the only session of acme.
func (w *world) only() session.Info {
	w.t.Helper()
	all := w.m.Sessions(acme)
	if len(all) != 1 {
		w.t.Fatalf("%d sessions, want one: %+v", len(all), all)
	}
	return all[0]
}

// goodbye hangs all clients up, and nothing is left.
func (w *world) goodbye(clients ...*client) {
	w.t.Helper()
	for _, c := range clients {
		c.check()
	}
	w.all(clients, "hang up", func(ctx context.Context, _ int, c *client) error { return c.HangUp(ctx) })
	w.until("nothing is left", w.left)
}

// TestSamePrivateAddressBehindTwoNATs: two clients of one kind with the same private address, identity and tunnel ID.
func TestSamePrivateAddressBehindTwoNATs(t *testing.T) {
	w := newWorld(t)
	w.user(acme, "ann")
	w.user(acme, "ben")
	w.start()
	ann := w.connected(windows.at("ann", "192.168.1.2", "203.0.113.9"))
	ben := w.connected(windows.at("ben", "192.168.1.2", "203.0.113.77"))
	w.all([]*client{ann, ben}, "ping", func(ctx context.Context, _ int, c *client) error {
		for range 50 {
			if err := c.ping(ctx); err != nil {
				return err
			}
		}
		return c.RekeyESP(ctx)
	})
	if ann.Address() == ben.Address() || len(w.m.Sessions(acme)) != 2 {
		t.Errorf("%v and %v, %d sessions", ann.Address(), ben.Address(), len(w.m.Sessions(acme)))
	}
	w.goodbye(ann, ben)
}

// TestRawESP: without a NAT, ESP comes as protocol 50, from the kinds of clients that have different suites.
func TestRawESP(t *testing.T) {
	w := newWorld(t)
	kinds := []personality{windows, macOS, android, chrome, router, old}
	for i := range kinds {
		w.user(acme, fmt.Sprint("user", i))
	}
	w.start()
	ciphers := []string{
		"AES-256-CBC-SHA1", "AES-256-CBC-SHA256", "AES-256-CBC-SHA1", "AES-128-GCM", "AES-256-CBC-SHA1", "3DES-CBC-MD5",
	}
	var clients []*client
	for i, k := range kinds {
		c := w.connected(k.at(fmt.Sprint("user", i), fmt.Sprintf("203.0.113.%d", 100+i), ""))
		for _, s := range w.m.Sessions(acme) {
			if s.Address == c.Address() && (s.Cipher != ciphers[i] || s.NATDetected) {
				t.Errorf("%s: %s, NAT %v, want %s", k.ike().Name, s.Cipher, s.NATDetected, ciphers[i])
			}
		}
		clients = append(clients, c)
	}
	w.goodbye(clients...)
}

// TestQuirks: an Android that cuts check values short gets them short, and a client that wants sequence numbers sends and
// gets them. Both have traffic through a rekey.
func TestQuirks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   personality
		alter  func(s *spec)
		cipher string
	}{
		{"short check values", android, func(s *spec) {
			s.shortICV = true
			s.ike.VendorIDs = s.ike.VendorIDs[:1] // not to be known as an Android, which would get SHA-1
			s.ike.ESP = s.ike.ESP[3:]
		}, "AES-256-CBC-SHA256"},
		{"sequence numbers", windows, func(s *spec) { s.l2tp.Connect.SequencingRequired = true }, "AES-256-CBC-SHA1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.user(acme, "ann")
			w.start()
			s := tt.kind.at("ann", "192.168.1.2", "203.0.113.9")
			tt.alter(&s)
			c := w.connected(s)
			if got := w.only().Cipher; got != tt.cipher {
				t.Errorf("cipher %s, want %s", got, tt.cipher)
			}
			ctx, cancel := w.patient()
			defer cancel()
			for range 3 {
				for range 50 {
					if err := c.ping(ctx); err != nil {
						t.Fatalf("%v; drops %v", err, w.drops())
					}
				}
				if err := c.RekeyESP(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if sequenced := c.Sequenced(); sequenced != s.l2tp.Connect.SequencingRequired {
				t.Errorf("sequence numbers: %v", sequenced)
			}
			w.goodbye(c)
		})
	}
}

// TestReborn: a client that died and comes back with the same address, ports and tunnel ID is in at once, and its old
// session is gone. With INITIAL-CONTACT its old SAs are too; Windows does not send it, so they wait for their end.
func TestReborn(t *testing.T) {
	for _, tt := range []struct {
		name, own, nat string
		kind           personality
	}{
		{"Windows in raw ESP", "203.0.113.50", "", windows},
		{"Windows behind a NAT", "192.168.1.2", "203.0.113.9", windows},
		{"macOS in raw ESP", "203.0.113.50", "", macOS},
		{"macOS behind a NAT", "192.168.1.2", "203.0.113.9", macOS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.user(acme, "ann")
			w.start()
			dead := w.connected(tt.kind.at("ann", tt.own, tt.nat))
			before := w.only()
			for range 2 {
				dead.Die()
				s := tt.kind.at("ann", tt.own, tt.nat)
				s.like = dead
				began := time.Now()
				c := w.connected(s)
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("back after %v", took)
				}
				w.until("one session", func() error {
					if n := len(w.m.Sessions(acme)); n != 1 {
						return fmt.Errorf("%d sessions", n)
					}
					return nil
				})
				if now := w.only(); now.Name == before.Name || now.Address != c.Address() || now.ClientAddress != before.ClientAddress {
					t.Errorf("session %+v", now)
				}
				before, dead = w.only(), c
			}
			ctx, cancel := w.patient()
			defer cancel()
			if err := dead.HangUp(ctx); err != nil {
				t.Fatal(err)
			}
			w.until("no session is left", func() error {
				_, leased := w.m.PoolUsage(acme + "/pools/main")
				tunnels := w.gauge("concentrator_l2tp_tunnels")
				if n := len(w.m.Sessions("")); n != 0 || leased != 0 || tunnels != 0 {
					return fmt.Errorf("%d sessions, %d leases, %v tunnels", n, leased, tunnels)
				}
				return nil
			})
			if tt.kind.ike().Contact != simike.ContactNone {
				w.until("nothing is left", w.left)
			}
		})
	}
}

// TestMappingChanges: the NAT gives the client another port in the middle of a valid SA. Traffic goes on both ways at
// once, and the session shows where the client is.
func TestMappingChanges(t *testing.T) {
	w := newWorld(t)
	w.user(acme, "ann")
	w.start()
	c := w.connected(macOS.at("ann", "192.168.1.2", "203.0.113.9"))
	before := w.only()
	ctx, cancel := w.patient()
	defer cancel()
	for range 3 {
		w.remap(c)
		for range 10 {
			if err := c.ping(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := netip.AddrPortFrom(c.nat, c.outer(ipsec.PortNATT))
	w.until("the session shows the new port", func() error {
		if now := w.only(); now.ClientAddress != want || now.Name != before.Name || want == before.ClientAddress {
			return fmt.Errorf("%+v, want %v", now.ClientAddress, want)
		}
		return nil
	})
	// The server's own IKE messages and the client's later ones find their way too.
	if err := c.RekeyIKE(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.RekeyESP(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.ping(ctx); err != nil {
		t.Fatal(err)
	}
	if n := w.gauge("concentrator_ipsec_peers"); n != 1 {
		t.Errorf("%v peers", n)
	}
	w.goodbye(c)
}

// TestComesBackByAnotherPort: after a pause the client's mappings are gone. It makes a new Main Mode and new ESP SAs from
// other ports and goes on with its tunnel, while packets for it never stop coming from inside: nothing that the server
// sends through the new SA is lost.
func TestComesBackByAnotherPort(t *testing.T) {
	for _, kind := range []personality{windows, chrome} {
		t.Run(kind.ike().Name, func(t *testing.T) {
			w := newWorld(t)
			w.user(acme, "ann")
			w.start()
			c := w.connected(kind.at("ann", "192.168.1.2", "203.0.113.9"))
			before := w.only()
			stop := w.push(c)
			time.Sleep(2200 * time.Millisecond) // silence of the client
			w.remap(c)
			ctx, cancel := w.patient()
			defer cancel()
			if err := c.Renew(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.reach(ctx); err != nil { // the first packet shows the server who it is
				t.Fatalf("%v; drops %v", err, w.drops())
			}
			for range 100 {
				if err := c.ping(ctx); err != nil {
					t.Fatalf("%v; drops %v", err, w.drops())
				}
			}
			now := w.only()
			if want := netip.AddrPortFrom(c.nat, c.outer(ipsec.PortNATT)); now.Name != before.Name || now.ClientAddress != want {
				t.Errorf("session %+v, want %v", now, want)
			}
			w.until("one peer", func() error {
				if n := w.gauge("concentrator_ipsec_peers"); n != 1 {
					return fmt.Errorf("%v peers", n)
				}
				return nil
			})
			for range 2 { // the merged peer can rekey
				if err := c.RekeyESP(ctx); err != nil {
					t.Fatal(err)
				}
				if err := c.ping(ctx); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			w.goodbye(c)
		})
	}
}

// TestServerHangsUp: the operator ends the session; the client learns of it at once and nothing is left when it has
// deleted its SAs.
func TestServerHangsUp(t *testing.T) {
	w := newWorld(t)
	w.user(acme, "ann")
	w.start()
	c := w.connected(swan.at("ann", "192.168.1.2", "203.0.113.9"))
	if err := w.m.Disconnect(w.only().Name, tenant.ReasonAdminDisconnect); err != nil {
		t.Fatal(err)
	}
	w.until("the client is down", func() error {
		if c.Open() {
			return fmt.Errorf("it still carries IP")
		}
		return nil
	})
	w.goodbye(c)
}

// push sends packets from inside to a client, ten each millisecond, until the function that it returns is called.
func (w *world) push(c *client) (stop func()) {
	w.mu.Lock()
	d := w.devices[len(w.devices)-1]
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		p := echo(echoRequest, inside, c.Address(), c.mark, 0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for range 10 {
					d.write(p)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// refused waits for the only refused login.
func (w *world) refused() session.LoginAttempt {
	w.t.Helper()
	var all []session.LoginAttempt
	w.until("the refusal is listed", func() error {
		if all = w.m.Logins(session.LoginFilter{Outcome: session.OutcomeRefused}); len(all) == 0 {
			return fmt.Errorf("no refused login")
		}
		return nil
	})
	if len(all) != 1 {
		w.t.Errorf("%d refusals: %+v", len(all), all)
	}
	return all[0]
}

// TestRefusals: each is refused at its stage for its reason, and nothing is left behind.
func TestRefusals(t *testing.T) {
	const other = "tenants/other"
	for _, tt := range []struct {
		name   string
		alter  func(s *spec)
		stage  tenant.Stage
		reason tenant.Reason
		tenant string
	}{
		{"wrong key", func(s *spec) { s.key = "wrong" }, tenant.StageIKEMainMode, tenant.ReasonPSKMismatch, ""},
		{
			"no common proposal", func(s *spec) { s.ike.Phase1 = s.ike.Phase1[:1]; s.ike.Phase1[0].Encryption = 1 },
			tenant.StageIKEMainMode, tenant.ReasonNoCommonProposal, "",
		},
		{
			"no common ESP proposal", func(s *spec) { s.ike.ESP = s.ike.ESP[3:] },
			tenant.StageIKEQuickMode, tenant.ReasonNoCommonProposal, acme,
		},
		{
			"wrong password", func(s *spec) { s.ppp.Passwords = []string{"wrong"} },
			tenant.StageAuthentication, tenant.ReasonWrongCredentials, acme,
		},
		{
			"another tenant's user", func(s *spec) { s.ppp.Name = "ann@other.example" },
			tenant.StageAuthentication, tenant.ReasonTenantMismatch, "",
		},
		{
			"another tenant's key", func(s *spec) { s.ppp.Name, s.key = "ann@acme.example", "other's key" },
			tenant.StageAuthentication, tenant.ReasonTenantMismatch, "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.tenant("other", "other's key", "10.8.0.0/24")
			l, err := store.Get[store.Listener](w.store, "listeners/main")
			if err != nil {
				t.Fatal(err)
			}
			l.Tenants = append(l.Tenants, other)
			if err := store.Update(w.store, l); err != nil {
				t.Fatal(err)
			}
			w.user(acme, "ann")
			w.user(other, "ann")
			w.start()
			s := windows.at("ann", "192.168.1.2", "203.0.113.9")
			tt.alter(&s)
			c := w.come(s)
			ctx, cancel := w.patient()
			defer cancel()
			connected := make(chan error, 1)
			go func() { connected <- c.Connect(ctx) }()
			a := w.refused()
			cancel() // some of the refusals tell the client nothing
			if err := <-connected; err == nil {
				t.Fatal("it got in")
			}
			if a.Stage != tt.stage || a.Reason != tt.reason || tt.tenant != "" && a.Tenant != tt.tenant ||
				a.Protocol != tenant.ProtocolL2TPIPsec || a.ClientAddress.Addr() != c.nat || a.Detail == "" {
				t.Errorf("%+v, want %s at %s", a, tt.reason, tt.stage)
			}
		})
	}
}
