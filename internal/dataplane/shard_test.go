package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/wire/ppp"
)

func TestDataBothWays(t *testing.T) {
	for _, mode := range []string{"clear", "mppe", "mppe stateful"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t, 2)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400, RequireMPPE: mode != "clear"})
			switch mode {
			case "mppe":
				s.encrypted()
			case "mppe stateful":
				up, down := keyUp, keyDown
				up.Stateful, down.Stateful = true, true
				s.call.SetDecrypt(up)
				s.call.SetEncrypt(down)
				s.client.withMPPE(up, down)
			}
			var in, out uint64
			for i := range 300 { // more than one key change of stateful mode
				up := echo("10.50.0.7", "192.0.2.9", uint16(i), i, true)
				s.up(s.client.data(up))
				if got := s.inside(); !bytes.Equal(got, up) {
					t.Fatalf("packet %d became % x", i, got)
				}
				down := echo("192.0.2.9", "10.50.0.7", uint16(i), i, true)
				s.down(down)
				h, protocol, got := s.atClient()
				if protocol != ppp.ProtocolIPv4 || !bytes.Equal(got, down) {
					t.Fatalf("packet %d became protocol %#x % x", i, protocol, got)
				}
				if h.Seq != uint32(i) {
					t.Fatalf("sequence number %d, want %d", h.Seq, i)
				}
				if h.HasAck && h.Ack != uint32(i) {
					t.Fatalf("acknowledges %d, want %d", h.Ack, i)
				}
				in, out = in+uint64(len(up)), out+uint64(len(down))
			}
			k := s.call.Close()
			if k.InPackets != 300 || k.OutPackets != 300 || k.InBytes != in || k.OutBytes != out {
				t.Errorf("counted %+v, want %d octets in and %d out", k, in, out)
			}
			if len(k.Drops.Map()) != 0 || k.Lost != 0 {
				t.Errorf("dropped %v, lost %d", k.Drops.Map(), k.Lost)
			}
			if again := s.call.Close(); again != k {
				t.Errorf("a second Close counts %+v", again)
			}
		})
	}
}

func TestHeaderCompression(t *testing.T) {
	for _, c := range []struct {
		pfc, acfc, mppe bool
		want            string
	}{
		{false, false, false, "\xff\x03\x00\x21"},
		{true, false, false, "\xff\x03\x21"},
		{true, true, false, "\x21"},
		{false, true, false, "\x00\x21"},
		{false, false, true, "\xff\x03\x00\xfd"},
		{true, true, true, "\xfd"},
	} {
		t.Run(fmt.Sprintf("pfc_%v_acfc_%v_mppe_%v", c.pfc, c.acfc, c.mppe), func(t *testing.T) {
			l := newLab(t, 1)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), PFC: c.pfc, ACFC: c.acfc})
			if c.mppe {
				s.encrypted()
			}
			s.down(echo("192.0.2.9", "10.50.0.7", 1, 10, true))
			p := receive(t, s.wire)[8:]
			if got := p[12:]; !bytes.HasPrefix(got, []byte(c.want)) {
				t.Errorf("frame begins % x, want % x", got[:4], c.want)
			}
			s.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 4})
			p = receive(t, s.wire)[8:]
			if got, want := p[12:], "\xff\x03\xc0\x21\x09\x01\x00\x04"; string(got) != want {
				t.Errorf("control frame is % x", got)
			}
		})
	}
}

func TestControlFrames(t *testing.T) {
	l := newLab(t, 1)
	s := l.call()
	defer s.call.Close()
	// In both directions, in order, before any network is there.
	for i := range byte(20) {
		s.call.SendControl(ppp.ProtocolLCP, []byte{1, i, 0, 4})
		s.up(s.client.frame(ppp.ProtocolLCP, []byte{1, i, 0, 4}))
		if f := <-s.sink.frames; f != (frame{ppp.ProtocolLCP, string([]byte{1, i, 0, 4})}) {
			t.Fatalf("delivered %+v", f)
		}
		if h, protocol, info := s.atClient(); protocol != ppp.ProtocolLCP || info[1] != i || h.Seq != uint32(i) {
			t.Fatalf("frame %d: %+v %#x % x", i, h, protocol, info)
		}
	}
	// A burst larger than the shard's own buffers.
	for i := range uint32(3 * spareBufs) {
		s.call.SendControl(ppp.ProtocolLCP, binary.BigEndian.AppendUint32([]byte{9, 0, 0, 8}, i))
		if i%100 == 99 {
			s.sync()
			for range 100 {
				s.atClient()
			}
		}
	}
	s.call.SendControl(ppp.ProtocolLCP, make([]byte, 3000))
	s.waitDrop(DropNoRoom, 1)
	// What nobody knows goes to the sink as well: it wants a Protocol-Reject.
	s.up(s.client.frame(0x8281, []byte{1, 1, 0, 4}))
	if f := <-s.sink.frames; f.protocol != 0x8281 {
		t.Errorf("delivered %+v", f)
	}
	if k := s.call.Counters(); k.InPackets != 0 || k.OutPackets != 0 {
		t.Errorf("control frames are counted as traffic: %+v", k)
	}
}

