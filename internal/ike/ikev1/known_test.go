package ikev1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/ike/keymat"
	wireike "concentrator/internal/wire/ike"
)

// stranger sends messages from an address of its own and keeps what comes back.
type stranger struct {
	s    *host
	path Path
	got  [][]byte
}

func newStranger(w *world, s *host) *stranger {
	a := &stranger{s: s, path: Path{
		Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE),
		Remote: netip.MustParseAddrPort("203.0.113.66:500"),
	}}
	w.tap = func(_, to netip.AddrPort, msg []byte) bool {
		if to == a.path.Remote {
			a.got = append(a.got, bytes.Clone(msg))
		}
		return true
	}
	return a
}

// send hands over one message and returns what came back at once.
func (a *stranger) send(msg []byte) [][]byte {
	a.got = nil
	a.s.e.Receive(a.path, bytes.Clone(msg))
	settle(100 * time.Millisecond)
	return a.got
}

// notified returns the type of the only notify among answers, 0 if there is another number of them or of payloads.
func notified(answers [][]byte) wireike.NotifyType {
	if len(answers) != 1 {
		return 0
	}
	m, err := wireike.ParseMessage(answers[0])
	body, ok := m.Payloads.Get(wireike.PayloadNotify)
	n, bad := wireike.ParseNotify(body)
	if err != nil || !ok || bad != nil || m.Header.Exchange != wireike.ExchangeInformational {
		return 0
	}
	return n.Type
}

// message builds a message in the clear.
func message(h wireike.Header, payloads ...payload) []byte {
	b := wireike.NewBuilder(h)
	for _, p := range payloads {
		b.Add(p.t, p.body)
	}
	return b.Bytes()
}

// offer1 is an SA payload of phase 1 with one transform, changed by change, as often as copies says.
func offer1(copies int, change func(o *wireike.Offer, p *Phase1Proposal)) payload {
	p := Phase1Proposal{
		Encryption: wireike.EncryptionAESCBC, KeyBits: 256, Hash: wireike.HashSHA256, Group: wireike.GroupMODP2048,
		Lifetime: time.Hour,
	}
	o := wireike.Offer{Number: 1, Protocol: wireike.ProtocolISAKMP}
	if change != nil {
		change(&o, &p)
	}
	o.Transforms = []wireike.Transform{p.transform(1)}
	return payload{wireike.PayloadSA, wireike.AppendSA(nil, slices.Repeat([]wireike.Offer{o}, copies)...)}
}

