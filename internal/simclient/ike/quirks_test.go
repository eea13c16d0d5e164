package ike

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/ike/ikev1"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// served brings a client up behind a NAT.
func (r *responder) served(c Client) *hand {
	r.t.Helper()
	h := r.by(c, true)
	if !h.phaseOne() {
		r.t.Fatalf("%s: phase 1 is refused: %+v", c.Name, r.refused())
	}
	return h
}

// TestMessageIDsOfWindows: Windows numbers its Quick Modes 1, 2, 3; each is a child of its own, and a copy of an old one
// makes none.
func TestMessageIDsOfWindows(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		h := r.served(Windows())
		var all []quickMode
		for n := uint32(1); n <= 3; n++ {
			q := h.quick()
			if q.id != n || q.suite == "" {
				t.Fatalf("quick mode %d: %+v, %+v", n, q, r.refused())
			}
			all = append(all, q)
			if c, used := r.only().newest(); c.InboundSPI != q.spi || !used {
				t.Errorf("quick mode %d: the newest child is %#x, used %v, want %#x", n, c.InboundSPI, used, q.spi)
			}
		}
		if children, _ := r.only().count(); children != 3 {
			t.Errorf("%d children, want 3", children)
		}
		for _, q := range all {
			r.ask(h.path(), q.message)
		}
		if children, _ := r.only().count(); children != 3 || r.e.Stats().Children != 3 {
			t.Errorf("after copies: %d children, %d were made", children, r.e.Stats().Children)
		}
		// A second client with the same private address numbers them the same way.
		other := r.by(Windows(), true)
		other.port = 500
		if !other.phaseOne() {
			t.Fatalf("the second client is refused: %+v", r.refused())
		}
		if q := other.quick(); q.id != 1 || q.suite == "" {
			t.Errorf("the second client's quick mode: %+v", q)
		}
	})
}

// TestLengthsOfWindows: what the table of client.go and clients.go says comes to the lengths that were seen of real ones:
// 408 octets for message 1, 444 for message 1 of Quick Mode behind a NAT.
func TestLengthsOfWindows(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		h := r.served(Windows())
		if q := h.quick(); h.lengths[0] != 408 || q.length != 444 {
			t.Errorf("%d and %d octets, want 408 and 444", h.lengths[0], q.length)
		}
		for i := 0; i+1 < len(h.lengths); i += 2 {
			if i == 0 && h.lengths[1] >= h.lengths[0] {
				t.Errorf("message 2 has %d octets, message 1 %d", h.lengths[1], h.lengths[0])
			}
		}
	})
}

// TestIDPorts: whatever port a client names in its identity, the child has it, and it comes back as it was sent.
func TestIDPorts(t *testing.T) {
	for _, port := range []uint16{0, 1701, ephemeralApple, 49152, 65535} {
		respond(t, oneTenant(false), func(t *testing.T, r *responder) {
			c := MacOS()
			c.IDPort = port
			q := r.served(c).quick()
			child, used := r.only().child()
			if q.suite == "" || child.PeerPort != port || child.OurPort != 1701 || !used {
				t.Errorf("port %d: %+v, child for %d and %d", port, q, child.PeerPort, child.OurPort)
			}
		})
	}
}

// TestIdentities: none of them is the source address, and all of them are let in with the key alone.
func TestIdentities(t *testing.T) {
	for want, id := range map[string]wireike.ID{
		"ipv4:192.168.0.5":      {},
		"ipv4:10.9.8.7":         wireike.AddrID(netip.MustParseAddr("10.9.8.7")),
		"ipv6:fd00::7":          wireike.AddrID(netip.MustParseAddr("fd00::7")),
		"fqdn:laptop.example":   {Type: wireike.IDFQDN, Data: []byte("laptop.example")},
		"user-fqdn:ann@example": {Type: wireike.IDUserFQDN, Data: []byte("ann@example")},
		"key-id:phones":         keyID("phones"),
		"ipv4:192.0.2.200":      {Type: wireike.IDIPv4Addr, Protocol: 17, Port: 500, Data: []byte{192, 0, 2, 200}},
	} {
		t.Run(want, func(t *testing.T) {
			respond(t, oneTenant(false), func(t *testing.T, r *responder) {
				c := MacOS()
				c.Identity = id
				h := r.served(c)
				if got := r.sa().Identity.String(); got != want {
					t.Errorf("identity %q, want %q", got, want)
				}
				if q := h.quick(); q.suite == "" {
					t.Errorf("quick mode is refused: %+v", r.refused())
				}
			})
		})
	}
}

