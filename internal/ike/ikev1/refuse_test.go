package ikev1

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// refusal is what a server must report, and what must be left: nothing.
func wantRefusal(t *testing.T, h *host, stage tenant.Stage, reason tenant.Reason, name, detail string) {
	t.Helper()
	r := h.refused()
	if len(r) != 1 {
		t.Fatalf("%d refusals instead of one: %+v", len(r), r)
	}
	if r[0].Stage != stage || r[0].Reason != reason || r[0].Tenant != name || !strings.Contains(r[0].Detail, detail) {
		t.Errorf("refusal %+v, want %s %s of %q with %q", r[0], stage, reason, name, detail)
	}
}

func TestRefusals(t *testing.T) {
	legacy := Phase1Proposal{
		Encryption: wireike.Encryption3DES, Hash: wireike.HashSHA1, Group: wireike.GroupMODP1024, Lifetime: time.Hour,
	}
	for _, tc := range []struct {
		name   string
		server *Policy
		accept func(SA) error
		change func(*Initiator)
		stage  tenant.Stage
		reason tenant.Reason
		tenant string
		detail string
	}{
		{
			name: "wrong key", server: policyOf(pskPolicy("tenants/a", "other")),
			stage: tenant.StageIKEMainMode, reason: tenant.ReasonPSKMismatch, detail: "none of the listener's 1 pre-shared keys fits",
		},
		{
			name: "nothing in common", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) { c.Proposals[0].Encryption = wireike.EncryptionDES; c.Proposals[0].KeyBits = 0 },
			stage:  tenant.StageIKEMainMode, reason: tenant.ReasonNoCommonProposal, detail: "DES-CBC SHA2-256 MODP-2048 PSK",
		},
		{
			name: "legacy and nobody allows it", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) { c.Proposals = []Phase1Proposal{legacy} },
			stage:  tenant.StageIKEMainMode, reason: tenant.ReasonLegacyNotAllowed, detail: "3DES-CBC SHA1 MODP-1024 PSK",
		},
		{
			name: "legacy and another tenant allows it",
			server: policyOf(pskPolicy("tenants/a", "secret"), &TenantPolicy{
				Name: "tenants/b", PSKs: []PSK{{ID: "b", Secret: tenant.Secret("b")}}, Legacy: true,
			}),
			change: func(c *Initiator) { c.Proposals = []Phase1Proposal{legacy} },
			stage:  tenant.StageIKEMainMode, reason: tenant.ReasonLegacyNotAllowed, tenant: "tenants/a", detail: "does not allow 3DES",
		},
		{
			name: "the host says no", server: policyOf(pskPolicy("tenants/a", "secret")),
			accept: func(SA) error { return &RefusedError{tenant.ReasonTenantSuspended, "suspended"} },
			stage:  tenant.StageIKEMainMode, reason: tenant.ReasonTenantSuspended, tenant: "tenants/a", detail: "suspended",
		},
		{
			name: "the host fails", server: policyOf(pskPolicy("tenants/a", "secret")),
			accept: func(SA) error { return errors.New("odd") },
			stage:  tenant.StageIKEMainMode, reason: tenant.ReasonProtocolError, tenant: "tenants/a", detail: "odd",
		},
		{
			name: "ESP without anything in common", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) {
				c.Children[0].Proposals = []ESPProposal{{Transform: wireike.ESPNULL, Auth: wireike.ESPAuthSHA1}}
			},
			stage: tenant.StageIKEQuickMode, reason: tenant.ReasonNoCommonProposal, tenant: "tenants/a", detail: "NULL",
		},
		{
			name: "ESP legacy", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) {
				c.Children[0].Proposals = []ESPProposal{{Transform: wireike.ESP3DES, Auth: wireike.ESPAuthMD5}}
			},
			stage: tenant.StageIKEQuickMode, reason: tenant.ReasonLegacyNotAllowed, tenant: "tenants/a", detail: "3DES",
		},
		{
			name: "ESP with a legacy group", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) { c.Children[0].PFS = wireike.GroupMODP1024 },
			stage:  tenant.StageIKEQuickMode, reason: tenant.ReasonLegacyNotAllowed, tenant: "tenants/a", detail: "MODP-1024",
		},
		{
			name: "another port of ours", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) { c.Children[0].Remote.Port = 53 },
			stage:  tenant.StageIKEQuickMode, reason: tenant.ReasonProtocolError, tenant: "tenants/a", detail: "port 53",
		},
		{
			name: "another protocol", server: policyOf(pskPolicy("tenants/a", "secret")),
			change: func(c *Initiator) { c.Children[0].Local.Protocol, c.Children[0].Remote.Protocol = 6, 6 },
			stage:  tenant.StageIKEQuickMode, reason: tenant.ReasonProtocolError, tenant: "tenants/a", detail: "UDP",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, tc.server, Config{})
				s.accept = tc.accept
				cl := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				c := linux("192.0.2.7", "secret")
				if tc.change != nil {
					tc.change(&c)
				}
				cl.initiate(c)
				settle(time.Minute)
				wantRefusal(t, s, tc.stage, tc.reason, tc.tenant, tc.detail)
				settle(5 * time.Minute)
				wantRefusal(t, s, tc.stage, tc.reason, tc.tenant, tc.detail)
				if r := cl.refused(); len(r) != 1 {
					t.Errorf("the client reports %+v", r)
				}
				settle(5 * time.Minute)
				if st := s.e.Stats(); st.HalfOpen+st.Handshakes+st.SAs+st.Peers != 0 {
					t.Errorf("left: %+v", st)
				}
				if len(s.e.sources.m) > 0 {
					for a, src := range s.e.sources.m {
						if src.phase1 != 0 {
							t.Errorf("%v still has %d exchanges", a, src.phase1)
						}
					}
				}
				w.shutdown(cl, s)
			})
		})
	}
}