// TestInboundDrops sends one packet of each wrong kind. The session lives through all of it.
func TestInboundDrops(t *testing.T) {
	const me, out = "10.50.0.7", "192.0.2.9"
	good := func() []byte { return echo(me, out, 1, 10, true) }
	for _, c := range []struct {
		name  string
		spec  SessionSpec
		setup func(*session)
		send  func(s *session) []byte // from the outer header on
		want  Drop
	}{
		{"too short", SessionSpec{}, nil, func(*session) []byte { return []byte{0x45} }, DropWireMalformed},
		{"not GRE", SessionSpec{}, nil, func(*session) []byte { return ipv4(clientIP, serverIP, 17, false, make([]byte, 8)) }, DropWireMalformed},
		{"header length", SessionSpec{}, nil, func(s *session) []byte {
			p := outer(clientIP, serverIP, s.client.data(good()))
			p[0] = 0x41
			return p
		}, DropWireMalformed},
		{"header behind the end", SessionSpec{}, nil, func(s *session) []byte {
			p := outer(clientIP, serverIP, nil)
			p[0] = 0x4f
			return p
		}, DropWireMalformed},
		{"GRE version", SessionSpec{}, nil, func(s *session) []byte {
			p := outer(clientIP, serverIP, s.client.data(good()))
			p[21] = 0
			return p
		}, DropGREMalformed},
		{"GRE length", SessionSpec{}, nil, func(s *session) []byte {
			p := outer(clientIP, serverIP, s.client.data(good()))
			return p[:len(p)-1]
		}, DropGREMalformed},
		{"unknown call", SessionSpec{}, nil, func(s *session) []byte {
			c := newClient(s.l.t, s.call.ID()^0x100, 1)
			return outer(clientIP, serverIP, c.data(good()))
		}, DropGREUnknownCall},
		{"call of a shard that is not", SessionSpec{}, nil, func(s *session) []byte {
			c := newClient(s.l.t, s.call.ID()|0xf, 1)
			return outer(clientIP, serverIP, c.data(good()))
		}, DropGREUnknownCall},
		{"wrong source", SessionSpec{}, nil, func(s *session) []byte {
			return outer("203.0.113.10", serverIP, s.client.data(good()))
		}, DropGREWrongSource},
		{"wrong destination", SessionSpec{}, nil, func(s *session) []byte {
			return outer(clientIP, "198.51.100.2", s.client.data(good()))
		}, DropGREWrongSource},
		{"empty payload", SessionSpec{}, nil, func(s *session) []byte {
			p := s.client.data(good())[:12]
			p[4], p[5] = 0, 0
			return outer(clientIP, serverIP, p)
		}, DropPPPMalformed},
		{"IPv6", SessionSpec{}, nil, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.frame(ppp.ProtocolIPv6, make([]byte, 40)))
		}, DropPPPUnsupported},
		{"not open", SessionSpec{}, func(s *session) { s.call.SetOpen(false) }, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.data(good()))
		}, DropNotOpen},
		{"clear where MPPE is required", SessionSpec{RequireMPPE: true}, nil, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.data(good()))
		}, DropMPPERequired},
		{
			"clear although there are keys",
			SessionSpec{RequireMPPE: true},
			func(s *session) { s.encrypted(); s.client.encrypt = nil },
			func(s *session) []byte { return outer(clientIP, serverIP, s.client.data(good())) }, DropMPPERequired,
		},
		{
			"encrypted before a key",
			SessionSpec{},
			func(s *session) { s.client.withMPPE(keyUp, keyDown) },
			func(s *session) []byte { return outer(clientIP, serverIP, s.client.data(good())) }, DropMPPENoKey,
		},
		{
			"keys taken away",
			SessionSpec{},
			func(s *session) { s.encrypted(); s.call.ClearMPPE() },
			func(s *session) []byte { return outer(clientIP, serverIP, s.client.data(good())) }, DropMPPENoKey,
		},
		{
			"wrong key",
			SessionSpec{},
			func(s *session) { s.encrypted(); s.client.withMPPE(keyDown, keyUp) },
			func(s *session) []byte { return outer(clientIP, serverIP, s.client.data(good())) }, DropMPPEImplausible,
		},
		{"no MPPE header", SessionSpec{}, func(s *session) { s.encrypted() }, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.frame(ppp.ProtocolCompressed, []byte{0}))
		}, DropMPPEMalformed},
		{"inner checksum", SessionSpec{}, nil, func(s *session) []byte {
			p := good()
			p[10] ^= 1
			return outer(clientIP, serverIP, s.client.data(p))
		}, DropPPPMalformed},
		{"spoofed source", SessionSpec{}, nil, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.data(echo("10.50.0.8", out, 1, 10, true)))
		}, DropSpoofedSource},
		{"spoofed source, encrypted", SessionSpec{RequireMPPE: true}, func(s *session) { s.encrypted() }, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.data(echo("10.50.0.1", out, 1, 10, true)))
		}, DropSpoofedSource},
		{"outside the framed route", SessionSpec{Routes: []netip.Prefix{prefix("10.60.0.0/24")}}, nil, func(s *session) []byte {
			return outer(clientIP, serverIP, s.client.data(echo("10.60.1.1", out, 1, 10, true)))
		}, DropSpoofedSource},
		{"far jump", SessionSpec{}, nil, func(s *session) []byte {
			p := s.client.data(good())
			binary.BigEndian.PutUint32(p[8:], 1<<30)
			return outer(clientIP, serverIP, p)
		}, DropGREFarJump},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, 2)
			n, dev := l.network(acme)
			c.spec.Address = addr(me)
			s := l.open(n, dev, c.spec)
			if c.setup != nil {
				c.setup(s)
			}
			s.sync()
			p := c.send(s)
			write(t, s.wire, p)
			s.waitDrop(c.want, 1)
			if p, ok := tryReceive(t, s.far, 0); ok {
				t.Errorf("came through: % x", p)
			}
			if c.want != DropNotOpen && c.want != DropMPPERequired && c.want != DropMPPENoKey && c.want != DropMPPEImplausible {
				s.up(s.client.data(good()))
				s.inside()
			}
		})
	}
}

