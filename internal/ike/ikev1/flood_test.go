package ikev1

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// first builds a message 1 of Main Mode with a cookie and the SA of a usual client.
func first(cookie uint64, vendors ...wireike.Vendor) []byte {
	var c wireike.Cookie
	binary.BigEndian.PutUint64(c[:], cookie)
	b := wireike.NewBuilder(wireike.Header{Initiator: c, Exchange: wireike.ExchangeMain})
	var ts []wireike.Transform
	for i, g := range []wireike.GroupID{wireike.GroupECP384, wireike.GroupECP256, wireike.GroupMODP2048, wireike.GroupMODP1024} {
		ts = append(ts, Phase1Proposal{
			Encryption: wireike.EncryptionAESCBC, KeyBits: 256, Hash: wireike.HashSHA1, Group: g, Lifetime: 8 * time.Hour,
		}.transform(uint8(i+1)))
	}
	b.Add(wireike.PayloadSA, wireike.AppendSA(nil, wireike.Offer{Number: 1, Protocol: wireike.ProtocolISAKMP, Transforms: ts}))
	for _, v := range vendors {
		b.Add(wireike.PayloadVID, v.ID())
	}
	return b.Bytes()
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// 20 000 Main Modes from invented addresses, two of them each millisecond, while clients connect.
func TestFloodOfHalfOpen(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		w.delay = 50 * time.Millisecond
		replies, requests := 0, 0
		spoofed := netip.MustParsePrefix("100.64.0.0/10")
		w.tap = func(_, to netip.AddrPort, msg []byte) bool {
			if spoofed.Contains(to.Addr()) {
				replies += len(msg)
				return false
			}
			return true
		}
		before := heapInUse()
		local := netip.AddrPortFrom(s.addr, portIKE)
		flood := func(n int) {
			for i := range n {
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], 100<<24|64<<16+uint32(i))
				msg := first(uint64(i+1), wireike.VendorNATTRFC3947, wireike.VendorDPD, wireike.VendorMicrosoft)
				requests += len(msg)
				s.e.Receive(Path{Listener: "listeners/test", Local: local, Remote: netip.AddrPortFrom(netip.AddrFrom4(a), 500)}, msg)
				if i%2 == 1 {
					time.Sleep(time.Millisecond)
				}
			}
		}
		var clients []*host
		for i := range 3 {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}).String()
			cl := w.host(addr, policyOf(), Config{})
			clients = append(clients, cl)
			c := linux(addr, "secret")
			time.AfterFunc(time.Duration(i+1)*2*time.Second, func() { _ = cl.e.Initiate(c) })
		}
		flood(20000)
		settle(0)
		used := heapInUse() - before
		st := s.e.Stats()
		t.Logf("20000 half-open: %d KiB more on the heap, %d in the table, %d pushed out, %d not answered; %d octets for %d",
			used>>10, st.HalfOpen, st.Pushed, st.Limited, replies, requests)
		if used > 4<<20 {
			t.Errorf("the flood took %d KiB", used>>10)
		}
		if st.HalfOpen > 2000 {
			t.Errorf("%d half-open exchanges", st.HalfOpen)
		}
		if replies > requests {
			t.Errorf("%d octets for %d", replies, requests)
		}
		settle(10 * time.Second)
		for _, cl := range clients {
			if _, out := cl.only().state(); out == nil {
				t.Errorf("%v has no child", cl.addr)
			}
		}
		if r := s.refused(); len(r) != 0 {
			t.Errorf("%d lines for a flood: %+v", len(r), r[0])
		}
		settle(time.Minute)
		if st := s.e.Stats(); st.HalfOpen != 0 || st.Peers != 3 {
			t.Errorf("after a minute: %+v", st)
		}
		w.shutdown(append(clients, s)...)
	})
}

// Fifty clients behind one NAT begin at once.
func TestFiftyBehindOneNAT(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		var clients []*host
		for i := range 50 {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i)}).String()
			cl := w.behind("203.0.113.9", addr, policyOf(pskPolicy("tenants/client", "secret")), Config{})
			clients = append(clients, cl)
			cl.initiate(linux(addr, "secret"))
		}
		settle(13 * time.Second)
		if len(s.peers) != 50 {
			t.Fatalf("%d peers; %+v", len(s.peers), s.e.Stats())
		}
		for _, cl := range clients {
			sa := cl.only().sa
			for _, p := range s.all {
				if p.sa.ID == sa.ID {
					mustCarry(t, p, cl.only())
				}
			}
		}
		w.shutdown(clients...)
		settle(time.Second)
		w.shutdown(s)
	})
}

// One address may hold five exchanges, and forty messages at once.
func TestOneSource(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		p := Path{
			Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE), Remote: netip.MustParseAddrPort("192.0.2.7:500"),
		}
		for i := range 100 {
			s.e.Receive(p, first(uint64(i+1)))
		}
		settle(0)
		if st := s.e.Stats(); st.HalfOpen != 5 || st.Limited != 95 {
			t.Errorf("%+v", st)
		}
		settle(61 * time.Second)
		if st := s.e.Stats(); st.HalfOpen != 0 {
			t.Errorf("%+v", st)
		}
		s.e.Receive(p, first(1))
		settle(0)
		if st := s.e.Stats(); st.HalfOpen != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A copy of message 1 gets the same message 2, five times.
