package ikev1

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// quickOf are the payloads of a right message 1 of Quick Mode behind the HASH, by what makes them.
func quickOf(spi uint32, group wireike.GroupID, ke []byte) []payload {
	q := QuickMode{
		Proposals: []ESPProposal{{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA1}}, PFS: group,
	}
	id, _ := wireike.ID{Type: wireike.IDIPv4Addr, Protocol: 17, Port: 1701, Data: []byte{10, 0, 0, 2}}.AppendBinary(nil)
	own, _ := wireike.ID{
		Type: wireike.IDIPv4Addr, Protocol: 17, Port: 1701, Data: netip.MustParseAddr(serverAddr).AsSlice(),
	}.AppendBinary(nil)
	all := []payload{
		{wireike.PayloadSA, wireike.AppendSA(nil, q.offers(spi, wireike.EncapUDPTransport)...)},
		{wireike.PayloadNonce, bytes.Repeat([]byte{5}, 16)},
	}
	if group != wireike.GroupNone {
		all = append(all, payload{wireike.PayloadKE, ke})
	}
	return append(all, payload{wireike.PayloadID, id}, payload{wireike.PayloadID, own})
}

// quickFrom seals a message 1 of Quick Mode as the client would.
func quickFrom(s *isakmp, id uint32, payloads ...payload) []byte {
	h := wireike.Header{
		Initiator: s.id.Initiator, Responder: s.id.Responder, Exchange: wireike.ExchangeQuick, MessageID: id,
	}
	msg, _ := hashed(h, s.keys, s.keys.ExchangeIV(s.lastIV, id), payloads, func(rest []byte) []byte {
		return s.keys.Hash1(id, rest)
	})
	return msg
}