// TestDraft02: a client that knows draft 2 only gets its payload numbers and encapsulation mode.
func TestDraft02(t *testing.T) {
	for _, v := range []wireike.Vendor{wireike.VendorNATTDraft02NL, wireike.VendorNATTDraft02, wireike.VendorNATTDraft03} {
		respond(t, oneTenant(false), func(t *testing.T, r *responder) {
			c := Windows()
			c.VendorIDs = ids(v)
			h := r.served(c)
			q := h.quick()
			child, _ := r.only().child()
			if h.way != draft02 || h.port != 4500 || q.suite == "" || !child.UDPEncap || child.PeerOA != privateAddr {
				t.Errorf("%v: way %+v, port %d, %+v, child %+v", v, h.way, h.port, q, child)
			}
		})
	}
}

// TestNoNATTraversal: a client without any vendor ID is served in the open.
func TestNoNATTraversal(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		c := Windows()
		c.VendorIDs = nil
		h := r.by(c, false)
		if !h.phaseOne() {
			t.Fatalf("refused: %+v", r.refused())
		}
		q := h.quick()
		if child, used := r.only().child(); q.suite == "" || !used || child.UDPEncap || h.order[1] != "SA" || h.order[3] != "KE NONCE" {
			t.Errorf("%+v, child %+v, %q", q, child, h.order)
		}
	})
}

// TestInitialContact: it ends what the same peer had, whichever way it comes, and not what another port has.
func TestInitialContact(t *testing.T) {
	for _, way := range []Contact{ContactNone, ContactInID, ContactAfter} {
		respond(t, oneTenant(false), func(t *testing.T, r *responder) {
			c := MacOS()
			c.Contact = ContactNone
			first := r.served(c)
			first.quick()
			r.after(time.Second)
			c.Contact = way
			again := r.by(c, true)
			if !again.phaseOne() {
				t.Fatalf("refused: %+v", r.refused())
			}
			children, downs := r.only().count()
			want := [2]int{1, 0} // a new Main Mode alone ends nothing
			if way != ContactNone {
				want = [2]int{0, 1}
			}
			if children != want[0] || downs != want[1] {
				t.Errorf("way %d: %d children, %d SAs down, want %v", way, children, downs, want)
			}
			again.quick()
			if child, used := r.only().newest(); child == nil || !used {
				t.Errorf("way %d: the new child is %+v, used %v", way, child, used)
			}
		})
	}
}

// TestReliableDelete: a Delete with a Nonce is done, and answered as Windows wants it, [MS-IKEE] section 3.8; a copy does
// nothing any more.
func TestReliableDelete(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		h := r.served(Windows())
		q := h.quick()
		const id = 4
		nonceI := nonce(48)
		spi := binary.BigEndian.AppendUint32(nil, q.own)
		body := wireike.AppendDelete(nil, wireike.ProtocolESP, spi)
		msg := h.information(id, payload{wireike.PayloadNonce, nonceI}, payload{wireike.PayloadDelete, body})
		reply := h.one(r.ask(h.path(), msg))
		if children, downs := r.only().count(); children != 0 || downs != 0 {
			t.Errorf("%d children, %d SAs down", children, downs)
		}
		head, err := wireike.ParseHeader(reply)
		if err != nil || head.MessageID != id {
			t.Fatalf("answered by %+v %v", head, err)
		}
		iv := h.keys.ExchangeIV(h.iv, id)
		m := h.decrypt(reply, &iv)
		hash, _ := m.Get(wireike.PayloadHASH)
		if names(m) != "HASH D NONCE" || !bytes.Equal(hash, h.keys.HashDeleteAck(id, nonceI, m.AfterFirst())) {
			t.Errorf("the acknowledgement holds %s", names(m))
		}
	})
}