// What anybody can send without having been heard before, as the published faults of other daemons had it: nothing comes
// back, or one notify, or the one message 2 that is due; and a client gets in afterwards.
func TestKnownFirstMessages(t *testing.T) {
	main := wireike.Header{Initiator: wireike.Cookie{7}, Exchange: wireike.ExchangeMain}
	aggressive := main
	aggressive.Exchange = wireike.ExchangeAggressive
	unknown := wireike.Header{
		Initiator: wireike.Cookie{7}, Responder: wireike.Cookie{8}, Exchange: wireike.ExchangeInformational, MessageID: 9,
	}
	with := func(h wireike.Header, f func(h *wireike.Header)) wireike.Header { f(&h); return h }
	edited := func(msg []byte, at int, v byte) []byte { msg[at] = v; return msg }
	spi := append(append([]byte(nil), unknown.Initiator[:]...), unknown.Responder[:]...)
	ack, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyRUThereAck, SPI: spi, Data: []byte{0, 0, 0, 1},
	}.AppendBinary(nil)
	plain := func() payload { return offer1(1, nil) }
	group := func(id wireike.GroupID) payload {
		return offer1(1, func(_ *wireike.Offer, p *Phase1Proposal) { p.Group = id })
	}
	auth := func(m wireike.AuthMethod) payload {
		return offer1(1, func(_ *wireike.Offer, p *Phase1Proposal) { p.Auth = m })
	}
	const nothing, answer = wireike.NotifyType(0), wireike.NotifyType(0xffff)
	for _, tc := range []struct {
		name string
		msg  []byte
		want wireike.NotifyType // or nothing, or answer for message 2
	}{
		{"as it should be", message(main, plain()), answer},
		{"CVE-2013-4564: length 0, no version", edited(edited(message(main, plain()), 17, 0), 27, 0), nothing},
		{"CVE-2013-4564: length 27", edited(message(main, plain()), 27, 27), nothing},
		{"CVE-2015-3204: a situation of all bits", edited(message(main, plain()), 36, 0xff), wireike.NotifySituationNotSupported},
		{"CVE-2015-3204: a first payload of no type", edited(message(main, plain()), 16, 15), nothing},
		{"CVE-2022-23094: a second message behind the first", func() []byte {
			b := append(message(main, plain()), message(main, plain())...)
			binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
			return b
		}(), nothing},
		{
			"CVE-2009-0790: an answer to dead peer detection of no SA",
			message(unknown, payload{wireike.PayloadNotify, ack}), nothing,
		},
		{"CVE-2009-0790: the same with no cookie of ours", message(with(unknown, func(h *wireike.Header) {
			h.Responder = wireike.Cookie{}
		}), payload{wireike.PayloadNotify, ack}), nothing},
		{"CVE-2019-10155: an encrypted delete of no SA", message(with(unknown, func(h *wireike.Header) {
			h.Flags = wireike.FlagEncryption
		}), payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, spi)}), nothing},
		{"CVE-2023-30570: aggressive mode with a cookie that we did not give", message(with(aggressive, func(h *wireike.Header) {
			h.Responder = wireike.Cookie{9}
		}), plain(), payload{wireike.PayloadKE, make([]byte, 256)}), nothing},
		{"aggressive mode without a name", message(aggressive, plain()), wireike.NotifyNoProposalChosen},
		{
			"aggressive mode for a name that is cut",
			message(aggressive, plain(), payload{wireike.PayloadID, []byte{11}}), wireike.NotifyNoProposalChosen,
		},
		{"CVE-2014-9221: group 1025", message(main, group(1025)), wireike.NotifyNoProposalChosen},
		{"group 0", message(main, group(0)), wireike.NotifyNoProposalChosen},
		{"group 1, of 768 bits", message(main, group(1)), wireike.NotifyNoProposalChosen},
		{"group 22, whose prime has small subgroups", message(main, group(22)), wireike.NotifyNoProposalChosen},
		{"CVE-2018-5389: RSA encryption", message(main, auth(4)), wireike.NotifyNoProposalChosen},
		{"CVE-2018-5389: revised RSA encryption", message(main, auth(5)), wireike.NotifyNoProposalChosen},
		{"XAUTH", message(main, auth(65001)), wireike.NotifyNoProposalChosen},
		{"IKEv2", edited(edited(message(main, plain()), 17, 0x20), 18, 34), nothing},
		{
			"CVE-2015-3991: payloads of IKEv2 behind the SA",
			message(main, plain(), payload{33, make([]byte, 40)}, payload{46, make([]byte, 40)}), answer,
		},
		{"payloads of private types", message(main, plain(), payload{128, nil}, payload{255, make([]byte, 99)}), answer},
		{"an SPI of 16 octets in phase 1", message(main, offer1(1, func(o *wireike.Offer, _ *Phase1Proposal) {
			o.SPI = make([]byte, 16)
		})), answer},
		{"the same proposal ten times", message(main, offer1(10, nil)), answer},
		{"the same proposal eleven times", message(main, offer1(11, nil)), nothing},
		{"reserved octets that are not zero", edited(edited(message(main, plain()), 29, 0xff), 41, 0xff), answer},
		{"a proposal for ESP", message(main, offer1(1, func(o *wireike.Offer, _ *Phase1Proposal) {
			o.Protocol = wireike.ProtocolESP
		})), wireike.NotifyNoProposalChosen},
		{"an SA that is empty", message(main, payload{wireike.PayloadSA, nil}), nothing},
		{"a domain of interpretation that there is not", edited(message(main, plain()), 35, 2), wireike.NotifyDOINotSupported},
		{
			"CVE-2026-12413: 65 payloads",
			message(main, append([]payload{plain()}, slices.Repeat([]payload{{wireike.PayloadVID, nil}}, 64)...)...), nothing,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
				a := newStranger(w, s)
				got := a.send(tc.msg)
				switch {
				case tc.want == nothing && len(got) != 0, tc.want == answer && (len(got) != 1 || notified(got) != 0),
					tc.want != nothing && tc.want != answer && notified(got) != tc.want:
					t.Errorf("answered by %x", got)
				}
				wantHalf := 0
				if tc.want == answer {
					wantHalf = 1
				}
				if st := s.e.Stats(); st.HalfOpen != wantHalf || st.Handshakes != 0 {
					t.Errorf("%+v", st)
				}
				for _, m := range got {
					if len(m) > len(tc.msg) {
						t.Errorf("%d octets for %d", len(m), len(tc.msg))
					}
				}
				a.send(tc.msg) // a second copy finds what the first has left
				w.tap = nil
				cl := w.host("192.0.2.8", policyOf(), Config{})
				cl.initiate(linux("192.0.2.8", "secret"))
				settle(time.Second)
				mustCarry(t, s.only(), cl.only())
			})
		})
	}
}