// A peer that stops behind message 3 is reported once; one that stops behind message 1 is not.
func TestTimeouts(t *testing.T) {
	for _, stop := range []int{2, 3, 5} {
		run(t, func(t *testing.T, w *world) {
			s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
			cl := w.host("192.0.2.7", policyOf(), Config{})
			n := 0
			w.tap = func(from, _ netip.AddrPort, _ []byte) bool {
				if from.Addr() == cl.addr {
					n++
				}
				return n < stop
			}
			c := linux("192.0.2.7", "secret")
			cl.initiate(c)
			settle(61 * time.Second)
			switch stop {
			case 2:
				if r := s.refused(); len(r) != 0 {
					t.Errorf("half-open exchanges are reported: %+v", r)
				}
			case 3:
				wantRefusal(t, s, tenant.StageIKEMainMode, tenant.ReasonPeerTimeout, "", "message 5 of main mode")
			case 5:
				wantRefusal(t, s, tenant.StageIKEQuickMode, tenant.ReasonPeerTimeout, "tenants/a", "message 3 of quick mode")
			}
			if st := s.e.Stats(); st.HalfOpen+st.Handshakes != 0 {
				t.Errorf("left: %+v", st)
			}
			w.shutdown(cl, s)
		})
	}
}

func TestTwoTenantsOneListener(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := pskPolicy("tenants/a", "alpha"), pskPolicy("tenants/b", "beta")
		b.PSKs = append(b.PSKs, PSK{ID: "second", Secret: tenant.Secret("gamma")})
		s := w.host(serverAddr, policyOf(a, b), Config{})
		for i, tc := range []struct{ addr, psk, tenant, id string }{
			{"10.0.0.2", "beta", "tenants/b", "main"},
			{"10.0.0.3", "alpha", "tenants/a", "main"},
			{"10.0.0.4", "gamma", "tenants/b", "second"},
			{"10.0.0.2", "gamma", "tenants/b", "second"},
		} {
			cl := w.behind("203.0.113.9", tc.addr, policyOf(pskPolicy("tenants/client", tc.psk)), Config{})
			cl.initiate(linux(tc.addr, tc.psk))
			settle(time.Second)
			if len(s.sas) != i+1 || s.sas[i].Tenant != tc.tenant || s.sas[i].PSK != tc.id {
				t.Errorf("%d: %+v, %+v", i, s.sas, s.refused())
			}
		}
		if r := s.refused(); len(r) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestModernBeforeLegacy(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		p := pskPolicy("tenants/a", "secret")
		p.Legacy = true
		s := w.host(serverAddr, policyOf(p), Config{})
		cl := w.host("192.0.2.7", policyOf(), Config{})
		c := linux("192.0.2.7", "secret")
		c.Proposals = []Phase1Proposal{
			{Encryption: wireike.Encryption3DES, Hash: wireike.HashMD5, Group: wireike.GroupMODP1024},
			{Encryption: wireike.EncryptionAESCBC, KeyBits: 128, Hash: wireike.HashSHA1, Group: wireike.GroupMODP1536},
			{Encryption: wireike.EncryptionAESCBC, KeyBits: 128, Hash: wireike.HashSHA1, Group: wireike.GroupECP256},
			{Encryption: wireike.EncryptionAESCBC, KeyBits: 256, Hash: wireike.HashSHA512, Group: wireike.GroupECP384},
		}
		c.Children[0].Proposals = []ESPProposal{
			{Transform: wireike.ESP3DES, Auth: wireike.ESPAuthSHA1},
			{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthMD5},
			{Transform: wireike.ESPAESGCM16, KeyBits: 128},
			{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA256},
		}
		cl.initiate(c)
		settle(time.Second)
		if sa := s.only().sa; sa.Group != wireike.GroupECP256 || sa.Hash != wireike.HashSHA1 {
			t.Errorf("%+v", sa)
		}
		if _, out := s.only().state(); out == nil || out.Encryption.String() != "AES-GCM" || len(out.OutboundKey) != 20 {
			t.Errorf("%+v", out)
		}
		mustCarry(t, s.only(), cl.only())
	})
}

