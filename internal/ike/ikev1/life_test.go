package ikev1

import (
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

func TestAggressiveMode(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(p *TenantPolicy, c *Initiator)
		reason tenant.Reason
		tenant string
	}{
		{name: "key ID", change: func(_ *TenantPolicy, c *Initiator) {
			c.Identity = wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}
		}},
		{name: "FQDN", change: func(p *TenantPolicy, c *Initiator) {
			p.GroupName = "sales.example"
			c.Identity = wireike.ID{Type: wireike.IDFQDN, Data: []byte("sales.example")}
		}},
		{name: "user FQDN", change: func(p *TenantPolicy, c *Initiator) {
			p.GroupName = "sales@example"
			c.Identity = wireike.ID{Type: wireike.IDUserFQDN, Data: []byte("sales@example")}
		}},
		{name: "wrong key", reason: tenant.ReasonPSKMismatch, change: func(_ *TenantPolicy, c *Initiator) {
			c.PSK = tenant.Secret("other")
		}},
		{name: "another group", reason: tenant.ReasonNoCommonProposal, change: func(_ *TenantPolicy, c *Initiator) {
			c.Identity.Data = []byte("sale")
		}},
		{name: "off", reason: tenant.ReasonNoCommonProposal, change: func(p *TenantPolicy, _ *Initiator) {
			p.Aggressive = false
		}},
		{name: "legacy", reason: tenant.ReasonLegacyNotAllowed, change: func(_ *TenantPolicy, c *Initiator) {
			c.Proposals[0].Group = wireike.GroupMODP1024
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				p := pskPolicy("tenants/sales", "secret")
				p.Aggressive, p.GroupName = true, "sales"
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "alpha"), p), Config{})
				cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				c := linux("10.0.0.2", "secret")
				c.Aggressive, c.InitialContact = true, true
				c.Identity = wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}
				tc.change(p, &c)
				var requests, replies int
				w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
					if from.Addr() == s.addr {
						replies += len(msg)
					} else {
						requests += len(msg)
					}
					if requests < replies && s.e.Stats().EstablishedSAs == 0 {
						t.Errorf("%d octets were answered with %d before the address was proven", requests, replies)
					}
					return true
				}
				cl.initiate(c)
				settle(8 * time.Second)
				if tc.reason == tenant.ReasonPSKMismatch {
					// Whoever does not know the key hears nothing that says so: the client gives up, we time out.
					if r := cl.refused(); len(r) != 1 || r[0].Reason != tc.reason {
						t.Errorf("the client reports %+v", r)
					}
					return
				}
				if tc.reason != "" {
					wantRefusal(t, s, tenant.StageIKEMainMode, tc.reason, "", "")
					return
				}
				sa := s.only().sa
				if sa.Tenant != "tenants/sales" || !sa.Aggressive || !sa.NAT.Remote || sa.Path.Local.Port() != portNATT || !sa.InitialContact {
					t.Errorf("%+v", sa)
				}
				mustCarry(t, s.only(), cl.only())
				w.shutdown(cl, s)
			})
		})
	}
}

// Message 3 of Aggressive Mode may be in the clear, and must prove the key all the same.
func TestForgedMessage3OfAggressiveMode(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		p := pskPolicy("tenants/sales", "secret")
		p.Aggressive, p.GroupName = true, "sales"
		s := w.host(serverAddr, policyOf(p), Config{})
		cl := w.host("192.0.2.7", policyOf(), Config{})
		c := linux("192.0.2.7", "secret")
		c.Aggressive, c.Identity = true, wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}
		forge(w, s, 3, func(msg []byte) []byte { // the second is message 1 again, as the answer is longer
			h, _ := wireike.ParseHeader(msg)
			h.Flags = 0
			b := wireike.NewBuilder(h)
			b.Add(wireike.PayloadHASH, make([]byte, 32))
			return b.Bytes()
		})
		cl.initiate(c)
		settle(8 * time.Second)
		wantRefusal(t, s, tenant.StageIKEMainMode, tenant.ReasonPSKMismatch, "tenants/sales", "")
	})
}

