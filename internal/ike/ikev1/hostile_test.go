package ikev1

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// forge changes messages of the client on their way, as the message number says.
func forge(w *world, s *host, number int, change func(msg []byte) []byte) {
	n := 0
	w.tap = func(from, to netip.AddrPort, msg []byte) bool {
		if from.Addr() == s.addr {
			return true
		}
		if n++; n != number {
			return n < number
		}
		out := change(bytes.Clone(msg))
		time.AfterFunc(w.delay, func() { w.deliver(from, to, out) })
		return false
	}
}

// replace rebuilds a message with some payloads changed; nil leaves one out.
func replace(msg []byte, change func(p wireike.Payload) [][]byte) []byte {
	m, err := wireike.ParseMessage(msg)
	if err != nil {
		return msg
	}
	b := wireike.NewBuilder(m.Header)
	for p := range m.Payloads.All() {
		for _, body := range change(p) {
			b.Add(p.Type, body)
		}
	}
	return b.Bytes()
}

// only changes the bodies of one type of payload.
func only(t wireike.PayloadType, bodies func(b []byte) [][]byte) func([]byte) []byte {
	return func(msg []byte) []byte {
		return replace(msg, func(p wireike.Payload) [][]byte {
			if p.Type == t {
				return bodies(p.Body)
			}
			return [][]byte{p.Body}
		})
	}
}

func none([]byte) [][]byte      { return nil }
func twice(b []byte) [][]byte   { return [][]byte{b, b} }
func empty([]byte) [][]byte     { return [][]byte{{}} }
func zeros(b []byte) [][]byte   { return [][]byte{make([]byte, len(b))} }
func ones(b []byte) [][]byte    { return [][]byte{bytes.Repeat([]byte{0xff}, len(b))} }
func shorter(b []byte) [][]byte { return [][]byte{b[1:]} }

func one(b []byte) [][]byte {
	out := make([]byte, len(b))
	out[len(b)-1] = 1
	return [][]byte{out}
}

// Messages 1 and 3 as nobody sends them: either nothing happens or the attempt fails once; the Engine is as before.
func TestForgedMessages(t *testing.T) {
	for _, tc := range []struct {
		name    string
		number  int
		change  func([]byte) []byte
		refused tenant.Reason // empty: nothing but the timeout
	}{
		{"1: no SA", 1, only(wireike.PayloadSA, none), ""},
		{"1: two SAs", 1, only(wireike.PayloadSA, twice), ""},
		{"1: empty SA", 1, only(wireike.PayloadSA, empty), ""},
		{"1: strange situation", 1, only(wireike.PayloadSA, func(b []byte) [][]byte {
			b = bytes.Clone(b)
			b[4] = 0xff
			return [][]byte{b}
		}), ""},
		{"1: unknown first payload", 1, func(b []byte) []byte { b[16] = 15; return b }, ""},
		{"1: encrypted", 1, func(b []byte) []byte { b[19] |= wireike.FlagEncryption; return b }, ""},
		{"1: with a message ID", 1, func(b []byte) []byte { b[20] = 1; return b }, ""},
		{"1: another exchange", 1, func(b []byte) []byte { b[18] = byte(wireike.ExchangeQuick); return b }, ""},
		{"1: cookie 0", 1, func(b []byte) []byte { copy(b, make([]byte, 8)); return b }, ""},
		{"3: no KE", 2, only(wireike.PayloadKE, none), tenant.ReasonProtocolError},
		{"3: two KEs", 2, only(wireike.PayloadKE, twice), tenant.ReasonProtocolError},
		{"3: empty KE", 2, only(wireike.PayloadKE, empty), tenant.ReasonProtocolError},
		{"3: KE 0", 2, only(wireike.PayloadKE, zeros), tenant.ReasonProtocolError},
		{"3: KE 1", 2, only(wireike.PayloadKE, one), tenant.ReasonProtocolError},
		{"3: KE beyond the prime", 2, only(wireike.PayloadKE, ones), tenant.ReasonProtocolError},
		{"3: short KE", 2, only(wireike.PayloadKE, shorter), tenant.ReasonProtocolError},
		{"3: no nonce", 2, only(wireike.PayloadNonce, none), tenant.ReasonProtocolError},
		{"3: two nonces", 2, only(wireike.PayloadNonce, twice), tenant.ReasonProtocolError},
		{"3: short nonce", 2, only(wireike.PayloadNonce, func([]byte) [][]byte { return [][]byte{make([]byte, 7)} }), tenant.ReasonProtocolError},
		{"3: long nonce", 2, only(wireike.PayloadNonce, func([]byte) [][]byte { return [][]byte{make([]byte, 257)} }), tenant.ReasonProtocolError},
		{"3: wrong cookie", 2, func(b []byte) []byte { b[8] ^= 1; return b }, ""},
		{"5: in the clear", 3, func(b []byte) []byte { b[19] = 0; return b }, tenant.ReasonPeerTimeout},
		{"5: changed", 3, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, tenant.ReasonPSKMismatch},
		{"5: cut", 3, func(b []byte) []byte {
			b = b[:len(b)-3]
			binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
			return b
		}, tenant.ReasonPSKMismatch},
		{"quick mode: changed", 4, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ""},
		{"quick mode: in the clear", 4, func(b []byte) []byte { b[19] = 0; return b }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
				cl := w.host("192.0.2.7", policyOf(), Config{})
				forge(w, s, tc.number, tc.change)
				cl.initiate(linux("192.0.2.7", "secret"))
				settle(2 * time.Minute)
				switch r := s.refused(); {
				case tc.refused == "" && len(r) > 0 && r[0].Reason != tenant.ReasonPeerTimeout:
					t.Errorf("%+v", r)
				case tc.refused != "":
					wantRefusal(t, s, tenant.StageIKEMainMode, tc.refused, "", "")
				}
				if st := s.e.Stats(); st.HalfOpen+st.Handshakes != 0 || st.Children != 0 {
					t.Errorf("%+v", st)
				}
				// And a real client gets in.
				w.tap = nil
				again := w.host("192.0.2.8", policyOf(), Config{})
				again.initiate(linux("192.0.2.8", "secret"))
				settle(time.Second)
				if _, out := again.only().state(); out == nil {
					t.Error("the next client has no child")
				}
			})
		})
	}
}