// Message 1 of Quick Mode from a peer that knows the key and means ill: nothing is made of what is wrong, it costs one
// answer, and the child that is there carries on.
func TestKnownQuickModes(t *testing.T) {
	private := make([]byte, 256)
	private[255] = 2
	change := func(kind wireike.PayloadType, nth int, bodies ...[]byte) func([]payload) []payload {
		return func(all []payload) (out []payload) {
			for _, p := range all {
				if p.t == kind {
					if nth--; nth == 0 {
						for _, b := range bodies {
							out = append(out, payload{kind, b})
						}
						continue
					}
				}
				out = append(out, p)
			}
			return out
		}
	}
	other := quickOf(0x7777, wireike.GroupNone, nil)[0].body
	esp := func(p ESPProposal) []byte {
		return wireike.AppendSA(nil, QuickMode{Proposals: []ESPProposal{p}}.offers(0x4321, wireike.EncapUDPTransport)...)
	}
	for _, tc := range []struct {
		name    string
		group   wireike.GroupID
		ke      []byte
		change  func([]payload) []payload
		made    bool
		answers int
	}{
		{"as it should be", wireike.GroupNone, nil, nil, true, 1},
		{"with its own Diffie-Hellman", wireike.GroupMODP2048, private, nil, true, 1},
		{"two SAs: the first counts", wireike.GroupNone, nil, func(all []payload) []payload {
			return append(all, payload{wireike.PayloadSA, other})
		}, true, 1},
		{"no SA", wireike.GroupNone, nil, change(wireike.PayloadSA, 1), false, 1},
		{"an empty SA", wireike.GroupNone, nil, change(wireike.PayloadSA, 1, nil), false, 1},
		{
			"CVE-2024-3652: AES-GMAC, which hides nothing", wireike.GroupNone, nil,
			change(wireike.PayloadSA, 1, esp(ESPProposal{Transform: 23, KeyBits: 256})), false, 1,
		},
		{
			"CVE-2024-3652: NULL without integrity", wireike.GroupNone, nil,
			change(wireike.PayloadSA, 1, esp(ESPProposal{Transform: wireike.ESPNULL})), false, 1,
		},
		{
			"AES-CBC without integrity", wireike.GroupNone, nil,
			change(wireike.PayloadSA, 1, esp(ESPProposal{Transform: wireike.ESPAESCBC, KeyBits: 256})), false, 1,
		},
		{"no nonce", wireike.GroupNone, nil, change(wireike.PayloadNonce, 1), false, 1},
		{"a nonce of 7 octets", wireike.GroupNone, nil, change(wireike.PayloadNonce, 1, make([]byte, 7)), false, 1},
		{"a nonce of 257 octets", wireike.GroupNone, nil, change(wireike.PayloadNonce, 1, make([]byte, 257)), false, 1},
		{"two nonces", wireike.GroupNone, nil, change(wireike.PayloadNonce, 1, make([]byte, 16), make([]byte, 16)), false, 1},
		{"two public values", wireike.GroupMODP2048, private, change(wireike.PayloadKE, 1, private, private), false, 1},
		{"CVE-2015-3240: public value 0", wireike.GroupMODP2048, make([]byte, 256), nil, false, 1},
		{"CVE-2015-3240: public value p or more", wireike.GroupMODP2048, bytes.Repeat([]byte{0xff}, 256), nil, false, 1},
		{"an empty public value", wireike.GroupMODP2048, nil, nil, false, 1},
		{"a public value for another group", wireike.GroupMODP2048, private[:128], nil, false, 1},
		{"a point off the curve", wireike.GroupECP256, bytes.Repeat([]byte{9}, 64), nil, false, 1},
		{"a group without a public value", wireike.GroupMODP2048, private, change(wireike.PayloadKE, 1), false, 1},
		{
			"CVE-2023-38711: an identity of no type", wireike.GroupNone, nil,
			change(wireike.PayloadID, 1, []byte{200, 17, 6, 0xa5}), true, 1,
		},
		{
			"CVE-2023-38711: an address of two octets", wireike.GroupNone, nil,
			change(wireike.PayloadID, 1, []byte{1, 17, 6, 0xa5, 10, 0}), false, 1,
		},
		{"an identity of three octets", wireike.GroupNone, nil, change(wireike.PayloadID, 2, []byte{1, 17, 6}), false, 1},
		{"no identities", wireike.GroupNone, nil, func(all []payload) []payload { return all[:len(all)-2] }, false, 1},
		{"one identity", wireike.GroupNone, nil, func(all []payload) []payload { return all[:len(all)-1] }, false, 1},
		{
			"a network of ours with another protocol", wireike.GroupNone, nil,
			change(wireike.PayloadID, 2, []byte{4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), false, 1,
		},
		{"66 payloads", wireike.GroupNone, nil, func(all []payload) []payload {
			return append(all, slices.Repeat([]payload{{wireike.PayloadVID, nil}}, 62)...)
		}, false, 0},
		{"an original address of no octet", wireike.GroupNone, nil, func(all []payload) []payload {
			return append(all, payload{wireike.PayloadNATOA, nil}, payload{wireike.PayloadNATOA, []byte{1}})
		}, true, 1},
		{"a lifetime that goes beyond every clock", wireike.GroupNone, nil, func(all []payload) []payload {
			n, _ := wireike.Notify{
				Protocol: wireike.ProtocolESP, Type: wireike.NotifyResponderLifetime, SPI: putID32(1),
				Data: []byte{0x80, 1, 0, 1, 0, 2, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0},
			}.AppendBinary(nil)
			return append(all, payload{wireike.PayloadNotify, n})
		}, true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
				sp, cp, isa := s.only(), cl.only(), inside(cl)
				all := quickOf(0x4321, tc.group, tc.ke)
				if tc.change != nil {
					all = tc.change(all)
				}
				added, _ := sp.counts()
				w.tap = func(from, _ netip.AddrPort, _ []byte) bool { return from.Addr() != s.addr } // message 2 is not for the client
				before := w.sent
				s.e.Receive(sp.path, quickFrom(isa, 4711, all...))
				settle(100 * time.Millisecond)
				now, _ := sp.counts()
				if made := now == added+1; made != tc.made || w.sent-before != tc.answers {
					t.Errorf("made: %t, %d answers; %+v", made, w.sent-before, s.refused())
				}
				if tc.made {
					sp.mu.Lock()
					for spi, c := range sp.children {
						if c.OutboundSPI == 0x7777 {
							t.Errorf("child %#x is for the second SA", spi)
						}
					}
					sp.mu.Unlock()
				}
				w.tap = nil
				settle(2 * time.Minute) // what nobody confirms goes again
				if n, _ := sp.state(); n != 1 {
					t.Errorf("%d children", n)
				}
				mustCarry(t, sp, cp)
				w.shutdown(cl, s)
			})
		})
	}
}

