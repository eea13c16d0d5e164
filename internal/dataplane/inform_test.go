package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/dataplane/dhcp"
	"concentrator/internal/wire/ppp"
)

// question is a DHCPINFORM like that of Windows; kind 8 is what makes it one.
func question(src, dst string, kind byte) []byte {
	datagram := make([]byte, 8+240)
	copy(datagram, []byte{0, 68, 0, 67})
	m := datagram[8:]
	m[0], m[1], m[2] = 1, 8, 6
	binary.BigEndian.PutUint32(m[4:], 0x8d6ffc30)
	copy(m[12:], addr(src).AsSlice())
	copy(m[28:], "SE")
	copy(m[236:], "\x63\x82\x53\x63")
	datagram = append(datagram, 53, 1, kind, 55, 5, 1, 15, 6, 121, 249, 255)
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	return ipv4(src, dst, 17, false, datagram)
}

func told() *dhcp.Answer {
	return dhcp.New(dhcp.Config{
		Server: addr("10.50.0.1"), Client: addr("10.50.0.7"), DNS: []netip.Addr{addr("192.0.2.53")}, Suffix: "corp.example",
		Routes: []netip.Prefix{prefix("192.0.2.0/24")},
	})
}

// wantAnswer checks that p is the answer to question.
func wantAnswer(t *testing.T, p []byte) {
	t.Helper()
	if len(p) < 328 || !bytes.Equal(p[12:20], []byte{10, 50, 0, 1, 10, 50, 0, 7}) || sum16(p[:20]) != 0 ||
		!bytes.Equal(p[20:24], []byte{0, 67, 0, 68}) || p[28] != 2 || string(p[32:36]) != "\x8d\x6f\xfc\x30" {
		t.Fatalf("no answer: % x", p)
	}
	for _, option := range []string{
		"\x35\x01\x05", "\x0f\x0ccorp.example", "\x06\x04\xc0\x00\x02\x35",
		"\x79\x08\x18\xc0\x00\x02\x0a\x32\x00\x01", "\xf9\x08\x18\xc0\x00\x02\x0a\x32\x00\x01",
	} {
		if !bytes.Contains(p[268:], []byte(option)) {
			t.Errorf("% x is not in the answer: % x", option, p[268:])
		}
	}
}

// wantThrough checks that the next packet in the network is this one: nothing came before it.
func (s *session) wantThrough(p []byte) {
	s.l.t.Helper()
	s.up(s.client.data(p))
	if got := s.inside(); !bytes.Equal(got, p) {
		s.l.t.Fatalf("% x came through", got)
	}
}

// TestInform: a question is answered, whatever ACL and rates say, even before the link is open towards the client; and it
// does not reach the network.
func TestInform(t *testing.T) {
	for _, mode := range []string{"clear", "mppe"} {
		for _, to := range []string{"255.255.255.255", "10.50.0.1"} {
			t.Run(mode+" to "+to, func(t *testing.T) {
				l := newLab(t, 2)
				n, dev := l.network(acme)
				other := l.open(n, dev, SessionSpec{Address: addr("10.50.0.8"), Routes: []netip.Prefix{prefix("0.0.0.0/0")}})
				s := l.call()
				spec := SessionSpec{
					Address: addr("10.50.0.7"), Inform: told(), UpBps: 1, DownBps: 1, MTU: 576,
					RequireMPPE: mode == "mppe", ACL: acl(t, "DENY BOTH any"),
				}
				if err := s.call.Attach(n, spec); err != nil {
					t.Fatal(err)
				}
				s.dev, s.far = dev, dev.far[s.call.Shard()]
				if mode == "mppe" {
					s.encrypted()
				}
				q := question("10.50.0.7", to, 8)
				s.up(s.client.data(q))
				_, protocol, p := s.atClient()
				if protocol != ppp.ProtocolIPv4 {
					t.Fatalf("answered with protocol %#x", protocol)
				}
				wantAnswer(t, p)
				k := s.call.Counters()
				if k.InPackets != 1 || k.InBytes != uint64(len(q)) || k.OutPackets != 1 || k.OutBytes != uint64(len(p)) ||
					len(k.Drops.Map()) != 0 {
					t.Errorf("counted %+v, dropped %v", k, k.Drops.Map())
				}
				other.call.Close() // which was the way to everywhere
				s.up(s.client.data(echo("10.50.0.7", "192.0.2.9", 1, 10, true)))
				s.waitDrop(DropACL, 1)
				spec.ACL, spec.UpBps, spec.DownBps = nil, 0, 0
				if err := s.call.Attach(n, spec); err != nil {
					t.Fatal(err)
				}
				s.wantThrough(echo("10.50.0.7", "192.0.2.9", 2, 10, true))
			})
		}
	}
}

