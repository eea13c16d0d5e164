package ikev1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/ike/keymat"
	"concentrator/internal/wire/esphdr"
	wireike "concentrator/internal/wire/ike"
)

// inside returns the client's newest ISAKMP SA, whose keys let a test build what it wants.
func inside(cl *host) *isakmp {
	cl.w.t.Helper()
	var s *isakmp
	cl.e.postPeer(cl.only(), func(m *peer, _ time.Time) { s = m.newest() })
	settle(0)
	if s == nil {
		cl.w.t.Fatal("no ISAKMP SA")
	}
	return s
}

// informationalFrom builds a protected message with a hash that is right, or not.
func informationalFrom(s *isakmp, id uint32, right bool, payloads ...payload) []byte {
	h := wireike.Header{
		Initiator: s.id.Initiator, Responder: s.id.Responder, Exchange: wireike.ExchangeInformational, MessageID: id,
	}
	msg, _ := hashed(h, s.keys, s.keys.ExchangeIV(s.lastIV, id), payloads, func(rest []byte) []byte {
		sum := s.keys.HashInformational(id, rest)
		if !right {
			sum[0] ^= 1
		}
		return sum
	})
	return msg
}

func ruThere(s *isakmp, seq uint32) payload {
	body, _ := wireike.Notify{
		Protocol: wireike.ProtocolISAKMP, Type: wireike.NotifyRUThere, SPI: s.spi(), Data: binary.BigEndian.AppendUint32(nil, seq),
	}.AppendBinary(nil)
	return payload{wireike.PayloadNotify, body}
}

// What is encrypted with the right key but has a wrong hash is not acted on; what is right is, once, and a copy of it from
// elsewhere moves nobody.
func TestInformationalOnce(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, isa := s.only(), inside(cl)
		_, out := cl.only().state()
		del := payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(out.InboundSPI))}
		s.e.Receive(sp.path, informationalFrom(isa, 1, false, del))
		settle(0)
		if n, _ := sp.state(); n != 1 || s.e.Stats().Unauthentic != 1 {
			t.Errorf("a delete with a wrong hash: %d children, %+v", n, s.e.Stats())
		}
		path := sp.path
		before := w.sent
		ask := informationalFrom(isa, 2, true, ruThere(isa, 7))
		s.e.Receive(path, bytes.Clone(ask))
		settle(0)
		elsewhere := path
		elsewhere.Remote = netip.MustParseAddrPort("203.0.113.66:7")
		s.e.Receive(elsewhere, bytes.Clone(ask))
		settle(0)
		if w.sent != before+1 || sp.path != path {
			t.Errorf("%d answers to one question and its copy, the peer is at %v", w.sent-before, sp.path)
		}
		s.e.Receive(elsewhere, informationalFrom(isa, 3, true, ruThere(isa, 8)))
		settle(0)
		if sp.path != elsewhere {
			t.Errorf("a new question from elsewhere: the peer is at %v", sp.path)
		}
		s.e.Receive(path, informationalFrom(isa, 4, true, del))
		settle(0)
		if n, _ := sp.state(); n != 0 {
			t.Errorf("a right delete: %d children", n)
		}
	})
}

// A delete may name a child by either SPI.
func TestDeleteByEitherSPI(t *testing.T) {
	for _, inbound := range []bool{true, false} {
		run(t, func(t *testing.T, w *world) {
			s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
			_, out := cl.only().state()
			spi := out.OutboundSPI
			if inbound {
				spi = out.InboundSPI
			}
			s.e.Receive(s.only().path, informationalFrom(inside(cl), 1, true,
				payload{wireike.PayloadDelete, wireike.AppendDelete(nil, wireike.ProtocolESP, putID32(spi+1), putID32(spi))}))
			settle(0)
			if n, _ := s.only().state(); n != 0 {
				t.Errorf("%d children", n)
			}
		})
	}
}