// A listener that has no key for whoever comes refuses and stays (CVE-2024-2357).
func TestKnownNoSecret(t *testing.T) {
	for name, p := range map[string]*Policy{
		"no tenant":            policyOf(),
		"a tenant without one": policyOf(&TenantPolicy{Name: "tenants/a"}),
		"one of no octets":     policyOf(pskPolicy("tenants/a", "")),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, p, Config{})
				cl := w.host("192.0.2.7", policyOf(), Config{})
				cl.initiate(linux("192.0.2.7", "secret"))
				settle(time.Minute)
				if r := s.refused(); len(r) != 1 || len(s.sas) != 0 {
					t.Errorf("%+v, %d SAs", r, len(s.sas))
				}
				w.shutdown(cl, s)
			})
		})
	}
}

// The identity of message 5 may be of any type and length: it is read by those bounds, and nothing else depends on it.
func TestKnownIdentities(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   wireike.ID
		in   bool
	}{
		{"CVE-2013-6075: a distinguished name of no octet", wireike.ID{Type: wireike.IDDERASN1DN}, false},
		{"CVE-2013-6075: of one", wireike.ID{Type: wireike.IDDERASN1DN, Data: []byte{0x30}}, true},
		{"that says 65535 octets", wireike.ID{Type: wireike.IDDERASN1DN, Data: []byte{0x30, 0x82, 0xff, 0xff}}, true},
		{"of nothing but beginnings", wireike.ID{Type: wireike.IDDERASN1DN, Data: bytes.Repeat([]byte{0x30, 0x80}, 500)}, true},
		{"a name of 1024 octets", wireike.ID{Type: wireike.IDFQDN, Data: bytes.Repeat([]byte{0xff}, 1024)}, true},
		{"a name of 1025", wireike.ID{Type: wireike.IDFQDN, Data: bytes.Repeat([]byte{0xff}, 1025)}, false},
		{"a type that there is not", wireike.ID{Type: 200, Data: []byte{1}}, true},
		{"an address of three octets", wireike.ID{Type: wireike.IDIPv4Addr, Data: []byte{10, 0, 0}}, false},
		{"an IPv6 address of four", wireike.ID{Type: wireike.IDIPv6Addr, Data: []byte{10, 0, 0, 1}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
				cl := w.host("192.0.2.7", policyOf(), Config{})
				c := linux("192.0.2.7", "secret")
				c.Identity = tc.id
				cl.initiate(c)
				settle(time.Minute)
				if in := len(s.sas) == 1; in != tc.in {
					t.Errorf("in: %t, %+v", in, s.refused())
				}
				if len(s.sas) == 1 && len(s.sas[0].Identity.String()) > 4*len(tc.id.Data)+64 {
					t.Errorf("an identity of %d octets became %d", len(tc.id.Data), len(s.sas[0].Identity.String()))
				}
				w.shutdown(cl, s)
			})
		})
	}
}

// NAT-D payloads in any number and of any length: fewer than two are no NAT traversal, what lies behind the tenth is not
// looked at, and one that is no hash is that of another address.
func TestKnownNATD(t *testing.T) {
	way := wayOf(wireike.VendorNATTRFC3947)
	h, _ := keymat.HashByID(wireike.HashSHA1)
	c := keymat.Cookies{Initiator: wireike.Cookie{1}, Responder: wireike.Cookie{2}}
	p := Path{Local: netip.MustParseAddrPort("198.51.100.1:500"), Remote: netip.MustParseAddrPort("192.0.2.7:500")}
	own, peer, junk := h.NATD(c, p.Local), h.NATD(c, p.Remote), []byte{1}
	filled := func(n int) [][]byte { return append([][]byte{own}, slices.Repeat([][]byte{junk}, n)...) }
	for _, tc := range []struct {
		name   string
		bodies [][]byte
		ok     bool
		remote bool
	}{
		{"none", nil, false, false},
		{"one", [][]byte{own}, false, false},
		{"two", [][]byte{own, peer}, true, false},
		{"empty ones", [][]byte{{}, {}}, true, true},
		{"the second is junk", filled(1), true, true},
		{"the tenth is right", append(filled(8), peer), true, false},
		{"the eleventh is right", append(filled(9), peer), true, true},
		{"a hash with an octet more", [][]byte{own, append(bytes.Clone(peer), 0)}, true, true},
	} {
		var all []payload
		for _, b := range tc.bodies {
			all = append(all, payload{way.natD, b})
		}
		m, err := wireike.ParseMessage(message(wireike.Header{Initiator: wireike.Cookie{1}}, all...))
		if err != nil {
			t.Fatal(err)
		}
		if nat, ok := way.detect(m.Payloads, h, c, p); ok != tc.ok || nat.Remote != tc.remote {
			t.Errorf("%s: %+v, %t", tc.name, nat, ok)
		}
	}
}