func TestCopiesOfMessage1(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		var got []string
		w.tap = func(_, _ netip.AddrPort, msg []byte) bool {
			got = append(got, string(msg))
			return true
		}
		p := Path{
			Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE), Remote: netip.MustParseAddrPort("192.0.2.7:500"),
		}
		for range 10 {
			s.e.Receive(p, first(1, wireike.VendorDPD))
			settle(100 * time.Millisecond)
		}
		if len(got) != 6 {
			t.Fatalf("%d answers", len(got))
		}
		for _, m := range got {
			if m != got[0] {
				t.Error("the answers differ")
			}
		}
	})
}

// More handshakes than there may be, from as many addresses, of which none goes on: the oldest make room, but for those of
// addresses from which somebody has authenticated.
func TestHandshakesPushOut(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{MaxHandshakes: 10})
		attacker := netip.MustParsePrefix("100.64.0.0/10")
		local := netip.AddrPortFrom(s.addr, portIKE)
		key := make([]byte, 256)
		key[255] = 2
		w.tap = func(from, to netip.AddrPort, msg []byte) bool {
			if !attacker.Contains(to.Addr()) {
				return true
			}
			h, err := wireike.ParseHeader(msg)
			if err != nil || h.Next != wireike.PayloadSA {
				return false
			}
			b := wireike.NewBuilder(wireike.Header{Initiator: h.Initiator, Responder: h.Responder, Exchange: wireike.ExchangeMain})
			b.Add(wireike.PayloadKE, key)
			b.Add(wireike.PayloadNonce, make([]byte, ownNonce))
			s.e.Receive(Path{Listener: "listeners/test", Local: local, Remote: to}, b.Bytes())
			return false
		}
		for i := range 100 {
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, 1, byte(i)}), portIKE)
			s.e.Receive(Path{Listener: "listeners/test", Local: local, Remote: a}, firstOf(uint64(i+1), wireike.GroupMODP2048))
		}
		settle(0)
		if st := s.e.Stats(); st.Handshakes != 10 || st.Pushed != 90 {
			t.Errorf("%d handshakes, %d pushed out; %+v", st.Handshakes, st.Pushed, st)
		}
		cl := w.host("192.0.2.10", policyOf(), Config{})
		cl.initiate(linux("192.0.2.10", "secret"))
		settle(time.Second)
		if st := s.e.Stats(); st.Peers != 1 || st.Handshakes != 9 {
			t.Errorf("a client does not get in: %+v", st)
		}
		settle(2 * time.Minute)
		if st := s.e.Stats(); st.Handshakes != 0 || st.SAs != 1 {
			t.Errorf("after two minutes: %+v", st)
		}
		w.shutdown(cl, s)
	})
}

// firstOf is first with one group.
func firstOf(cookie uint64, g wireike.GroupID) []byte {
	var c wireike.Cookie
	binary.BigEndian.PutUint64(c[:], cookie)
	b := wireike.NewBuilder(wireike.Header{Initiator: c, Exchange: wireike.ExchangeMain})
	t := Phase1Proposal{
		Encryption: wireike.EncryptionAESCBC, KeyBits: 256, Hash: wireike.HashSHA1, Group: g, Lifetime: 8 * time.Hour,
	}.transform(1)
	b.Add(wireike.PayloadSA, wireike.AppendSA(nil, wireike.Offer{
		Number: 1, Protocol: wireike.ProtocolISAKMP, Transforms: []wireike.Transform{t},
	}))
	for _, v := range []wireike.Vendor{wireike.VendorNATTRFC3947, wireike.VendorDPD} {
		b.Add(wireike.PayloadVID, v.ID())
	}
	return b.Bytes()
}

// In a flood that is over, or weak, a stranger gets in at once, and soon the table is half empty again.
func TestCrowdedTable(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		w.tap = func(_, to netip.AddrPort, _ []byte) bool {
			return to.Addr().String() == "192.0.2.10" || to.Addr() == s.addr
		}
		p := Path{Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE)}
		for i := range 3000 {
			p.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}), portIKE)
			s.e.Receive(p, first(uint64(i+1)))
			synctest.Wait() // those that wait for the door are not in the table yet
		}
		if st := s.e.Stats(); st.HalfOpen != 1000+newcomerBurst || st.Limited != 3000-1000-newcomerBurst {
			t.Errorf("%d half open, %d not answered", st.HalfOpen, st.Limited)
		}
		settle(time.Second)
		cl := w.host("192.0.2.10", policyOf(), Config{})
		cl.initiate(linux("192.0.2.10", "secret"))
		settle(time.Second)
		if st := s.e.Stats(); st.Peers != 1 {
			t.Errorf("a stranger has to wait: %+v", st)
		}
		settle(3 * time.Second)
		if st := s.e.Stats(); st.HalfOpen >= 1000 {
			t.Errorf("five seconds later %d are half open", st.HalfOpen)
		}
		w.shutdown(cl, s)
	})
}