// strongSwan answers with the attributes in another order and without a number of ours.
func TestAnswerInAnotherOrder(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("192.0.2.7", policyOf(), Config{})
		first := true
		w.tap = func(from, to netip.AddrPort, msg []byte) bool {
			if from.Addr() != s.addr || !first {
				return true
			}
			first = false
			p := Phase1Proposal{}
			var a wireike.Attributes
			a = a.With(wireike.AttrLifeType, 1).WithLong(wireike.AttrLifeDuration, 3*3600)
			a = a.With(wireike.AttrAuthMethod, 1).With(wireike.AttrGroup, uint16(wireike.GroupMODP2048))
			a = a.With(wireike.AttrHash, uint16(wireike.HashSHA256)).With(wireike.AttrKeyLength, 256)
			a = a.With(wireike.AttrEncryption, uint16(wireike.EncryptionAESCBC))
			tr := p.transform(7)
			tr.Attributes = a
			sa := wireike.AppendSA(nil, wireike.Offer{Protocol: wireike.ProtocolISAKMP, Transforms: []wireike.Transform{tr}})
			out := only(wireike.PayloadSA, func([]byte) [][]byte { return [][]byte{sa} })(msg)
			time.AfterFunc(w.delay, func() { w.deliver(from, to, out) })
			return false
		}
		cl.initiate(linux("192.0.2.7", "secret"))
		settle(time.Second)
		mustCarry(t, s.only(), cl.only())
	})
}

// Without a NAT a peer has one address.
func TestNoNATNoMove(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("192.0.2.7", policyOf(), Config{})
		cl.initiate(linux("192.0.2.7", "secret"))
		settle(time.Second)
		sp, isa := s.only(), inside(cl)
		elsewhere := sp.path
		elsewhere.Remote = netip.MustParseAddrPort("203.0.113.66:500")
		s.e.Receive(elsewhere, informationalFrom(isa, 3, true, ruThere(isa, 8)))
		settle(0)
		if sp.path == elsewhere {
			t.Error("the peer has moved")
		}
	})
}

// Old messages of every exchange, sent again when nobody expects them, by somebody else: nothing is answered to him,
// nothing changes, however often.
func TestOldMessagesAgain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		evil := netip.MustParseAddrPort("203.0.113.66:666")
		toEvil := 0
		var kept [][]byte
		w.tap = func(from, to netip.AddrPort, msg []byte) bool {
			if to == evil {
				if wireike.PayloadType(msg[16]) != wireike.PayloadSA { // anybody may begin with message 1
					toEvil++
				}
			} else if from.Addr() != s.addr {
				kept = append(kept, bytes.Clone(msg))
				if n := len(kept); n > 1 { // at once, before the real one
					s.e.Receive(Path{Listener: "listeners/test", Local: to, Remote: evil}, bytes.Clone(kept[n-2]))
				}
			}
			return true
		}
		cl.initiate(linux("10.0.0.2", "secret"))
		settle(time.Second)
		sp, cp := s.only(), cl.only()
		path := sp.path
		again := func(remote netip.AddrPort, times int) {
			for _, m := range kept {
				for range times {
					s.e.Receive(Path{Listener: "listeners/test", Local: path.Local, Remote: remote}, bytes.Clone(m))
					settle(0) // or the queue is full
				}
			}
			settle(time.Second)
		}
		again(evil, 3)
		before := w.sent
		again(path.Remote, 20)
		if n := w.sent - before; n != maxReplies { // to message 5
			t.Errorf("%d answers to copies of %d; %+v", n, len(kept), s.e.Stats())
		}
		settle(10 * time.Minute) // whatever is cached has gone
		again(path.Remote, 1)
		again(evil, 1)
		if n, _ := sp.state(); n != 1 || sp.path != path || toEvil > 0 {
			t.Errorf("%d children, path %v, %d messages to somebody else", n, sp.path, toEvil)
		}
		if added, _ := sp.counts(); added != 1 || len(s.sas) != 1 {
			t.Errorf("%d children and %d SAs were made", added, len(s.sas))
		}
		mustCarry(t, sp, cp)
		w.tap = nil
		w.shutdown(cl, s)
	})
}

// At most three Quick Modes of a peer are under way in one SA.
func TestPendingQuickModes(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := linux("10.0.0.2", "secret")
		for range 5 {
			c.Children = append(c.Children, c.Children[0])
		}
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.behind("203.0.113.9", "10.0.0.2", policyOf(), Config{})
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool { // message 2 never comes
			return from.Addr() != s.addr || msg[18] != byte(wireike.ExchangeQuick)
		}
		cl.initiate(c)
		settle(3 * time.Second)
		if n, _ := s.only().state(); n != maxPendingQuick {
			t.Errorf("%d children", n)
		}
		settle(35 * time.Second)
		if n, _ := s.only().state(); n > maxPendingQuick {
			t.Errorf("%d children", n)
		}
	})
}