func TestFramedRoute(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), Routes: []netip.Prefix{prefix("10.60.0.0/24")}})
	s.up(s.client.data(echo("10.60.0.33", "192.0.2.9", 1, 10, true)))
	s.inside()
	s.down(echo("192.0.2.9", "10.60.0.44", 1, 10, true))
	s.atClient()
	if got := dev.prefixes; len(got) != 2 || got[prefix("10.60.0.0/24")] != s.call.Shard() || got[prefix("10.50.0.7/32")] != s.call.Shard() {
		t.Errorf("the device has %v", got)
	}
	// Attached again without the route: the address keeps working, the route is gone.
	if err := s.call.Attach(n, SessionSpec{Address: addr("10.50.0.7")}); err != nil {
		t.Fatal(err)
	}
	s.down(echo("192.0.2.9", "10.60.0.44", 2, 10, true))
	s.waitDrop(DropNoSession, 1)
	s.down(echo("192.0.2.9", "10.50.0.7", 3, 10, true))
	s.atClient()
	s.call.Close()
	if len(dev.prefixes) != 0 {
		t.Errorf("after Close the device has %v", dev.prefixes)
	}
	s.down(echo("192.0.2.9", "10.50.0.7", 4, 10, true))
	s.waitDrop(DropNoSession, 2)
}

func TestAddressInUse(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	a := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), Routes: []netip.Prefix{prefix("10.60.0.0/24")}})
	b := l.call()
	for _, spec := range []SessionSpec{
		{Address: addr("10.50.0.7")},
		{Address: addr("10.50.0.1")}, // ours
		{Address: addr("10.50.0.8"), Routes: []netip.Prefix{prefix("10.60.0.9/24")}},
	} {
		if err := b.call.Attach(n, spec); !errors.Is(err, ErrAddressInUse) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	for _, spec := range []SessionSpec{
		{},
		{Address: addr("2001:db8::1")},
		{Address: addr("224.0.0.1")},
		{Address: addr("10.50.0.9"), MTU: 40},
		{Address: addr("10.50.0.9"), MTU: 9000},
		{Address: addr("10.50.0.9"), Routes: []netip.Prefix{prefix("::/0")}},
	} {
		if err := b.call.Attach(n, spec); !errors.Is(err, ErrSpec) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	// A device that refuses leaves nothing behind.
	l.o.addErr = errors.New("no")
	if err := b.call.Attach(n, SessionSpec{Address: addr("10.50.0.8"), Routes: []netip.Prefix{prefix("10.61.0.0/24")}}); !errors.Is(err, l.o.addErr) {
		t.Errorf("a device that refuses: %v", err)
	}
	l.o.addErr = nil
	if _, there := dev.prefixes[prefix("10.50.0.8/32")]; there {
		t.Error("the address stayed at the device")
	}
	if err := l.call().call.Attach(n, SessionSpec{Address: addr("10.50.0.8")}); err != nil {
		t.Errorf("the address stayed taken: %v", err)
	}
	a.call.Close()
	if err := b.call.Attach(n, SessionSpec{Address: addr("10.50.0.7")}); err != nil {
		t.Errorf("after the other left: %v", err)
	}
	// Another network of the same namespace may not overlap, one elsewhere may.
	spec := acme
	spec.Device, spec.Tenant, spec.Gateways = "vpn1", "other", nil
	m, _ := l.network(spec)
	c := l.call()
	if err := c.call.Attach(m, SessionSpec{Address: addr("10.51.0.1"), Routes: []netip.Prefix{prefix("10.50.0.0/16")}}); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("overlap in one namespace: %v", err)
	}
	spec.Namespace = "elsewhere"
	e, _ := l.network(spec)
	if err := c.call.Attach(e, SessionSpec{Address: addr("10.50.0.7")}); err != nil {
		t.Errorf("the same address in another namespace: %v", err)
	}
}

