package dataplane

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/tenant"
)

// acl compiles rules of the form "PERMIT UP icmp 10.50.0.7/32 192.0.2.0/24": both prefixes may be left out, or "any".
func acl(t testing.TB, rules ...string) *policy.ACL {
	t.Helper()
	var list []tenant.ACLRule
	for _, text := range rules {
		words := strings.Fields(text)
		r := tenant.ACLRule{
			Action: tenant.ACLAction(words[0]), Direction: tenant.ACLDirection(words[1]), Protocol: words[2],
		}
		for i, to := range []*[]netip.Prefix{&r.Sources, &r.Destinations} {
			if len(words) > 3+i && words[3+i] != "any" {
				*to = []netip.Prefix{prefix(words[3+i])}
			}
		}
		list = append(list, r)
	}
	a, err := policy.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestACL: what is denied goes no further and counts as nothing but a drop of the session, either way.
func TestACL(t *testing.T) {
	for _, mode := range []string{"clear", "mppe"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t, 2)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), ACL: acl(t,
				"DENY UP icmp any 192.0.2.66/32", "PERMIT UP icmp any 192.0.2.0/24", "PERMIT DOWN icmp 192.0.2.9/32")})
			if mode == "mppe" {
				s.encrypted()
			}
			for _, to := range []string{"192.0.2.66", "192.0.3.1"} {
				s.up(s.client.data(echo("10.50.0.7", to, 1, 10, true)))
			}
			s.waitDrop(DropACL, 2)
			good := echo("10.50.0.7", "192.0.2.65", 1, 10, true)
			s.up(s.client.data(good))
			if p := s.inside(); !bytes.Equal(p, good) {
				t.Errorf("% x came through", p)
			}
			s.down(echo("192.0.2.65", "10.50.0.7", 1, 10, true))
			s.waitDrop(DropACL, 3)
			good = echo("192.0.2.9", "10.50.0.7", 2, 10, true)
			s.down(good)
			if _, _, p := s.atClient(); !bytes.Equal(p, good) {
				t.Errorf("% x came through", p)
			}
			if k := s.call.Close(); k.InPackets != 1 || k.OutPackets != 1 || len(k.Drops.Map()) != 1 {
				t.Errorf("counted %d in, %d out, %v", k.InPackets, k.OutPackets, k.Drops.Map())
			}
		})
	}
}

// TestACLAndOwnAnswers: what is denied is not answered, and what we answer ourselves is not filtered.
func TestACLAndOwnAnswers(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 1000, ACL: acl(t,
		"DENY UP any", "DENY DOWN any 192.0.2.66/32", "PERMIT DOWN any")})
	s.down(echo("192.0.2.66", "10.50.0.7", 1, 1300, true))
	s.waitDrop(DropACL, 1)
	s.down(echo("192.0.2.9", "10.50.0.7", 1, 1300, true))
	p := s.inside() // the first: the denied packet brought none
	if netip.AddrFrom4([4]byte(p[16:])) != addr("192.0.2.9") || p[9] != 1 || p[20] != 3 || p[21] != 4 {
		t.Errorf("not the answer to the second packet: % x", p)
	}
	s.waitDrop(DropTooBig, 1)
	// Control frames have nothing to do with it.
	s.up(s.client.frame(0xc021, []byte{9, 1, 0, 4}))
	if f := <-s.sink.frames; f.protocol != 0xc021 {
		t.Errorf("delivered %+v", f)
	}
}

// TestACLBeforeCutting: of a packet that will be cut the whole is judged, so that ports permit all its pieces.
func TestACLBeforeCutting(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	a, err := policy.Compile([]tenant.ACLRule{{
		Action: tenant.ACLPermit, Direction: tenant.ACLDown, Protocol: "udp",
		SourcePorts: []tenant.PortRange{{First: 53, Last: 53}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 600, ACL: a})
	datagram := make([]byte, 1300)
	datagram[1], datagram[3] = 53, 99
	s.down(ipv4("192.0.2.9", "10.50.0.7", 17, false, datagram))
	total := 0
	for total < len(datagram) {
		_, _, p := s.atClient()
		total += len(p) - 20
	}
	datagram[1] = 54
	s.down(ipv4("192.0.2.9", "10.50.0.7", 17, false, datagram))
	s.waitDrop(DropACL, 1)
}

// TestSetPolicy changes the ACL and the rates of a session that lives.
func TestSetPolicy(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), ACL: acl(t, "DENY UP any")})
	up, down := echo("10.50.0.7", "192.0.2.9", 1, 1000, true), echo("192.0.2.9", "10.50.0.7", 1, 1000, true)
	s.up(s.client.data(up))
	s.waitDrop(DropACL, 1)

	s.call.SetPolicy(0, 0, nil)
	s.up(s.client.data(up))
	s.inside()
	s.down(down)
	s.atClient()

	s.call.SetPolicy(0, 0, acl(t, "DENY DOWN any"))
	s.down(down)
	s.waitDrop(DropACL, 2)
	s.up(s.client.data(up))
	s.inside()

	// The rates as well, and all at once: with one that lets no second packet through the ACL is gone.
	s.call.SetPolicy(0, tenant.MinRateBps, nil)
	for range 200 {
		s.down(down)
	}
	s.sync()
	for end := time.Now().Add(patience); s.call.Counters().Drops[DropRateLimit] == 0; {
		if time.Now().After(end) {
			t.Fatal("nothing is over the new rate")
		}
	}
	if k := s.call.Counters(); k.Drops[DropACL] != 2 {
		t.Errorf("dropped %v", k.Drops.Map())
	}

	// Attach brings its own again.
	if err := s.call.Attach(n, SessionSpec{Address: addr("10.50.0.7"), ACL: acl(t, "DENY UP any")}); err != nil {
		t.Fatal(err)
	}
	s.up(s.client.data(up))
	s.waitDrop(DropACL, 3)
	s.call.Close()
	s.call.SetPolicy(1000, 1000, acl(t, "PERMIT UP any")) // too late: nothing happens
	s.sync()
}