// TestTenantOfMessage5: on a listener of two tenants message 2 takes what one of them allows, and message 5 says that it
// is the other.
func TestTenantOfMessage5(t *testing.T) {
	policy := &ikev1.Policy{Tenants: []*ikev1.TenantPolicy{
		{Name: "tenants/old", Legacy: true, PSKs: []ikev1.PSK{{ID: "main", Secret: tenant.Secret("old key")}}},
		{Name: "tenants/new", PSKs: []ikev1.PSK{{ID: "main", Secret: tenant.Secret("new key")}}},
	}}
	respond(t, policy, func(t *testing.T, r *responder) {
		h := r.by(Android(), true)
		h.psk = tenant.Secret("old key")
		if !h.phaseOne() || r.sa().Tenant != "tenants/old" {
			t.Fatalf("the tenant with legacyClients: %+v %+v", r.sa(), r.refused())
		}
		if q := h.quick(); q.suite != "AES-CBC-256 SHA1-96" {
			t.Errorf("quick mode: %+v", q)
		}
		h = r.by(Android(), true)
		h.psk = tenant.Secret("new key")
		if h.phaseOne() {
			t.Fatal("the tenant without legacyClients was let in")
		}
		if f := r.refused(); f.Reason != tenant.ReasonLegacyNotAllowed || f.Tenant != "tenants/new" ||
			f.Stage != tenant.StageIKEMainMode || !strings.Contains(f.Detail, "legacyClients") {
			t.Errorf("refused: %+v", f)
		}
		// macOS offers both kinds, group 14 first: it is let in by either, with the modern one.
		for _, name := range []string{"old", "new"} {
			h = r.by(MacOS(), true)
			h.psk = tenant.Secret(name + " key")
			if !h.phaseOne() || r.sa().Tenant != "tenants/"+name || h.suite != "AES-CBC-256 SHA2-256 MODP-2048" {
				t.Errorf("%s: %s, %+v", name, h.suite, r.sa())
			}
		}
	})
}

// TestModernBeforeLegacy: a client whose first proposals are legacy gets the modern one behind them.
func TestModernBeforeLegacy(t *testing.T) {
	respond(t, oneTenant(true), func(t *testing.T, r *responder) {
		c := Windows()
		slices.Reverse(c.Phase1)
		slices.Reverse(c.ESP)
		h := r.served(c)
		if q := h.quick(); h.suite != "AES-CBC-256 SHA1 MODP-2048" || q.suite != "AES-CBC-128 SHA1-96" {
			t.Errorf("%s, %s", h.suite, q.suite)
		}
	})
}

// TestNeverDES: what only has DES or NULL has nothing in common with us, legacyClients or not.
func TestNeverDES(t *testing.T) {
	c := Windows()
	c.Phase1 = phase1(time.Hour, transforms(des1, modp2048, sha1, md5))
	respond(t, oneTenant(true), func(t *testing.T, r *responder) {
		if r.by(c, true).phaseOne() {
			t.Error("DES was let in")
		}
		if f := r.refused(); f.Reason != tenant.ReasonNoCommonProposal || f.Stage != tenant.StageIKEMainMode ||
			!strings.Contains(f.Detail, "DES-CBC SHA1 MODP-2048") {
			t.Errorf("refused: %+v", f)
		}
	})
	c = Windows()
	c.ESP = separate(append(esp([]espCipher{espDES}, espSHA1), ikev1.ESPProposal{Transform: wireike.ESPNULL, Auth: espSHA1}))
	respond(t, oneTenant(true), func(t *testing.T, r *responder) {
		q := r.served(c).quick()
		if f := r.refused(); q.notify != wireike.NotifyNoProposalChosen || f.Reason != tenant.ReasonNoCommonProposal ||
			f.Stage != tenant.StageIKEQuickMode || f.Tenant != "tenants/acme" {
			t.Errorf("%+v, refused: %+v", q, f)
		}
	})
}