// A peer has at most eight children: the oldest goes.
func TestManyChildren(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		_, first := sp.state()
		for range maxChildren + 3 {
			_, out := cp.state()
			cl.e.Limit(cp, out.InboundSPI, false)
			settle(time.Second)
		}
		if n, _ := sp.state(); n != maxChildren || sp.children[first.InboundSPI] != nil {
			t.Errorf("%d children", n)
		}
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

// The old child is there for 30 s after the first packet on the new one, and then gone on both sides.
func TestOldChildLingers(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		_, out := sp.state()
		s.e.Limit(sp, out.InboundSPI, false)
		settle(10 * time.Minute) // no packet yet
		if n, _ := sp.state(); n != 2 {
			t.Errorf("%d children before the new one is used", n)
		}
		mustCarry(t, sp, cp)
		settle(29 * time.Second)
		if n, _ := sp.state(); n != 2 {
			t.Errorf("%d children 29 s later", n)
		}
		settle(2 * time.Second)
		n, _ := sp.state()
		if m, _ := cp.state(); n != 1 || m != 1 {
			t.Errorf("%d and %d children 31 s later", n, m)
		}
		mustCarry(t, sp, cp)
		w.shutdown(cl, s)
	})
}

// The responder's lower lifetime reaches the initiator, of both phases.
func TestResponderLifetime(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		server := pskPolicy("tenants/a", "secret")
		server.ESPLifetime, server.IKELifetime = 10*time.Minute, time.Hour
		c := linux("10.0.0.2", "secret")
		c.Children[0].Lifetime = 8 * time.Hour
		s, cl := pair(w, c, server, pskPolicy("tenants/client", "secret"))
		for _, h := range []*host{s, cl} {
			if _, out := h.only().state(); out.Lifetime != 10*time.Minute {
				t.Errorf("%v: %v", h.addr, out.Lifetime)
			}
		}
		if isa := inside(cl); isa.expires.Sub(isa.created) != time.Hour {
			t.Errorf("the ISAKMP SA lives %v", isa.expires.Sub(isa.created))
		}
		w.shutdown(cl, s)
	})
}

func TestLifetimes(t *testing.T) {
	const h = time.Hour
	for _, tc := range []struct {
		own, peer time.Duration
		initiated bool
		life      time.Duration
		from, to  float64
	}{
		{0, 0, false, 8 * h, 0.85, 0.90},
		{0, 3 * h, false, 3 * h, 0.95, 0.96},
		{0, 24 * h, false, 8 * h, 0.85, 0.90},
		{h, 3 * h, false, h, 0.85, 0.90},
		{3 * h, h, false, h, 0.95, 0.96},
		{3 * h, h, true, h, 0.85, 0.90},
	} {
		seen := map[time.Duration]bool{}
		for range 200 {
			life, rekey := lifetimes(tc.own, tc.peer, 8*h, tc.initiated)
			seen[rekey] = true
			if part := float64(rekey) / float64(life); life != tc.life || part < tc.from || part > tc.to {
				t.Errorf("%+v: %v, %v", tc, life, rekey)
			}
		}
		if len(seen) < 5 {
			t.Errorf("%+v: no jitter", tc)
		}
	}
}

// A client that takes no Quick Mode of ours keeps its child as long as it wished.
func TestClientThatCanNotBeRekeyed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := linux("10.0.0.2", "secret")
		c.Children[0].Lifetime = 8 * time.Hour // as Android does
		s, cl := pair(w, c, pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		sp, cp := s.only(), cl.only()
		cl.e.postPeer(cp, func(m *peer, now time.Time) { // it does not read RESPONDER-LIFETIME either
			m.children[0].expires, m.children[0].rekeyAt = now.Add(8*time.Hour), now.Add(7*time.Hour)
		})
		settle(0)
		own := ""
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			if from.Addr() == s.addr && msg[18] == byte(wireike.ExchangeQuick) && own == "" {
				return false
			}
			return true
		}
		settle(2 * time.Hour)
		if n, out := sp.state(); n != 1 || out == nil {
			t.Errorf("%d children after two hours", n)
		}
		mustCarry(t, sp, cp)
		settle(7 * time.Hour)
		if n, _ := sp.state(); n != 0 {
			t.Errorf("%d children after nine hours", n)
		}
	})
}