// fullACL has as many rules as may be, of which the last permits everything.
func fullACL(t testing.TB) *policy.ACL {
	t.Helper()
	rules := make([]tenant.ACLRule, tenant.MaxACLRules)
	for i := range rules {
		host := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32)
		rules[i] = tenant.ACLRule{
			Action: tenant.ACLDeny, Direction: tenant.ACLBoth, Protocol: "tcp",
			Sources: []netip.Prefix{host}, Destinations: []netip.Prefix{host},
			DestinationPorts: []tenant.PortRange{{First: uint16(i), Last: uint16(2 * i)}},
		}
	}
	rules[len(rules)-1] = tenant.ACLRule{Action: tenant.ACLPermit, Direction: tenant.ACLBoth}
	a, err := policy.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACLDoesNotAllocate(t *testing.T) {
	for name, c := range map[string]struct {
		a      *policy.ACL
		passes uint64
	}{"permitted": {fullACL(t), batchSize}, "denied": {acl(t, "DENY BOTH any"), 0}} {
		t.Run(name, func(t *testing.T) {
			b, client := newESPBench(t, gcm)
			b.c.acl = c.a
			up, down := echo("10.50.0.7", "192.0.2.9", 1, 1300, true), echo("192.0.2.9", "10.50.0.7", 1, 1300, true)
			run := func() {
				b.upwardESP(up, client)
				b.arrive(b.f, batchSize)
				b.s.flush()
				b.downward(down)
				b.s.flush()
			}
			run()
			if n := testing.AllocsPerRun(20, run); n != 0 {
				t.Errorf("%v allocations for a batch", n)
			}
			const runs = 22 // ours, AllocsPerRun's and the one that it begins with
			k := b.s.countersOf(b.c)
			passed, denied := runs*c.passes, runs*(batchSize-c.passes)
			if k.InPackets != passed || k.OutPackets != passed || k.Drops[DropACL] != 2*denied {
				t.Errorf("%d came in, %d went out, dropped %v", k.InPackets, k.OutPackets, k.Drops.Map())
			}
		})
	}
}

// BenchmarkACL is BenchmarkOutbound in clear, where what an ACL costs shows most.
func BenchmarkACL(b *testing.B) {
	for name, a := range map[string]*policy.ACL{"none": nil, "1": acl(b, "PERMIT DOWN icmp"), "1000": fullACL(b)} {
		b.Run(name, func(b *testing.B) {
			x := newBench(b, false)
			x.c.acl = a
			p := echo("192.0.2.9", "10.50.0.7", 1, 64, true)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batchSize == 0 {
					x.downward(p)
					x.s.flush()
				}
			}
		})
	}
}

// TestRealACL: on real sockets and a real device a session reaches what its ACL permits, and what another one permits as
// soon as that is set.
func TestRealACL(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	const me, gateway = "10.50.0.7", "10.50.0.1"
	c := r.session(SessionSpec{Address: addr(me), MTU: 1400, ACL: acl(t,
		"PERMIT UP icmp any "+realHost+"/32", "DENY UP any", "PERMIT DOWN icmp "+realHost+"/32")})
	c.ping(me, realHost, 1, 100)
	c.send(c.data(echo(me, gateway, 2, 100, true)))
	c.waitDrop(DropACL)

	c.call.SetPolicy(0, 0, acl(t, "DENY UP any any "+realHost+"/32", "PERMIT UP any"))
	c.call.Counters()
	c.ping(me, gateway, 3, 100)
	c.send(c.data(echo(me, realHost, 4, 100, true)))
	for end := time.Now().Add(patience); c.call.Counters().Drops[DropACL] < 2; {
		if time.Now().After(end) {
			t.Fatal("the host is still reached")
		}
	}

	// TCP from the host is let through by its protocol, and its SYN is clamped as ever.
	c.call.SetPolicy(0, 0, acl(t, "DENY DOWN icmp", "PERMIT DOWN tcp "+realHost+"/32"))
	c.call.Counters()
	connectFrom(t, r.host, me)
	p := c.inner()
	if mss, ok := mssOf(p); p[9] != unix.IPPROTO_TCP || !ok || mss != 1360 {
		t.Errorf("not a SYN with an MSS of 1360, but %d %v: % x", mss, ok, p)
	}
	c.call.SetPolicy(0, 0, acl(t, "PERMIT DOWN icmp"))
	before := c.call.Counters()
	connectFrom(t, r.host, me)
	for end := time.Now().Add(patience); ; {
		k := c.call.Counters()
		if k.Drops[DropACL] > before.Drops[DropACL] {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("TCP is still let through: %v", k.Drops.Map())
		}
	}
	if k := c.call.Counters(); k.OutPackets != before.OutPackets {
		t.Errorf("%d packets went out to the client", k.OutPackets-before.OutPackets)
	}
}

// connectFrom begins a TCP connection to port 80 of an address from a namespace, and waits for nothing.
func connectFrom(t *testing.T, ns, to string) {
	t.Helper()
	h, err := netns.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var fd int
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr(to).As4(), Port: 80}); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect: %v", err)
	}
}