// Informational messages with the right keys: what does not fit in itself is not acted on, what fits is, once, and what
// stands behind the end of its own SA falls with it (CVE-2023-38712, CVE-2020-1763).
func TestKnownInformationals(t *testing.T) {
	del := func(protocol wireike.Protocol, spis ...[]byte) payload {
		return payload{wireike.PayloadDelete, wireike.AppendDelete(nil, protocol, spis...)}
	}
	raw := func(octets ...byte) payload { return payload{wireike.PayloadDelete, octets} }
	about := func(n wireike.NotifyType, spi []byte, data ...byte) payload {
		b, _ := wireike.Notify{Protocol: wireike.ProtocolISAKMP, Type: n, SPI: spi, Data: data}.AppendBinary(nil)
		return payload{wireike.PayloadNotify, b}
	}
	for _, tc := range []struct {
		name     string
		payloads func(isa *isakmp, c *Child) []payload
		sas      int // of the server afterwards
		children int
	}{
		{"nothing but a hash", func(*isakmp, *Child) []payload { return nil }, 1, 1},
		{"a delete of more SPIs than there are", func(_ *isakmp, c *Child) []payload {
			return []payload{raw(append([]byte{0, 0, 0, 1, 3, 4, 0, 2}, putID32(c.OutboundSPI)...)...)}
		}, 1, 1},
		{"a delete of fewer SPIs than there are", func(_ *isakmp, c *Child) []payload {
			return []payload{raw(append([]byte{0, 0, 0, 1, 3, 4, 0, 0}, putID32(c.OutboundSPI)...)...)}
		}, 1, 1},
		{"a delete with SPIs of 8 octets", func(_ *isakmp, c *Child) []payload {
			return []payload{raw(append([]byte{0, 0, 0, 1, 3, 8, 0, 1, 0, 0, 0, 0}, putID32(c.OutboundSPI)...)...)}
		}, 1, 1},
		{"a delete of an ISAKMP SA by four octets", func(isa *isakmp, _ *Child) []payload {
			return []payload{del(wireike.ProtocolISAKMP, isa.spi()[:4])}
		}, 1, 1},
		{"a delete of no protocol", func(_ *isakmp, c *Child) []payload {
			return []payload{del(99, putID32(c.OutboundSPI))}
		}, 1, 1},
		{"an empty delete", func(*isakmp, *Child) []payload { return []payload{raw()} }, 1, 1},
		{"the child twice, and once more", func(_ *isakmp, c *Child) []payload {
			one := del(wireike.ProtocolESP, putID32(c.OutboundSPI), putID32(c.OutboundSPI))
			return []payload{one, one}
		}, 1, 0},
		{"its SA twice, and notifies and deletes behind", func(isa *isakmp, c *Child) []payload {
			one := del(wireike.ProtocolISAKMP, isa.spi(), isa.spi())
			return []payload{
				one, one, ruThere(isa, 1), about(wireike.NotifyInitialContact, isa.spi()),
				del(wireike.ProtocolESP, putID32(c.OutboundSPI)), one,
			}
		}, 0, 1}, // children outlive their SA for a while
		{"a question of two octets, and one without an SPI", func(isa *isakmp, _ *Child) []payload {
			return []payload{
				about(wireike.NotifyRUThere, isa.spi(), 0, 1), about(wireike.NotifyRUThere, nil),
			}
		}, 1, 1},
		{"a notify of three octets", func(*isakmp, *Child) []payload {
			return []payload{{wireike.PayloadNotify, []byte{0, 0, 0}}, {wireike.PayloadNotify, nil}}
		}, 1, 1},
		{"a notify whose SPI is longer than it", func(*isakmp, *Child) []payload {
			return []payload{{wireike.PayloadNotify, []byte{0, 0, 0, 1, 1, 255, 0x60, 2}}}
		}, 1, 1},
		{"every notify that there could be", func(isa *isakmp, _ *Child) (all []payload) {
			for n := range 60 {
				all = append(all, about(wireike.NotifyType(n*997), isa.spi()))
			}
			return all
		}, 1, 1},
		{"types that there are not", func(*isakmp, *Child) []payload {
			return []payload{{99, nil}, {200, make([]byte, 50)}}
		}, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
				sp, isa := s.only(), inside(cl)
				_, out := sp.state()
				msg := informationalFrom(isa, 4711, true, tc.payloads(isa, out)...)
				w.tap = func(from, _ netip.AddrPort, _ []byte) bool { return from.Addr() != s.addr }
				before := w.sent
				for range 3 {
					s.e.Receive(sp.path, bytes.Clone(msg))
				}
				settle(100 * time.Millisecond)
				n, _ := sp.state()
				if st := s.e.Stats(); st.SAs != tc.sas || n != tc.children {
					t.Errorf("%d SAs and %d children, want %d and %d", st.SAs, n, tc.sas, tc.children)
				}
				if n := w.sent - before; n > 2 {
					t.Errorf("%d answers", n)
				}
				w.tap = nil
				w.shutdown(cl, s)
			})
		})
	}
}