// What comes without protection for an SA that is there changes nothing: deletes, notifies, cookies of nobody.
func TestUnprotectedInformational(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp := s.only()
		_, out := sp.state()
		id := sp.sa.ID
		spi := append(append([]byte(nil), id.Initiator[:]...), id.Responder[:]...)
		for _, h := range []wireike.Header{
			{Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeInformational, MessageID: 77},
			{Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeInformational},
			{Initiator: id.Initiator, Responder: wireike.Cookie{9}, Exchange: wireike.ExchangeInformational, MessageID: 77},
			{Initiator: id.Initiator, Exchange: wireike.ExchangeInformational, MessageID: 77},
			{Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeMain},
			{Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeQuick, MessageID: 78},
			{Initiator: id.Initiator, Responder: id.Responder, Exchange: wireike.ExchangeTransaction, MessageID: 79},
		} {
			for _, flags := range []uint8{0, wireike.FlagEncryption} {
				h.Flags = flags
				b := wireike.NewBuilder(h)
				b.Add(wireike.PayloadHASH, make([]byte, 32))
				b.Add(wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, spi))
				b.Add(wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(out.OutboundSPI)))
				for _, n := range []wireike.NotifyType{wireike.NotifyInitialContact, wireike.NotifyRUThereAck, wireike.NotifyNoProposalChosen} {
					body, _ := wireike.Notify{Protocol: wireike.ProtocolISAKMP, Type: n, SPI: spi}.AppendBinary(nil)
					b.Add(wireike.PayloadNotify, body)
				}
				s.e.Receive(sp.path, b.Bytes())
			}
		}
		before := w.sent
		settle(time.Second)
		if w.sent != before {
			t.Errorf("%d answers", w.sent-before)
		}
		if st := s.e.Stats(); st.Peers != 1 || st.SAs != 1 || st.Unprotected == 0 {
			t.Errorf("%+v", st)
		}
		mustCarry(t, sp, cl.only())
		w.shutdown(cl, s)
	})
}

// A peer can only delete what is its own.
func TestDeleteOfOthers(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		var hosts []*host
		for _, a := range []string{"10.0.0.2", "10.0.0.3"} {
			cl := w.behind("203.0.113.9", a, policyOf(pskPolicy("tenants/client", "secret")), Config{})
			cl.initiate(linux(a, "secret"))
			hosts = append(hosts, cl)
			settle(time.Second)
		}
		victim := s.all[0]
		_, out := victim.state()
		id := victim.sa.ID
		spi := append(append([]byte(nil), id.Initiator[:]...), id.Responder[:]...)
		evil := hosts[1]
		evil.e.postPeer(evil.only(), func(m *peer, _ time.Time) {
			m.send(m.newest(),
				payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(out.OutboundSPI), putID32(out.InboundSPI))},
				payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolISAKMP, spi)})
		})
		settle(time.Second)
		if st := s.e.Stats(); st.Peers != 2 || st.SAs != 2 {
			t.Errorf("%+v", st)
		}
		mustCarry(t, victim, hosts[0].only())
		w.shutdown(hosts...)
		settle(time.Second)
		w.shutdown(s)
	})
}