func TestAggressiveModeUnderLoss(t *testing.T) {
	for _, drop := range []int{1, 2, 3, 4, 5, 6} {
		run(t, func(t *testing.T, w *world) {
			p := pskPolicy("tenants/sales", "secret")
			p.Aggressive, p.GroupName = true, "sales"
			s := w.host(serverAddr, policyOf(p), Config{})
			cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
			c := linux("10.0.0.2", "secret")
			c.Aggressive = true
			c.Identity = wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}
			n := 0
			w.tap = func(netip.AddrPort, netip.AddrPort, []byte) bool { n++; return n != drop }
			cl.initiate(c)
			settle(29 * time.Second)
			mustCarry(t, s.only(), cl.only())
			w.shutdown(cl, s)
		})
	}
}

// One message is lost, whichever it is: the exchange goes on.
func TestEachMessageLostOnce(t *testing.T) {
	for drop := 1; drop <= 9; drop++ {
		run(t, func(t *testing.T, w *world) {
			s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
			cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
			n := 0
			w.tap = func(netip.AddrPort, netip.AddrPort, []byte) bool { n++; return n != drop }
			cl.initiate(linux("10.0.0.2", "secret"))
			settle(6 * time.Second)
			mustCarry(t, s.only(), cl.only())
			if r := append(s.refused(), cl.refused()...); len(r) != 0 {
				t.Errorf("%+v", r)
			}
			w.shutdown(cl, s)
		})
	}
}

func TestDeadPeerDetection(t *testing.T) {
	for _, capable := range []bool{true, false} {
		run(t, func(t *testing.T, w *world) {
			c := linux("10.0.0.2", "secret")
			if !capable {
				c.Vendors = []wireike.Vendor{wireike.VendorNATTRFC3947}
			}
			s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
			sp := s.only()
			before := w.sent
			settle(10 * time.Minute) // packets flow
			if w.sent != before {
				t.Errorf("%d messages while packets flow", w.sent-before)
			}
			s.mu.Lock()
			s.idle = time.Hour
			s.mu.Unlock()
			settle(10 * time.Minute)
			if n := w.sent - before; capable && (n < 30 || n > 50) || !capable && n != 0 {
				t.Errorf("%d messages in ten minutes of silence", n)
			}
			if st := s.e.Stats(); st.Peers != 1 {
				t.Errorf("%+v", st)
			}
			w.mu.Lock()
			w.loss = 1
			w.mu.Unlock()
			begin := time.Now()
			settle(10 * time.Minute)
			if capable {
				if st := s.e.Stats(); st.Peers != 0 || st.DeadPeers != 1 || sp.ended() != "LOST_CARRIER the peer did not answer 5 times" {
					t.Errorf("%+v %q", st, sp.ended())
				}
			} else if sp.ended() != "" {
				t.Errorf("a peer without dead peer detection was given up after %v: %s", time.Since(begin), sp.ended())
			}
			w.mu.Lock()
			w.loss = 0
			w.mu.Unlock()
			w.shutdown(cl, s)
		})
	}
}

func TestDrop(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		s.e.Drop(sp, tenant.ReasonAdminDisconnect)
		s.e.Drop(sp, tenant.ReasonAdminDisconnect)
		settle(time.Second)
		if sp.ended() != "ADMIN_DISCONNECT ended on our side" || len(sp.downs) != 1 {
			t.Errorf("%q %q", sp.ended(), sp.downs)
		}
		if cp.ended() != "USER_REQUEST the peer has deleted its SAs" {
			t.Errorf("the client: %q", cp.ended())
		}
		w.shutdown(cl, s)
	})
}