// What has the right keys and not the form: the hash is not the first, is missing, has another length, or the octets are no
// whole blocks. None of it counts.
func TestKnownUnauthentic(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, isa := s.only(), inside(cl)
		_, out := sp.state()
		body := wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(out.OutboundSPI))
		seal := func(id uint32, order func(b *wireike.Builder, sum []byte)) []byte {
			plain := wireike.NewBuilder(wireike.Header{})
			from := plain.Len()
			plain.Add(wireike.PayloadDelete, body)
			b := wireike.NewBuilder(wireike.Header{
				Initiator: isa.id.Initiator, Responder: isa.id.Responder, Exchange: wireike.ExchangeInformational, MessageID: id,
			})
			order(b, isa.keys.HashInformational(id, plain.Payloads(from)))
			msg, _ := encryptMessage(b, isa.keys, isa.keys.ExchangeIV(isa.lastIV, id))
			return msg
		}
		hash := func(edit func([]byte) []byte) func(b *wireike.Builder, sum []byte) {
			return func(b *wireike.Builder, sum []byte) {
				b.Add(wireike.PayloadHASH, edit(sum))
				b.Add(wireike.PayloadDelete, body)
			}
		}
		for i, order := range []func(b *wireike.Builder, sum []byte){
			func(b *wireike.Builder, _ []byte) { b.Add(wireike.PayloadDelete, body) },
			func(b *wireike.Builder, sum []byte) {
				b.Add(wireike.PayloadDelete, body)
				b.Add(wireike.PayloadHASH, sum)
			},
			hash(func([]byte) []byte { return nil }),
			hash(func(sum []byte) []byte { return sum[:8] }),
			hash(func(sum []byte) []byte { return append(sum, 0) }),
			hash(func(sum []byte) []byte { return make([]byte, len(sum)) }),
		} {
			s.e.Receive(sp.path, seal(uint32(i+1), order))
			settle(0)
			if n, _ := sp.state(); n != 1 || s.e.Stats().Unauthentic != uint64(i+1) {
				t.Fatalf("%d: %d children, %+v", i, n, s.e.Stats())
			}
		}
		right := func() []byte { return seal(99, hash(func(sum []byte) []byte { return sum })) }
		cut := right()
		cut = cut[:len(cut)-5]
		cut[27] = byte(len(cut))
		s.e.Receive(sp.path, cut)
		settle(0)
		if n, _ := sp.state(); n != 1 {
			t.Error("half a block counts")
		}
		s.e.Receive(sp.path, right())
		settle(0)
		if n, _ := sp.state(); n != 0 {
			t.Error("the right one does not count: the test would see nothing")
		}
		w.shutdown(cl, s)
	})
}