// Windows may add a nonce to a delete and wait for the answer.
func TestReliableDelete(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		nonce := []byte("sixteen octets..")
		var isa *isakmp
		cl.e.postPeer(cp, func(m *peer, _ time.Time) { isa = m.newest() })
		settle(0)
		var answer []byte
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			if from.Addr() == s.addr {
				answer = msg
			}
			return true
		}
		_, out := cp.state()
		const id = 4711
		h := wireike.Header{
			Initiator: isa.id.Initiator, Responder: isa.id.Responder, Exchange: wireike.ExchangeInformational, MessageID: id,
		}
		iv := isa.keys.ExchangeIV(isa.lastIV, id)
		msg, _ := hashed(h, isa.keys, iv, []payload{
			{wireike.PayloadNonce, nonce},
			{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(out.InboundSPI))},
		}, func(rest []byte) []byte { return isa.keys.HashInformational(id, rest) })
		s.e.Receive(sp.path, msg)
		settle(time.Second)
		if n, _ := sp.state(); n != 0 {
			t.Errorf("%d children", n)
		}
		got, err := wireike.ParseHeader(answer)
		if err != nil || got.MessageID != id {
			t.Fatalf("%+v %v", got, err)
		}
		m, _, err := decryptMessage(got, answer, isa.keys, iv)
		if err != nil || !authentic(m, isa.keys.HashDeleteAck(id, nonce, m.AfterFirst())) || m.Count(wireike.PayloadNonce) != 1 {
			t.Errorf("the answer is not what Windows waits for: %v", err)
		}
	})
}

// XAUTH, mode config and New Group Mode are answered with an error, and nothing else happens.
func TestTransactionIsRefused(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		var isa *isakmp
		cl.e.postPeer(cp, func(m *peer, _ time.Time) { isa = m.newest() })
		settle(0)
		before := w.sent
		for id := range uint32(10) {
			h := wireike.Header{
				Initiator: isa.id.Initiator, Responder: isa.id.Responder, Exchange: wireike.ExchangeTransaction, MessageID: id + 1,
			}
			msg, _ := hashed(h, isa.keys, isa.keys.ExchangeIV(isa.lastIV, id+1), []payload{{wireike.PayloadATTR, make([]byte, 8)}},
				func(rest []byte) []byte { return isa.keys.Hash1(id+1, rest) })
			s.e.Receive(sp.path, msg)
		}
		settle(time.Second)
		if n := w.sent - before; n != 3 {
			t.Errorf("%d answers", n)
		}
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

// FuzzEngineEvents plays a connection, its messages mangled, copied, held back and mixed with nonsense, and then checks
// that nothing is left of it.
func FuzzEngineEvents(f *testing.F) {
	corpus.Add(f)
	f.Add(uint64(1), []byte{0})
	f.Add(uint64(2), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint64(3), []byte{0, 0, 0, 3, 0, 0, 0, 3, 0, 7})
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		if len(script) > 64 {
			return
		}
		run(t, func(t *testing.T, w *world) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := pskPolicy("tenants/a", "secret")
			p.Aggressive, p.GroupName = true, "sales"
			watched := Config{Log: corpus.Log(t)}
			s := w.host(serverAddr, policyOf(p), watched)
			cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), watched)
			at := 0
			var kept [][]byte
			w.tap = func(from, to netip.AddrPort, msg []byte) bool {
				if at >= len(script) {
					return true
				}
				op := script[at]
				at++
				kept = append(kept, bytes.Clone(msg))
				m := bytes.Clone(msg)
				switch op % 8 {
				case 0: // as it is
					return true
				case 1: // lost
					return false
				case 2: // mangled
					m[rnd.IntN(len(m))] ^= byte(1 + rnd.IntN(255))
				case 3: // cut, and its length made to fit
					m = m[:wireike.HeaderLen+rnd.IntN(len(m)-wireike.HeaderLen+1)]
					binary.BigEndian.PutUint32(m[24:], uint32(len(m)))
				case 4: // an old one again, from elsewhere
					m = bytes.Clone(kept[rnd.IntN(len(kept))])
					from = netip.AddrPortFrom(from.Addr(), uint16(rnd.IntN(65536)))
				case 5: // many copies
					for range 5 {
						time.AfterFunc(time.Duration(rnd.IntN(100))*time.Millisecond, func() { w.deliver(from, to, bytes.Clone(m)) })
					}
				case 6: // a payload swallowed
					m = replace(m, func(p wireike.Payload) [][]byte {
						if rnd.IntN(3) == 0 {
							return nil
						}
						return [][]byte{p.Body}
					})
				case 7: // as a fragment
					if h, err := wireike.ParseHeader(m); err == nil {
						m = wireike.AppendFragment(nil, h, wireike.Fragment{ID: 1, Number: op / 8, Last: op&8 != 0, Data: m})
					}
				}
				time.AfterFunc(w.delay, func() { w.deliver(from, to, m) })
				return op%2 == 0
			}
			c := linux("10.0.0.2", "secret")
			if seed%3 == 0 {
				c.Aggressive, c.Identity = true, wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}
			}
			cl.initiate(c)
			settle(10 * time.Second)
			for _, h := range []*host{s, cl} {
				h.mu.Lock()
				all := append([]*fakePeer(nil), h.all...)
				h.mu.Unlock()
				for _, p := range all {
					if _, out := p.state(); out != nil {
						h.e.Limit(p, out.InboundSPI, false)
					}
				}
			}
			settle(5 * time.Minute)
			w.tap = nil
			w.shutdown(cl, s)
			settle(5 * time.Minute)
			if st := s.e.Stats(); st.HalfOpen > 1 || st.Peers != 0 {
				t.Errorf("%+v", st)
			}
		})
	})
}