// A NAT that forgets its mapping: the next authentic message moves the peer, a copy of an old one does not.
func TestMappingChanges(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		old := sp.path
		var kept []byte
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			if from.Addr() != s.addr && kept == nil {
				kept = append([]byte(nil), msg...)
			}
			return true
		}
		_, out := cp.state()
		cl.e.Limit(cp, out.InboundSPI, false)
		settle(time.Second)
		cl.nat.ports, cl.nat.back = map[netip.AddrPort]uint16{}, map[uint16]netip.AddrPort{}
		_, out = cp.state()
		cl.e.Limit(cp, out.InboundSPI, false)
		settle(time.Second)
		if sp.path == old || sp.path.Remote.Addr() != old.Remote.Addr() || len(sp.moves) == 0 {
			t.Errorf("the path is %v, %d moves", sp.path, len(sp.moves))
		}
		moved := sp.path
		s.e.Receive(Path{Listener: "listeners/test", Local: old.Local, Remote: netip.MustParseAddrPort("203.0.113.66:7")}, kept)
		settle(time.Second)
		if sp.path != moved {
			t.Errorf("a copy moved the peer to %v", sp.path)
		}
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

// A client that comes back without a word, with INITIAL-CONTACT: the old SAs of the same peer go, others stay.
func TestInitialContact(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		a := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		c := linux("192.0.2.7", "secret")
		a.initiate(c)
		settle(time.Second)
		sp := s.only()
		_, first := sp.state()
		w.loss = 1
		w.shutdown(a) // its deletes are lost
		w.loss = 0
		again := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		c.InitialContact = true
		again.initiate(c)
		settle(time.Second)
		n, out := sp.state()
		if s.only() != sp || n != 1 || out == first || len(sp.downs) != 1 {
			t.Errorf("%d children, %q", n, sp.downs)
		}
		mustCarry(t, sp, again.only())
		w.shutdown(again, s)
	})
}

// macOS begins a new Main Mode after 48 minutes and deletes the old SA: children live on.
func TestNewMainModeTakesOver(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		_, out := sp.state()
		for i := range 4 {
			cl.e.postPeer(cp, func(m *peer, now time.Time) { m.rekeySA(now, m.newest()) })
			settle(time.Minute)
			if len(s.sas) != i+2 {
				t.Fatalf("%d SAs after %d Main Modes; %+v", len(s.sas), i+1, s.refused())
			}
		}
		if n, now := sp.state(); n != 1 || now != out {
			t.Errorf("%d children", n)
		}
		if st := s.e.Stats(); st.SAs > maxSAs {
			t.Errorf("%+v", st)
		}
		cl.e.Limit(cp, func() uint32 { _, o := cp.state(); return o.InboundSPI }(), false)
		settle(time.Second)
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

func TestMerge(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		old := s.only()
		// The NAT forgets, and the client begins anew: another peer for us, until its tunnel tells that it is the same.
		cl.nat.ports, cl.nat.back = map[netip.AddrPort]uint16{}, map[uint16]netip.AddrPort{}
		c := linux("10.0.0.2", "secret")
		cl.initiate(c)
		settle(time.Second)
		if len(s.peers) != 2 {
			t.Fatalf("%d peers", len(s.peers))
		}
		fresh := s.all[1]
		old.mu.Lock() // as the data plane does it
		for spi, state := range fresh.spis {
			old.spis[spi] = state
		}
		for spi, ch := range fresh.children {
			old.children[spi] = ch
		}
		fresh.spis, fresh.children = map[uint32]string{}, map[uint32]*Child{}
		old.mu.Unlock()
		s.e.Merge(fresh, old)
		settle(time.Second)
		if fresh.ended() != "REPLACED merged into another peer" {
			t.Errorf("%q", fresh.ended())
		}
		st := s.e.Stats()
		if n, out := old.state(); st.Peers != 1 || n != 2 || out == nil || old.path.Remote.Port() != fresh.path.Remote.Port() {
			t.Errorf("%+v, %d children, path %v", st, n, old.path)
		}
		cp := cl.only()
		mustCarry(t, old, cp)
		_, out := cp.state()
		cl.e.Limit(cp, out.InboundSPI, false)
		settle(time.Second)
		mustCarry(t, old, cp)
		s.e.Drop(old, tenant.ReasonAdminDisconnect)
		settle(time.Second)
		w.shutdown(cl, s)
	})
}