// Five questions, five seconds apart, after thirty seconds of silence.
func TestDPDSchedule(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		_ = cl
		sp := s.only()
		begin := time.Now()
		var at []time.Duration
		w.tap = func(from, _ netip.AddrPort, _ []byte) bool {
			if from.Addr() == s.addr {
				at = append(at, time.Since(begin).Round(time.Second))
			}
			return false
		}
		s.mu.Lock()
		s.idle = time.Hour
		s.mu.Unlock()
		settle(time.Minute)
		want := []time.Duration{28, 33, 38, 43, 48}
		if len(at) != len(want) {
			t.Fatalf("asked at %v", at)
		}
		for i := range want {
			if at[i] != want[i]*time.Second {
				t.Errorf("asked at %v", at)
			}
		}
		if sp.ended() == "" {
			t.Error("the peer is not dead")
		}
	})
}

// Which transforms fit a NAT, and which don't.
func TestEncapsulation(t *testing.T) {
	offer := func(encap wireike.Encapsulation) wireike.SA {
		q := QuickMode{Proposals: []ESPProposal{{Transform: wireike.ESPAESCBC, KeyBits: 128, Auth: wireike.ESPAuthSHA1}}}
		sa, err := wireike.ParseSA(wireike.AppendSA(nil, q.offers(0x1234, encap)...))
		if err != nil {
			t.Fatal(err)
		}
		return sa
	}
	for _, tc := range []struct {
		encap        wireike.Encapsulation
		nat, floated bool
		ok, udp      bool
	}{
		{wireike.EncapTransport, false, false, true, false},
		{wireike.EncapTransport, true, true, false, false},
		{wireike.EncapUDPTransport, true, true, true, true},
		{wireike.EncapUDPTransport, false, true, true, true},
		{wireike.EncapUDPTransport, false, false, false, true},
		{wireike.EncapDraftUDPTransport, true, true, true, true},
		{wireike.EncapTunnel, false, false, false, false},
		{wireike.EncapUDPTunnel, true, true, false, false},
		{wireike.EncapDraftUDPTunnel, true, true, false, false},
	} {
		got, err := espWish{nat: tc.nat, floated: tc.floated}.choose(offer(tc.encap))
		if (err == nil) != tc.ok || err == nil && got.suite.udp() != tc.udp {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

// Proposals that want AH or compression as well are passed over, as are SPIs that are none.
func TestCombinedProposals(t *testing.T) {
	aes := ESPProposal{Transform: wireike.ESPAESCBC, KeyBits: 256, Auth: wireike.ESPAuthSHA1}
	one := QuickMode{Proposals: []ESPProposal{aes}}.offers(0x1234, wireike.EncapTransport)[0]
	ah := one
	ah.Protocol = wireike.ProtocolAH
	other := one
	other.Number = 2
	other.SPI = putID32(0x5678)
	short := one
	short.SPI = []byte{0, 0, 0, 200}
	for _, tc := range []struct {
		name   string
		offers []wireike.Offer
		spi    uint32
	}{
		{"alone", []wireike.Offer{one}, 0x1234},
		{"with AH, then alone", []wireike.Offer{ah, one, other}, 0x5678},
		{"only with AH", []wireike.Offer{ah, one}, 0},
		{"only AH", []wireike.Offer{ah}, 0},
		{"a reserved SPI", []wireike.Offer{short, other}, 0x5678},
	} {
		sa, err := wireike.ParseSA(wireike.AppendSA(nil, tc.offers...))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := (espWish{}).choose(sa); (err == nil) != (tc.spi != 0) || got.spi != tc.spi {
			t.Errorf("%s: SPI %#x, %v", tc.name, got.spi, err)
		}
	}
}

// The owner of an SPI receives with its keys: RFC 2409 section 5.5. And nothing of phase 1 is left behind.
func TestKeysOfChildren(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s, cl := pair(w, linux("10.0.0.2", "secret"), pskPolicy("tenants/a", "secret"), pskPolicy("tenants/client", "secret"))
		isa := inside(cl)
		var q *quick
		cl.e.postPeer(cl.only(), func(m *peer, _ time.Time) {
			for _, q = range isa.quicks {
			}
		})
		settle(0)
		_, out := s.only().state()
		want := isa.keys.SAKeys(keymat.QuickMode{
			Protocol: wireike.ProtocolESP, NonceI: q.nonceI, NonceR: q.nonceR,
		}, out.InboundSPI, 32, esphdr.HMACSHA1_96.KeyLen())
		if !bytes.Equal(out.InboundKey, want.Encryption) || !bytes.Equal(out.InboundAuthKey, want.Integrity) {
			t.Error("the inbound keys are not those of the inbound SPI")
		}
		defer func() {
			if recover() == nil {
				t.Error("SKEYID is still there")
			}
		}()
		isa.keys.HashI(wireike.AuthPSK, nil)
	})
}

// At 20 000 messages a second the table alone would be over in a tenth of a second: first messages must come twice.
func TestFastFlood(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		w.delay = 100 * time.Millisecond
		w.tap = func(_, to netip.AddrPort, _ []byte) bool { return to.Addr().As4()[0] != 100 }
		cl := w.host("192.0.2.7", policyOf(), Config{})
		cl.initiate(linux("192.0.2.7", "secret"))
		cookie := uint64(0)
		for range 300 {
			for range 200 {
				cookie++
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], 100<<24|64<<16+uint32(cookie))
				s.e.Receive(Path{
					Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE),
					Remote: netip.AddrPortFrom(netip.AddrFrom4(a), 500),
				}, first(cookie))
			}
			settle(20 * time.Millisecond)
		}
		settle(30 * time.Second)
		if _, out := cl.only().state(); out == nil {
			t.Errorf("no child; %+v", s.e.Stats())
		}
	})
}