// TestClientToClient: between sessions on one shard and on two, allowed and not.
func TestClientToClient(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			l := newLab(t, 2)
			spec := acme
			spec.ClientToClient = allowed
			n, dev := l.network(spec)
			var all []*session
			for i := range 3 {
				all = append(all, l.open(n, dev, SessionSpec{Address: addr(fmt.Sprintf("10.50.0.%d", 10+i))}))
			}
			other := acme
			other.Device, other.Tenant, other.Gateways = "vpn1", "other", nil
			m, mdev := l.network(other)
			l.open(m, mdev, SessionSpec{Address: addr("10.50.1.1")})
			a := all[0]
			for _, b := range all[1:] {
				p := echo("10.50.0.10", b.inner(), 1, 8, true)
				a.up(a.client.data(p))
				if allowed {
					if got := a.inside(); !bytes.Equal(got, p) {
						t.Errorf("became % x", got)
					}
				}
			}
			if !allowed {
				a.waitDrop(DropClientToClient, 2)
			}
			// To itself and to the gateway is not client to client; to another tenant never goes.
			for _, to := range []string{"10.50.0.10", "10.50.0.1"} {
				a.up(a.client.data(echo("10.50.0.10", to, 1, 8, true)))
				a.inside()
			}
			a.up(a.client.data(echo("10.50.0.10", "10.50.1.1", 1, 8, true)))
			a.waitDrop(DropOtherNetwork, 1)

			// Changed live.
			spec.ClientToClient = !allowed
			if err := n.Update(spec); err != nil {
				t.Fatal(err)
			}
			a.up(a.client.data(echo("10.50.0.10", "10.50.0.11", 2, 8, true)))
			if allowed {
				a.waitDrop(DropClientToClient, 1)
			} else {
				a.inside()
			}
		})
	}
}

// inner is the inner address of the session.
func (s *session) inner() string { return s.call.spec.Address.String() }

func TestOutboundPolicy(t *testing.T) {
	const me, out = "10.50.0.7", "192.0.2.9"
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr(me), MTU: 1400}).encrypted()
	part := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			whole := l.t
			l.t, s.client.t = t, t // so that a helper fails the part, not the whole
			f(t)
			l.t, s.client.t = whole, whole
		})
	}

	part("MSS", func(t *testing.T) {
		s.down(syn(out, me, 80, 1460))
		if _, _, p := s.atClient(); true {
			if mss, ok := mssOf(p); mss != 1360 || !ok {
				t.Errorf("towards the client: MSS %d, checksum %v", mss, ok)
			}
		}
		s.up(s.client.data(syn(me, out, 80, 1460)))
		if mss, ok := mssOf(s.inside()); mss != 1360 || !ok {
			t.Errorf("from the client: MSS %d, checksum %v", mss, ok)
		}
		s.up(s.client.data(syn(me, out, 80, 500)))
		if mss, ok := mssOf(s.inside()); mss != 500 || !ok {
			t.Errorf("a small one: MSS %d, checksum %v", mss, ok)
		}
	})
	part("exactly the MTU", func(t *testing.T) {
		s.down(echo(out, me, 1, 1400-28, true))
		if _, _, p := s.atClient(); len(p) != 1400 {
			t.Errorf("%d octets", len(p))
		}
	})
	part("too big with DF", func(t *testing.T) {
		big := echo(out, me, 2, 1401-28, true)
		s.down(big)
		p := s.inside()
		if len(p) < 36 || p[9] != 1 || netip.AddrFrom4([4]byte(p[12:])) != addr("10.50.0.1") ||
			netip.AddrFrom4([4]byte(p[16:])) != addr(out) || sum16(p[:20]) != 0 || sum16(p[20:]) != 0 {
			t.Fatalf("not ICMP from the gateway to the sender: % x", p)
		}
		if p[20] != 3 || p[21] != 4 || binary.BigEndian.Uint16(p[26:]) != 1400 || !bytes.HasPrefix(big, p[28:]) {
			t.Errorf("not fragmentation needed for 1400: % x", p[20:])
		}
		s.waitDrop(DropTooBig, 1)
	})
	part("too big without DF", func(t *testing.T) {
		big := echo(out, me, 3, 2000-28, false)
		s.down(big)
		var whole []byte
		for i := range 2 {
			_, _, p := s.atClient()
			if len(p) > 1400 || sum16(p[:20]) != 0 {
				t.Errorf("piece %d has %d octets", i, len(p))
			}
			if at := int(binary.BigEndian.Uint16(p[6:])&0x1fff) * 8; at != len(whole) {
				t.Errorf("piece %d is for %d, want %d", i, at, len(whole))
			}
			whole = append(whole, p[20:]...)
		}
		if !bytes.Equal(whole, big[20:]) {
			t.Error("the pieces are not the packet")
		}
	})
	part("not ours", func(t *testing.T) {
		before := l.d.ShardStats()[0].Drops
		s.down(echo(out, "10.50.0.99", 1, 8, true))
		s.waitDrop(DropNoSession, before[DropNoSession]+1)
		s.down([]byte{0x60, 0, 0, 0})
		s.waitDrop(DropIPMalformed, before[DropIPMalformed]+1)
		write(t, s.far, append([]byte{0, 3, 0, 0, 0, 0, 0, 0, 0, 0}, echo(out, me, 1, 8, true)...))
		s.waitDrop(DropTUNOffload, before[DropTUNOffload]+1)
		write(t, s.far, []byte{1, 2, 3})
		s.waitDrop(DropTUNOffload, before[DropTUNOffload]+2)
		write(t, s.far, make([]byte, 4000))
		s.waitDrop(DropTUNOversize, before[DropTUNOversize]+1)
	})
	part("MPPE required and no key", func(t *testing.T) {
		if err := s.call.Attach(n, SessionSpec{Address: addr(me), MTU: 1400, RequireMPPE: true}); err != nil {
			t.Fatal(err)
		}
		s.call.ClearMPPE()
		s.down(echo(out, me, 4, 8, true))
		s.waitDrop(DropMPPERequired, 1)
		s.call.SetOpen(false)
		s.down(echo(out, me, 4, 8, true))
		s.waitDrop(DropNotOpen, 1)
	})
}