// Two SAs of one host for two ports, and Quick Modes numbered 1, 2, 3.
func TestSeveralChildren(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := linux("10.0.0.2", "secret")
		c.FirstMessageID = 1
		for _, port := range []uint16{0, 50123} {
			q := c.Children[0]
			q.Local.Port = port
			c.Children = append(c.Children, q)
		}
		c.Children[1].Remote.Port = 0
		s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		if n, _ := s.only().state(); n != 3 {
			t.Errorf("%d children; %+v", n, s.refused())
		}
		ports := map[uint16]bool{}
		for _, ch := range s.only().children {
			ports[ch.PeerPort] = true
		}
		if !ports[0] || !ports[1701] || !ports[50123] {
			t.Errorf("ports %v", ports)
		}
		mustCarry(t, s.only(), cl.only())
		w.shutdown(cl, s)
	})
}

func TestDraftNATT(t *testing.T) {
	for _, v := range []wireike.Vendor{
		wireike.VendorNATTDraft02NL, wireike.VendorNATTDraft02, wireike.VendorNATTDraft03, wireike.VendorNATTRFC3947,
	} {
		run(t, func(t *testing.T, w *world) {
			c := linux("10.0.0.2", "secret")
			c.Vendors = []wireike.Vendor{v}
			s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
			_, out := s.only().state()
			if out == nil || !out.UDPEncap || out.PeerOA != cl.addr || !s.only().sa.NAT.Remote {
				t.Fatalf("%v: %+v", v, out)
			}
			mustCarry(t, s.only(), cl.only())
			w.shutdown(cl, s)
		})
	}
}

// Behind a NAT without any NAT traversal: Quick Mode can only offer plain transport mode, which would not pass.
func TestForcedNAT(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		c := linux("192.0.2.7", "secret")
		c.ForceNAT = true
		cl.initiate(c)
		settle(time.Second)
		if _, out := s.only().state(); out == nil || !out.UDPEncap || s.only().sa.Path.Remote.Port() != portNATT {
			t.Errorf("%+v", out)
		}
		mustCarry(t, s.only(), cl.only())
		w.shutdown(cl, s)
	})
}

// An expired ISAKMP SA leaves the children alone, and a child is rekeyed all the same.
func TestChildrenOutliveTheirSA(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		cl.e.postPeer(cp, func(m *peer, now time.Time) { m.newest().expires = now; m.newest().rekeyAt = time.Time{} })
		settle(time.Second)
		if st := s.e.Stats(); st.SAs != 0 || st.Peers != 1 || len(sp.downs) != 1 {
			t.Errorf("%+v", st)
		}
		mustCarry(t, sp, cp)
		_, out := sp.state()
		s.e.Limit(sp, out.InboundSPI, false)
		settle(time.Second)
		n, next := sp.state()
		if st := s.e.Stats(); st.SAs != 1 || n != 2 || next == out {
			t.Errorf("%+v, %d children; %+v %+v", st, n, s.refused(), cl.refused())
		}
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

// Children whose ISAKMP SA was deleted and that nothing comes through go in the end.
func TestOrphans(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp := s.only()
		n := 0
		w.tap = func(from, _ netip.AddrPort, _ []byte) bool { n++; return n != 1 } // the delete of the child
		w.shutdown(cl)
		settle(20 * time.Minute)
		if sp.ended() != "" {
			t.Errorf("%q though packets come", sp.ended())
		}
		s.mu.Lock()
		s.idle = time.Hour
		s.mu.Unlock()
		settle(6 * time.Minute)
		if sp.ended() == "" {
			t.Error("the child is still there")
		}
		w.shutdown(s)
	})
}