// A message 3 of Quick Mode with a wrong hash does not let us send; the right one that follows does.
func TestForgedMessage3OfQuickMode(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("192.0.2.7", policyOf(), Config{})
		n := 0
		var real []byte
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			if from.Addr() == cl.addr {
				if n++; n == 5 {
					real = bytes.Clone(msg)
					return false
				}
			}
			return n < 5
		}
		cl.initiate(linux("192.0.2.7", "secret"))
		settle(time.Second)
		sp, isa := s.only(), inside(cl)
		h, _ := wireike.ParseHeader(real)
		iv := isa.keys.ExchangeIV(isa.lastIV, h.MessageID)
		s.e.postPeer(sp, func(m *peer, _ time.Time) { iv = m.newest().quicks[h.MessageID].iv })
		settle(0)
		forged, _ := hashed(h, isa.keys, iv, nil, func([]byte) []byte { return make([]byte, 32) })
		s.e.Receive(sp.path, forged)
		settle(0)
		if _, out := sp.state(); out != nil || s.e.Stats().Unauthentic != 1 {
			t.Errorf("%+v", s.e.Stats())
		}
		s.e.Receive(sp.path, real)
		settle(0)
		if _, out := sp.state(); out == nil {
			t.Error("the real message 3 was not taken")
		}
	})
}

// The key that was good for a source last is tried first, and no more keys than a bound.
func TestCandidates(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, nil, Config{})
		p := &Policy{}
		for i := range 200 {
			tn := pskPolicy(string(rune('a'+i)), "x")
			tn.PSKs = append(tn.PSKs, PSK{ID: "second"})
			p.Tenants = append(p.Tenants, tn)
		}
		at := Path{Remote: netip.MustParseAddrPort("192.0.2.7:500")}
		if got := s.e.candidates(p, at); len(got) != maxCandidates || got[0].tenant != p.Tenants[0] || got[1].psk.ID != "second" {
			t.Errorf("%d candidates", len(got))
		}
		s.e.lastGood.put(at.Remote.Addr(), goodKey{p.Tenants[190].Name, "second"})
		got := s.e.candidates(p, at)
		if len(got) != maxCandidates || got[0].tenant != p.Tenants[190] || got[0].psk.ID != "second" {
			t.Errorf("%d candidates, the first of %q", len(got), got[0].tenant.Name)
		}
		seen := map[goodKey]bool{}
		for _, c := range got {
			key := goodKey{c.tenant.Name, c.psk.ID}
			if seen[key] {
				t.Errorf("%v twice", key)
			}
			seen[key] = true
		}
	})
}