func TestReorder(t *testing.T) {
	for _, mode := range []string{"clear", "mppe", "stateful"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t, 1)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
			defer s.call.Close()
			up, down := keyUp, keyDown
			if mode != "clear" {
				up.Stateful, down.Stateful = mode == "stateful", mode == "stateful"
				s.call.SetDecrypt(up)
				s.call.SetEncrypt(down)
				s.client.withMPPE(up, down)
			}
			var p [8][]byte
			for i := range p {
				p[i] = s.client.data(echo("10.50.0.7", "192.0.2.9", uint16(i), 40, true))
			}
			next, late := uint16(0), uint64(1)
			expect := func(upTo int) {
				t.Helper()
				for ; int(next) < upTo; next++ {
					if got := binary.BigEndian.Uint16(s.inside()[26:]); got != next {
						t.Fatalf("packet %d came, want %d", got, next)
					}
				}
			}
			s.up(p[0])
			expect(1)
			s.up(p[2])
			s.up(p[3])
			s.sync()
			if _, early := tryReceive(t, s.far, 0); early {
				t.Fatal("an early packet went ahead")
			}
			s.up(p[1])
			expect(4)
			// 4 is lost: the others come after the hold time, without anything else happening.
			s.up(p[6])
			s.up(p[5])
			next = 5
			if mode == "stateful" {
				// A stateful receiver has lost its place and says so.
				s.waitDrop(DropMPPEOutOfSync, 2)
				s.sink.mu.Lock()
				if s.sink.lost != 1 {
					t.Errorf("asked for %d resets", s.sink.lost)
				}
				s.sink.mu.Unlock()
				s.client.encrypt.Reset() // the peer's answer to a CCP Reset-Request
				s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", 8, 40, true)))
				next = 8
				expect(9)
				s.up(p[7]) // from before the new stream: of no use any more
				late++
			} else {
				expect(7)
			}
			s.up(p[4])
			s.waitDropOf(DropGRELate, late)
			s.up(p[5])
			s.waitDropOf(DropGREDuplicate, 1)
			if k := s.call.Counters(); k.Lost == 0 {
				t.Error("no loss is counted")
			}
		})
	}
}

// waitDropOf is waitDrop for the call alone.
func (s *session) waitDropOf(d Drop, n uint64) {
	s.l.t.Helper()
	var k Counters
	for range 1000000 {
		if k = s.call.Counters(); k.Drops[d] >= n {
			break
		}
	}
	if k.Drops[d] != n {
		s.l.t.Fatalf("%d drops for %v, want %d; all: %v", k.Drops[d], d, n, k.Drops.Map())
	}
}