// TestShortAttributes: a lifetime in the short form, before everything else and in seconds or kilobytes, is understood.
func TestShortAttributes(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		var a wireike.Attributes
		a = a.With(wireike.AttrLifeType, uint16(wireike.LifeSeconds)).With(wireike.AttrLifeDuration, 3600)
		a = a.With(wireike.AttrEncryption, uint16(aes)).WithLong(wireike.AttrKeyLength, 256)
		a = a.With(wireike.AttrAuthMethod, uint16(wireike.AuthPSK)).With(wireike.AttrHash, uint16(sha256))
		a = a.With(wireike.AttrGroup, uint16(modp2048))
		t1 := wireike.Transform{Number: 7, ID: wireike.TransformKeyIKE, Attributes: a}
		offer := wireike.Offer{Number: 3, Protocol: wireike.ProtocolISAKMP, SPI: make([]byte, 8), Transforms: []wireike.Transform{t1}}
		b := wireike.NewBuilder(wireike.Header{Initiator: wireike.Cookie{1}, Exchange: wireike.ExchangeMain})
		b.Add(wireike.PayloadSA, wireike.AppendSA(nil, offer))
		h := r.by(MacOS(), false)
		h.id[0] = wireike.Cookie{1}
		m := h.parse(h.one(r.ask(h.path(), b.Bytes())))
		body, _ := m.Payloads.Get(wireike.PayloadSA)
		sa, err := wireike.ParseSA(body)
		if err != nil {
			t.Fatal(err)
		}
		for p := range sa.Proposals() {
			for got := range p.Transforms() {
				if p.Number != 3 || got.Number != 7 || !bytes.Equal(got.Attributes.Bytes(), a.Bytes()) {
					t.Errorf("proposal %d, transform %d, % x", p.Number, got.Number, got.Attributes.Bytes())
				}
			}
		}
	})
}

// TestWrongKey: the stage is main mode and the reason PSK_MISMATCH.
func TestWrongKey(t *testing.T) {
	respond(t, oneTenant(true), func(t *testing.T, r *responder) {
		h := r.by(Windows(), true)
		h.psk = tenant.Secret("wrong")
		if h.phaseOne() {
			t.Fatal("a wrong key was let in")
		}
		if f := r.refused(); f.Reason != tenant.ReasonPSKMismatch || f.Stage != tenant.StageIKEMainMode || f.Tenant != "" {
			t.Errorf("refused: %+v", f)
		}
		if st := r.e.Stats(); st.SAs != 0 || st.Handshakes != 0 {
			t.Errorf("left: %+v", st)
		}
	})
}

// TestGroupName: Aggressive Mode is for tenants that allow it, by the name of their group and nothing else.
func TestGroupName(t *testing.T) {
	off := oneTenant(true)
	off.Tenants[0].Aggressive = false
	for _, tt := range []struct {
		policy *ikev1.Policy
		group  string
	}{{off, "group"}, {oneTenant(true), "other"}, {oneTenant(true), "grou"}} {
		respond(t, tt.policy, func(t *testing.T, r *responder) {
			if r.by(IOSGroup(tt.group), true).phaseOne() {
				t.Errorf("%q was let in", tt.group)
			}
			if f := r.refused(); f.Reason != tenant.ReasonNoCommonProposal || f.Stage != tenant.StageIKEMainMode {
				t.Errorf("refused: %+v", f)
			}
		})
	}
}

// TestFragmentsOfWindows: a message 5 that was lost comes again in fragments, here the second one first, and is as good
// as a whole one. What is answered is short enough to come whole.
func TestFragmentsOfWindows(t *testing.T) {
	respond(t, oneTenant(false), func(t *testing.T, r *responder) {
		h := r.by(Windows(), true)
		h.cut = 40
		if !h.phaseOne() {
			t.Fatalf("refused: %+v", r.refused())
		}
		if q := h.quick(); q.suite == "" {
			t.Errorf("quick mode is refused: %+v", r.refused())
		}
	})
}