// Android's racoons cut SHA2-256 in ESP too short: they get SHA-1 where the cipher is the same.
func TestRacoonGetsSHA1(t *testing.T) {
	for _, android := range []bool{true, false} {
		run(t, func(t *testing.T, w *world) {
			s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
			cl := w.host("192.0.2.7", policyOf(), Config{})
			c := linux("192.0.2.7", "secret")
			want := "SHA256"
			if android {
				c.Vendors = []wireike.Vendor{
					wireike.VendorNATTRFC3947, wireike.VendorNATTDraft02, wireike.VendorNATTDraft02NL, wireike.VendorNATTDraft00,
					wireike.VendorFragmentation, wireike.VendorDPD,
				}
				want = "SHA1"
			}
			c.Children[0].Proposals = []ESPProposal{
				{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA256},
				{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA1},
				{Transform: wireike.ESPAESCBC, KeyBits: 128, Auth: wireike.ESPAuthSHA1},
			}
			cl.initiate(c)
			settle(time.Second)
			_, out := s.only().state()
			if out == nil || out.Integrity.String() != want || len(out.InboundKey) != 32 {
				t.Errorf("%+v", out)
			}
		})
	}
}

func TestEveryGroupAndHash(t *testing.T) {
	hashes := []wireike.HashID{wireike.HashSHA1, wireike.HashSHA256, wireike.HashSHA384, wireike.HashSHA512, wireike.HashMD5}
	for i, g := range []wireike.GroupID{
		wireike.GroupMODP1024, wireike.GroupMODP1536, wireike.GroupMODP2048, wireike.GroupMODP3072, wireike.GroupMODP4096,
		wireike.GroupECP256, wireike.GroupECP384, wireike.GroupECP521,
	} {
		for _, bits := range []int{0, 128, 192, 256} {
			run(t, func(t *testing.T, w *world) {
				p := pskPolicy("tenants/a", "secret")
				p.Legacy = true
				s := w.host(serverAddr, policyOf(p), Config{})
				cl := w.host("192.0.2.7", policyOf(), Config{})
				c := linux("192.0.2.7", "secret")
				one := Phase1Proposal{Encryption: wireike.EncryptionAESCBC, KeyBits: bits, Hash: hashes[(i+bits/64)%len(hashes)], Group: g}
				if bits == 0 {
					one.Encryption = wireike.Encryption3DES
				}
				c.Proposals = []Phase1Proposal{one}
				cl.initiate(c)
				settle(time.Second)
				mustCarry(t, s.only(), cl.only())
			})
		}
	}
}