// TestAcknowledge: data that nothing answers is acknowledged by itself.
func TestAcknowledge(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	for i := range 3 {
		s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", uint16(i), 8, true)))
		s.inside()
	}
	h, protocol, _ := s.client.read(receive(t, s.wire)[8:])
	if h.HasSeq || !h.HasAck || protocol != 0 {
		t.Fatalf("not a bare acknowledgement: %+v", h)
	}
	// More than a handful at once do not wait.
	for i := range 100 {
		s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", uint16(i), 8, true)))
		s.inside()
	}
	for h.Ack < 102 {
		h, _, _ = s.client.read(receive(t, s.wire)[8:])
	}
	if h.Ack != 102 {
		t.Errorf("acknowledges %d", h.Ack)
	}
	// The client's own bare acknowledgement is taken in silence.
	write(t, s.wire, outer(clientIP, serverIP, []byte{0x20, 0x81, 0x88, 0x0b, 0, 0, byte(s.call.ID() >> 8), byte(s.call.ID()), 0, 0, 0, 0}))
	if k := s.call.Counters(); len(k.Drops.Map()) != 0 {
		t.Errorf("dropped %v", k.Drops.Map())
	}
}

// TestWrongShard: packets that arrive on the wrong shard reach the right one.
func TestWrongShard(t *testing.T) {
	l := newLab(t, 3)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")}).encrypted()
	wrong := (s.call.Shard() + 1) % 3
	for i := range 50 {
		p := echo("10.50.0.7", "192.0.2.9", uint16(i), 100, true)
		s.sync()
		write(t, l.o.gre[""][wrong], outer(clientIP, serverIP, s.client.data(p)))
		if got := s.inside(); !bytes.Equal(got, p) {
			t.Fatalf("became % x", got)
		}
		p = echo("192.0.2.9", "10.50.0.7", uint16(i), 100, true)
		write(t, dev.far[wrong], append(make([]byte, 10), p...))
		if _, _, got := s.atClient(); !bytes.Equal(got, p) {
			t.Fatalf("became % x", got)
		}
	}
	st := l.d.ShardStats()
	if st[wrong].WrongShard != 100 || st[s.call.Shard()].WrongShard != 0 {
		t.Errorf("counted %d and %d", st[wrong].WrongShard, st[s.call.Shard()].WrongShard)
	}
	// An unknown call of the other shard is counted there, and does not travel again.
	c := newClient(t, s.call.ID()^0x100, 1)
	write(t, l.o.gre[""][wrong], outer(clientIP, serverIP, c.data(echo("10.50.0.7", "192.0.2.9", 0, 1, true))))
	s.waitDrop(DropGREUnknownCall, 1)
}

// TestTenantsApart: the same addresses in two namespaces.
func TestTenantsApart(t *testing.T) {
	l := newLab(t, 2)
	other := acme
	other.Tenant, other.Namespace = "other", "other"
	n, dev := l.network(acme)
	m, mdev := l.network(other)
	a := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	b := l.open(m, mdev, SessionSpec{Address: addr("10.50.0.7")})
	for i, s := range []*session{a, b} {
		p := echo("10.50.0.7", "192.0.2.9", uint16(i), 8, true)
		s.up(s.client.data(p))
		if got := s.inside(); !bytes.Equal(got, p) {
			t.Errorf("became % x", got)
		}
		p = echo("192.0.2.9", "10.50.0.7", uint16(i), 8, true)
		s.down(p)
		if _, _, got := s.atClient(); !bytes.Equal(got, p) {
			t.Errorf("became % x", got)
		}
	}
	for _, d := range []*fakeDevice{dev, mdev} {
		for _, fd := range d.far {
			if p, stray := tryReceive(t, fd, 0); stray {
				t.Errorf("stray packet % x", p)
			}
		}
	}
}