// TestInformOnly: what is no question, or has nobody to answer it, goes where all else goes.
func TestInformOnly(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	spec := SessionSpec{Address: addr("10.50.0.7"), Inform: told(), Routes: []netip.Prefix{prefix("10.60.0.0/24")}}
	s := l.open(n, dev, spec)
	netbios := make([]byte, 68)
	netbios[1], netbios[3], netbios[5] = 137, 137, 68
	s.wantThrough(ipv4("10.50.0.7", "255.255.255.255", 17, false, netbios))
	s.wantThrough(ipv4("10.50.0.7", "10.50.0.1", 17, false, netbios))
	s.wantThrough(question("10.50.0.7", "10.50.0.2", 8))
	s.wantThrough(question("10.50.0.7", "192.0.2.9", 8))
	for i, refused := range [][]byte{
		question("10.50.0.7", "255.255.255.255", 1),  // a DISCOVER
		question("10.60.0.9", "255.255.255.255", 8),  // somebody behind the client
		question("10.50.0.7", "10.50.0.1", 8)[:20+8], // cut: its header is mended below
	} {
		binary.BigEndian.PutUint16(refused[2:], uint16(len(refused)))
		refused[10], refused[11] = 0, 0
		binary.BigEndian.PutUint16(refused[10:], sum16(refused[:20]))
		s.up(s.client.data(refused))
		s.waitDrop(DropDHCPRefused, uint64(i)+1)
	}
	s.up(s.client.data(question("10.50.0.8", "255.255.255.255", 8)))
	s.waitDrop(DropSpoofedSource, 1)
	spec.Inform = nil
	if err := s.call.Attach(n, spec); err != nil {
		t.Fatal(err)
	}
	s.wantThrough(question("10.50.0.7", "255.255.255.255", 8))
	s.wantThrough(question("10.50.0.7", "10.50.0.1", 8))
	if k := s.call.Counters(); k.OutPackets != 0 {
		t.Errorf("%d packets went to the client", k.OutPackets)
	}
}

// TestInformBounds: four questions at once are answered, the fifth is not; nor is one in a session that can't send.
func TestInformBounds(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), Inform: told()})
	q := question("10.50.0.7", "255.255.255.255", 8)
	for range informBurst {
		s.up(s.client.data(q))
	}
	for range informBurst {
		_, _, p := s.atClient()
		wantAnswer(t, p)
	}
	s.up(s.client.data(q))
	s.waitDrop(DropDHCPRate, 1)
	s.call.Close()

	s = l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), Inform: told(), MTU: 327})
	s.up(s.client.data(q))
	s.waitDrop(DropDHCPRefused, 1)
	s.call.Close()

	s = l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), Inform: told(), RequireMPPE: true})
	s.client.withMPPE(keyUp, keyDown)
	s.call.SetDecrypt(keyUp) // and no key for what we send
	s.up(s.client.data(q))
	s.waitDrop(DropMPPERequired, 1)
}

func TestInformerAllow(t *testing.T) {
	var f informer
	now, passed := int64(5*time.Second), 0
	for range 100 {
		if f.allow(now) {
			passed++
		}
	}
	if passed != informBurst {
		t.Errorf("%d at once", passed)
	}
	for range 1000 { // ten seconds, a hundred questions in each
		now += informEvery / 100
		if f.allow(now) {
			passed++
		}
	}
	if passed != informBurst+10 {
		t.Errorf("%d in ten seconds", passed-informBurst)
	}
	now += int64(time.Hour)
	for range 100 {
		if f.allow(now) {
			passed++
		}
	}
	if passed != 2*informBurst+10 {
		t.Errorf("%d at once after an hour", passed-informBurst-10)
	}
}

// TestInformDoesNotAllocate: neither an answer nor what is asked too often, in clear, in MPPE and in ESP.
func TestInformDoesNotAllocate(t *testing.T) {
	q := question("10.50.0.7", "255.255.255.255", 8)
	for _, mode := range []string{"clear", "mppe", "esp"} {
		t.Run(mode, func(t *testing.T) {
			b, fill := newBench(t, mode == "mppe"), (func())(nil)
			fill = func() { b.upward(q) }
			if mode == "esp" {
				e, client := newESPBench(t, gcm)
				b, fill = e, func() { e.upwardESP(q, client) }
			}
			b.c.inform.set(told())
			run := func() {
				b.c.inform.next = 0
				fill()
				b.arrive(b.f, batchSize)
				b.s.flush()
			}
			run()
			if n := testing.AllocsPerRun(20, run); n != 0 {
				t.Errorf("%v allocations for a batch", n)
			}
			k := b.s.countersOf(b.c)
			if k.InPackets != 22*informBurst || k.OutPackets != 22*informBurst ||
				k.Drops[DropDHCPRate] != 22*(batchSize-informBurst) || b.s.spare.Free() != spareBufs {
				t.Errorf("%d questions, %d answers, %v, %d buffers left", k.InPackets, k.OutPackets, k.Drops.Map(), b.s.spare.Free())
			}
		})
	}
}

// TestInformWithoutBuffers: where no buffer is left the question is dropped, and nothing else happens.
func TestInformWithoutBuffers(t *testing.T) {
	b := newBench(t, false)
	b.c.inform.set(told())
	for b.s.buf() != nil {
	}
	b.upward(question("10.50.0.7", "255.255.255.255", 8))
	b.arrive(b.f, 1)
	b.s.flush()
	if k := b.s.countersOf(b.c); k.Drops[DropNoRoom] != 1 || k.InPackets != 0 || k.OutPackets != 0 {
		t.Errorf("%+v", k)
	}
}