func TestNetworkLife(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	spec := acme
	spec.MTU, spec.Gateways, spec.Masquerade = 1300, []netip.Addr{addr("10.50.0.2")}, true
	spec.ProxyARP, spec.Uplink = true, Uplink{Address: prefix("10.255.0.2/30"), Gateway: addr("10.255.0.1")}
	if err := n.Update(spec); err != nil {
		t.Fatal(err)
	}
	if !dev.config.ProxyARP || dev.config.Uplink != spec.Uplink {
		t.Errorf("device is %+v", dev.config)
	}
	if dev.config.MTU != 1300 || !dev.config.Masquerade || dev.config.Addresses[0] != addr("10.50.0.2") {
		t.Errorf("device is %+v", dev.config)
	}
	for _, change := range []func(*NetworkSpec){
		func(s *NetworkSpec) { s.Namespace = "x" }, func(s *NetworkSpec) { s.Device = "vpn9" },
	} {
		bad := spec
		change(&bad)
		if err := n.Update(bad); !errors.Is(err, ErrFixed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, change := range []func(*NetworkSpec){
		func(s *NetworkSpec) { s.MTU = 100 }, func(s *NetworkSpec) { s.MTU = 9000 },
		func(s *NetworkSpec) { s.Gateways = []netip.Addr{addr("::1")} },
		func(s *NetworkSpec) { s.Routes = []netip.Prefix{prefix("::/0")} },
		func(s *NetworkSpec) { s.Uplink.Gateway = netip.Addr{} },
		func(s *NetworkSpec) { s.Uplink.Address = netip.Prefix{} },
		func(s *NetworkSpec) { s.Uplink.Gateway = s.Uplink.Address.Addr() },
		func(s *NetworkSpec) { s.Uplink.Gateway = addr("10.255.0.5") },
		func(s *NetworkSpec) { s.Uplink.Address = prefix("10.255.0.2/32") },
		func(s *NetworkSpec) {
			s.Uplink = Uplink{Address: prefix("2001:db8::2/64"), Gateway: addr("2001:db8::1")}
		},
		func(s *NetworkSpec) { s.Routes = []netip.Prefix{prefix("10.255.0.0/24")} },
	} {
		bad := spec
		change(&bad)
		if err := n.Update(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("Update to %+v: %v", bad, err)
		}
		if _, err := l.d.OpenNetwork(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("OpenNetwork of %+v: %v", bad, err)
		}
	}
	outside := spec
	outside.Namespace = ""
	if _, err := l.d.OpenNetwork(outside); !errors.Is(err, ErrSpec) {
		t.Errorf("OpenNetwork with an uplink from the daemon's namespace: %v", err)
	}
	for _, inUplink := range []SessionSpec{
		{Address: addr("10.255.0.1")}, {Address: addr("10.50.0.9"), Routes: []netip.Prefix{prefix("10.255.0.0/31")}},
	} {
		if err := s.call.Attach(n, inUplink); !errors.Is(err, ErrAddressInUse) {
			t.Errorf("Attach %+v: %v", inUplink, err)
		}
	}
	second := acme
	second.Device, second.Routes, second.Gateways = "vpn1", nil, nil
	m, _ := l.network(second)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if !l.o.made["acme"] {
		t.Error("the namespace went while another network is in it")
	}
	if err := n.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := s.call.Attach(n, SessionSpec{Address: addr("10.50.0.7")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach to a closed network: %v", err)
	}
	if err := n.Update(spec); !errors.Is(err, ErrClosed) {
		t.Errorf("Update of a closed network: %v", err)
	}
	// The call lives on without its network.
	s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", 1, 8, true)))
	s.waitDropOf(DropNotOpen, 1)
	s.call.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if l.o.made["acme"] {
		t.Error("the namespace stayed")
	}
}

// TestDeviceGone: the far end of a queue closes, as when a device is deleted under us.
func TestDeviceGone(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	s.sync()
	if err := unix.Close(dev.far[0]); err != nil {
		t.Fatal(err)
	}
	dev.far = nil
	<-n.Lost()
	s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", 1, 8, true)))
	s.waitDropOf(DropTUNGone, 1)
	if err := n.Close(); err != nil {
		t.Errorf("Close of a lost network: %v", err)
	}
}

func TestCallIDs(t *testing.T) {
	o := newFakeOpener()
	d, err := Start(Config{Shards: 4, MaxSessions: 100, Opener: o})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	spec := CallSpec{Local: addr(serverIP), Remote: addr(clientIP), Sink: newSink()}
	if _, err := d.OpenCall(spec); !errors.Is(err, ErrNoGRE) {
		t.Errorf("without OpenGRE: %v", err)
	}
	if err := d.OpenGRE(""); err != nil {
		t.Fatal(err)
	}
	seen := map[uint16]bool{}
	var calls []*Call
	for range 100 {
		c, err := d.OpenCall(spec)
		if err != nil {
			t.Fatal(err)
		}
		if c.ID() == 0 || seen[c.ID()] || int(c.ID()&0xf) != c.Shard() || c.Shard() >= 4 {
			t.Fatalf("ID %#x on shard %d", c.ID(), c.Shard())
		}
		seen[c.ID()] = true
		calls = append(calls, c)
	}
	for _, s := range d.ShardStats() {
		if s.Calls != 25 {
			t.Errorf("shard %d has %d calls", s.Shard, s.Calls)
		}
	}
	if _, err := d.OpenCall(spec); !errors.Is(err, ErrTooManyCalls) {
		t.Errorf("one more: %v", err)
	}
	if got := d.Counters(calls); len(got) != 100 {
		t.Errorf("%d counters", len(got))
	}
	gone := calls[7].ID()
	calls[7].Close()
	calls[7].Close()
	for range 200 { // an ID rests until all others of its shard have been used
		c, err := d.OpenCall(spec)
		if err != nil {
			t.Fatal(err)
		}
		if c.ID() == gone {
			t.Fatal("an ID came back at once")
		}
		c.Close()
	}
	bad := spec
	bad.Remote = addr("2001:db8::1")
	if _, err := d.OpenCall(bad); !errors.Is(err, ErrSpec) {
		t.Errorf("an IPv6 peer: %v", err)
	}
}

func TestGREReferences(t *testing.T) {
	l := newLab(t, 2)
	if err := l.d.OpenGRE(""); err != nil {
		t.Fatal(err)
	}
	if got := len(l.o.gre[""]); got != 2 {
		t.Errorf("%d sockets for one namespace and 2 shards", got)
	}
	if err := l.d.CloseGRE(""); err != nil {
		t.Fatal(err)
	}
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", 1, 8, true)))
	s.inside()
	if err := l.d.CloseGRE(""); err != nil {
		t.Fatal(err)
	}
	s.down(echo("192.0.2.9", "10.50.0.7", 1, 8, true))
	s.waitDropOf(DropWireSend, 1)
	if err := l.d.CloseGRE(""); !errors.Is(err, ErrNoGRE) {
		t.Errorf("closed too often: %v", err)
	}
	l.o.openErr = errors.New("no")
	if err := l.d.OpenGRE("x"); !errors.Is(err, l.o.openErr) {
		t.Errorf("an opener that fails: %v", err)
	}
	if _, err := l.d.OpenCall(CallSpec{Namespace: "x", Local: addr(serverIP), Remote: addr(clientIP), Sink: newSink()}); !errors.Is(err, ErrNoGRE) {
		t.Errorf("and then a call: %v", err)
	}
}

func TestStop(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	l.d.Stop()
	l.d.Stop()
	if !dev.closed {
		t.Error("the device is still open")
	}
	if !l.o.made["acme"] {
		t.Error("Stop removed the namespace; only Close of a network may")
	}
	s.call.SendControl(ppp.ProtocolLCP, []byte{1, 1, 0, 4})
	s.call.SetOpen(true)
	s.call.Close()
	if err := s.call.Attach(n, SessionSpec{Address: addr("10.50.0.7")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach: %v", err)
	}
	if err := l.d.OpenGRE(""); !errors.Is(err, ErrStopped) {
		t.Errorf("OpenGRE: %v", err)
	}
	if _, err := l.d.OpenNetwork(acme); !errors.Is(err, ErrStopped) {
		t.Errorf("OpenNetwork: %v", err)
	}
	if _, err := l.d.OpenCall(CallSpec{Local: addr(serverIP), Remote: addr(clientIP), Sink: s.sink}); !errors.Is(err, ErrStopped) {
		t.Errorf("OpenCall: %v", err)
	}
	if l.d.ShardStats() != nil {
		t.Error("statistics of stopped shards")
	}
	if err := n.Close(); err != nil {
		t.Errorf("Close of a network after Stop: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	for _, n := range []int{-1, 17} {
		if _, err := Start(Config{Shards: n, Opener: newFakeOpener()}); !errors.Is(err, ErrSpec) {
			t.Errorf("%d shards: %v", n, err)
		}
	}
}

// TestEverythingAtOnce opens, attaches, feeds and closes from many goroutines: for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	l := newLab(t, 3)
	n, dev := l.network(acme)
	var done sync.WaitGroup
	stop := make(chan struct{})
	for shard := range 3 { // traffic to all addresses, and garbage
		done.Go(func() {
			for i := byte(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := append(make([]byte, 10), echo("192.0.2.9", fmt.Sprintf("10.50.0.%d", 100+i%8), 1, 100, true)...)
				_, _ = unix.Write(dev.far[shard], p)
				_, _ = unix.Write(l.o.gre[""][shard], outer(clientIP, serverIP, []byte{0x30, 1, 0x88, 0x0b, 0, 2, i, i, 0, 0, 0, 0, 0, 0x21}))
				for {
					if _, more := tryReceive(t, l.o.gre[""][shard], 0); !more {
						break
					}
				}
			}
		})
	}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 40 {
				c, err := l.d.OpenCall(CallSpec{Local: addr(serverIP), Remote: addr(clientIP), PeerCallID: 99, Sink: newSink()})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Attach(n, SessionSpec{Address: addr(fmt.Sprintf("10.50.0.%d", 100+w*2+i%2))}); err != nil {
					t.Error(err)
				}
				c.SetDecrypt(keyUp)
				c.SetEncrypt(mppe.Params{Bits: 40, Stateful: true})
				c.SetOpen(true)
				c.SendControl(ppp.ProtocolLCP, []byte{9, 0, 0, 4})
				c.ResetEncrypt()
				c.Counters()
				l.d.ShardStats()
				go c.Close()
				c.Close()
			}
		})
	}
	workers.Wait()
	close(stop)
	done.Wait()
	for _, s := range l.d.ShardStats() {
		if s.Calls != 0 {
			t.Errorf("shard %d still has %d calls", s.Shard, s.Calls)
		}
	}
}
