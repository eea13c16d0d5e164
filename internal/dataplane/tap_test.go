package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/capture/capturetest"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/ppp"
)

// tapped is a call with a tap at each side.
type tapped struct {
	t            *testing.T
	call         *Call
	inner, outer *capture.Tap
}

func tapOn(t *testing.T, c *Call) *tapped {
	t.Helper()
	x := &tapped{t, c, capture.New(capture.Limits{}), capture.New(capture.Limits{})}
	for side, to := range map[Side]*capture.Tap{Inner: x.inner, Outer: x.outer} {
		if err := c.Tap(side, to); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// want checks what a tap has taken since the last time.
func (x *tapped) want(name string, tap *capture.Tap, packets ...[]byte) {
	x.t.Helper()
	x.call.Counters() // the shard is through with what came before
	got := capturetest.Drain(x.t, tap)
	if len(got) != len(packets) {
		x.t.Fatalf("%s: %d packets, want %d", name, len(got), len(packets))
	}
	for i, p := range got {
		if p.Size != len(packets[i]) || !bytes.Equal(p.Data, packets[i]) {
			x.t.Errorf("%s: packet %d is % x\nwant % x", name, i, p.Data, packets[i])
		}
	}
}

// inIP is a payload in an outer packet as ours are.
func inIP(from, to netip.Addr, protocol byte, payload []byte) []byte {
	p := ipv4(from.String(), to.String(), protocol, false, payload)
	p[4], p[5], p[10], p[11] = 0, 0, 0, 0 // the kernel chooses an identification
	binary.BigEndian.PutUint16(p[10:], sum16(p[:20]))
	return p
}

// inUDP is inIP with a header of UDP.
func inUDP(from, to netip.AddrPort, payload []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, from.Port())
	u = binary.BigEndian.AppendUint16(u, to.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	return inIP(from.Addr(), to.Addr(), unix.IPPROTO_UDP, slices.Concat(u, []byte{0, 0}, payload))
}

func TestTapPPTP(t *testing.T) {
	for _, mode := range []string{"clear", "mppe"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t, 2)
			n, dev := l.network(acme)
			s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400, RequireMPPE: mode == "mppe"})
			other := l.open(n, dev, SessionSpec{Address: addr("10.50.0.8"), MTU: 1400})
			if mode == "mppe" {
				s.encrypted()
			}
			x := tapOn(t, s.call)

			up := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
			sent := s.client.data(up)
			s.up(slices.Clone(sent))
			s.inside()
			outside := outer(clientIP, serverIP, sent)
			x.want("from the client", x.inner, up)
			x.want("from the client", x.outer, outside)

			down := echo("192.0.2.9", "10.50.0.7", 2, 100, true)
			s.down(slices.Clone(down))
			p := receive(t, s.wire)[8:]
			x.want("to the client", x.inner, down)
			x.want("to the client", x.outer, inIP(addr(serverIP), addr(clientIP), unix.IPPROTO_GRE, p))
			if mode == "clear" != bytes.Contains(p, down) {
				t.Errorf("outside went % x", p)
			}

			// Control frames both ways, and a bare acknowledgement, are of the outer side only.
			lcp := s.client.frame(ppp.ProtocolLCP, []byte{9, 1, 0, 4})
			s.up(slices.Clone(lcp))
			<-s.sink.frames
			s.call.SendControl(ppp.ProtocolLCP, []byte{10, 1, 0, 4})
			p = receive(t, s.wire)[8:]
			x.want("control", x.outer, outer(clientIP, serverIP, lcp), inIP(addr(serverIP), addr(clientIP), unix.IPPROTO_GRE, p))
			ack := make([]byte, 12)
			copy(ack, []byte{0x20, 0x81, 0x88, 0x0b})
			binary.BigEndian.PutUint16(ack[6:], s.call.ID())
			s.up(ack)
			s.wantThrough(up)
			if got := capturetest.Drain(t, x.outer); len(got) != 2 || !bytes.Equal(got[0].Data[20:], ack) {
				t.Errorf("%d packets, the first % x", len(got), got[0].Data)
			}
			x.want("control", x.inner, up)

			// What is dropped by policy came over the line, and not into the network. Another session is nobody's business.
			spoofed := s.client.data(echo("10.50.0.9", "192.0.2.9", 3, 100, true))
			s.up(slices.Clone(spoofed))
			s.waitDrop(DropSpoofedSource, 1)
			x.want("dropped", x.inner)
			x.want("dropped", x.outer, outer(clientIP, serverIP, spoofed))
			other.wantThrough(echo("10.50.0.8", "192.0.2.9", 1, 100, true))
			other.sync()
			x.want("another's", x.inner)
			x.want("another's", x.outer)

			// A packet in one piece inside goes out as two.
			long := echo("192.0.2.9", "10.50.0.7", 2, 1472, false)
			s.down(long)
			s.atClient()
			s.atClient()
			x.want("long", x.inner, long)
			if got := capturetest.Drain(t, x.outer); len(got) != 2 {
				t.Errorf("%d outer packets", len(got))
			}

			s.call.Untap(x.inner)
			s.wantThrough(up)
			x.want("after Untap", x.inner)
			if got := capturetest.Drain(t, x.outer); len(got) != 1 || !x.inner.Done() || x.outer.Done() {
				t.Errorf("%d outer packets; done %v and %v", len(got), x.inner.Done(), x.outer.Done())
			}
			s.call.Close()
			if !x.outer.Done() {
				t.Error("the tap goes on though the call is closed")
			}
			late := tapOn(t, s.call)
			if !late.inner.Done() || !late.outer.Done() {
				t.Error("a tap at a closed call goes on")
			}
		})
	}
}

// TestTapInform: a question that we answer does not reach the network and is seen all the same, as it counts.
func TestTapInform(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400, Inform: told()})
	x := tapOn(t, s.call)
	asked := question("10.50.0.7", "255.255.255.255", 8)
	s.up(s.client.data(asked))
	_, _, answer := s.atClient()
	x.want("DHCPINFORM", x.inner, asked, answer)
}

// TestTapESP: the outer side is all that goes through the peer's SAs, encrypted, whoever sends it.
func TestTapESP(t *testing.T) {
	for _, encap := range []bool{false, true} {
		t.Run(map[bool]string{false: "raw", true: "udp"}[encap], func(t *testing.T) {
			l := newLab(t, 2)
			n, dev := l.network(acme)
			g, o := l.datagrams(DatagramSpec{IPsec: true})
			e := l.ipsec(g, o, gcm, encap, 1).session(n, dev, "10.50.0.7")
			x := tapOn(t, e.call)
			in := func(p []byte) []byte {
				if encap {
					return inUDP(e.remote, netip.AddrPortFrom(addr(serverIP), 4500), p)
				}
				return ipv4(clientIP, serverIP, unix.IPPROTO_ESP, false, p)
			}
			out := func() []byte {
				p := receive(t, e.fd)
				if encap {
					return inUDP(netip.AddrPortFrom(addr(serverIP), 4500), e.remote, p[10:])
				}
				return inIP(addr(serverIP), addr(clientIP), unix.IPPROTO_ESP, p[8:])
			}

			inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
			sent := e.message(e.data(ppp.ProtocolIPv4, inner))
			e.up(slices.Clone(sent))
			e.inside()
			o.next(t, "used")
			x.want("from the client", x.inner, inner)
			x.want("from the client", x.outer, in(sent))
			back := echo("192.0.2.9", "10.50.0.7", 2, 100, true)
			write(t, dev.far[e.call.Shard()], append(make([]byte, tun.HeaderLen), back...))
			p := out()
			x.want("to the client", x.inner, back)
			x.want("to the client", x.outer, p)

			// L2TP's control messages, both ways.
			hello := []byte{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}
			binary.BigEndian.PutUint16(hello[4:], e.tunnel)
			sent = e.message(hello)
			e.up(slices.Clone(sent))
			o.next(t, "control")
			x.want("control", x.outer, in(sent))
			e.peer.SendControl(e.sport, slices.Clone(hello))
			p = out()
			x.want("control", x.outer, p)
			x.want("control", x.inner)

			// The tap goes with the session to the peer that takes it over, and ends there.
			fresh := l.ipsec(g, newOutside(), gcm, encap, 1)
			if err := e.peer.Merge(fresh.peer); err != nil {
				t.Fatal(err)
			}
			sent = fresh.message(e.data(ppp.ProtocolIPv4, inner))
			fresh.up(slices.Clone(sent))
			e.inside()
			x.want("merged", x.outer, in(sent))
			x.want("merged", x.inner, inner)
			e.call.Untap(x.outer)
			fresh.up(fresh.message(e.data(ppp.ProtocolIPv4, inner)))
			e.inside()
			x.want("after Untap", x.outer)
			again := tapOn(t, e.call)
			e.call.Close()
			if !x.inner.Done() || !again.outer.Done() {
				t.Error("a tap goes on though the call is closed")
			}
			var left int
			fresh.peer.Idle() // the peer is there still
			_ = fresh.peer.shard.do(func(*shard) { left = len(fresh.peer.peer.now().outer) })
			if left != 0 {
				t.Errorf("%d taps are left at the peer", left)
			}
		})
	}
}

func TestTapPlainL2TP(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{Plain: true})
	e := &ipsecEnd{l: l, g: g, sport: 1702, tunnel: 0x21}
	e.session(n, dev, "10.50.0.7")
	x := tapOn(t, e.call)
	from, to := netip.MustParseAddrPort(clientIP+":1702"), netip.AddrPortFrom(addr(serverIP), 1701)
	fd := l.o.udp[1701][e.call.Shard()]

	inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	sent := e.data(ppp.ProtocolIPv4, inner)
	for _, by := range []int{fd, l.o.udp[1701][1-e.call.Shard()]} { // the second comes through the ring
		write(t, by, append(fakeUDPHeader(from, addr(serverIP)), sent...))
		e.inside()
		x.want("from the client", x.inner, inner)
		x.want("from the client", x.outer, inUDP(from, to, sent))
	}
	back := echo("192.0.2.9", "10.50.0.7", 2, 100, true)
	write(t, dev.far[e.call.Shard()], append(make([]byte, tun.HeaderLen), back...))
	p := receive(t, fd)[10:]
	x.want("to the client", x.inner, back)
	x.want("to the client", x.outer, inUDP(to, from, p))
	write(t, fd, append(fakeUDPHeader(netip.MustParseAddrPort(clientIP+":1703"), addr(serverIP)), sent...))
	e.waitDrop(DropL2TPWrongPeer, 1)
	x.want("another's", x.outer)

	// Control messages of the session and of its tunnel, by whichever shard; none of another session or tunnel.
	message := func(tunnel, session uint16, kind byte) []byte {
		m := []byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, kind}
		if kind == 0 {
			m = m[:12]
			m[3] = 12
		}
		binary.BigEndian.PutUint16(m[4:], tunnel)
		binary.BigEndian.PutUint16(m[6:], session)
		return m
	}
	const zlb, stopCCN, hello, icrq, cdn = 0, 4, 6, 10, 14
	id := e.call.ID()
	wrong := map[string][]byte{
		"a call": message(e.tunnel, 0, icrq), "another session": message(e.tunnel, id+16, cdn), "another tunnel": message(e.tunnel+16, id, cdn),
	}
	for _, by := range l.o.udp[1701] {
		for _, m := range [][]byte{message(e.tunnel, id, cdn), message(e.tunnel, 0, hello), message(e.tunnel, 0, stopCCN), message(e.tunnel, 0, zlb)} {
			write(t, by, append(fakeUDPHeader(from, addr(serverIP)), m...))
			o.next(t, "plain")
			x.want("control", x.outer, inUDP(from, to, m))
		}
		for name, m := range wrong {
			write(t, by, append(fakeUDPHeader(from, addr(serverIP)), m...))
			o.next(t, "plain")
			x.want(name, x.outer)
		}
		write(t, by, append(fakeUDPHeader(netip.MustParseAddrPort(clientIP+":1703"), addr(serverIP)), message(e.tunnel, id, cdn)...))
		o.next(t, "plain")
		x.want("another peer", x.outer)
	}
	send := func(to netip.AddrPort, m []byte) {
		g.SendPlainL2TP(addr(serverIP), to, slices.Clone(m))
		l.d.ShardStats() // all shards have done it
	}
	for _, m := range [][]byte{message(7, 9, cdn), message(7, 0, hello)} {
		send(from, m)
		x.want("control", x.outer, inUDP(to, from, m))
	}
	send(from, message(7, 0, icrq))
	send(netip.MustParseAddrPort("203.0.113.77:1702"), message(7, 9, cdn))
	x.want("another's", x.outer)
	x.want("control", x.inner)

	left := func() (n int) {
		_ = l.d.onAll(func(s *shard) {
			if s.id == 0 {
				n = len(s.controlTaps)
			}
		})
		return n
	}
	again := tapOn(t, e.call)
	if left() != 2 {
		t.Errorf("%d taps", left())
	}
	e.call.Untap(x.outer)
	x.want("after Untap", x.outer)
	if left() != 1 {
		t.Errorf("%d taps after Untap", left())
	}
	e.call.Close()
	if left() != 0 || !again.outer.Done() {
		t.Errorf("%d taps after Close, done %v", left(), again.outer.Done())
	}
}

// TestTapDoesNotAllocate: what passes while it is captured allocates no more than else, with a reader that keeps up and with
// one that stalls.
func TestTapDoesNotAllocate(t *testing.T) {
	up, down := echo("10.50.0.7", "192.0.2.9", 1, 1300, true), echo("192.0.2.9", "10.50.0.7", 1, 1300, true)
	for _, reads := range []bool{true, false} {
		room := make([]byte, 0, 256<<10)
		run := func(b *bench, upward func()) {
			inner, outer := capture.New(capture.Limits{}), capture.New(capture.Limits{})
			b.c.tap(Inner, inner)
			b.c.tap(Outer, outer)
			both := func() {
				upward()
				b.arrive(b.f, batchSize)
				b.s.flush()
				b.downward(down)
				b.s.flush()
				if reads {
					for len(inner.Read(room)) > 0 || len(outer.Read(room)) > 0 {
						continue
					}
				}
			}
			both()
			if n := testing.AllocsPerRun(40, both); n != 0 {
				t.Errorf("%v allocations for a batch", n)
			}
			b.check(40*batchSize, 40*batchSize)
			if stalled := inner.Missed() > 0 && outer.Missed() > 0; stalled == reads {
				t.Errorf("missed %d and %d", inner.Missed(), outer.Missed())
			}
		}
		b := newBench(t, true)
		run(b, func() { b.upward(up) })
		e, client := newESPBench(t, gcm)
		run(e, func() { e.upwardESP(up, client) })
	}
}

// BenchmarkTap is BenchmarkOutbound with and without taps: what a capture costs its own session.
func BenchmarkTap(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "inner"}[on]+"/1400B", func(b *testing.B) {
			x := newBench(b, true)
			tap := capture.New(capture.Limits{})
			if on {
				x.c.tap(Inner, tap)
			}
			room := make([]byte, 0, 2*batchSize*pktbuf.MaxRead)
			p := echo("192.0.2.9", "10.50.0.7", 1, 1372, true)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batchSize == 0 {
					x.downward(p)
					x.s.flush()
					tap.Read(room)
				}
			}
		})
	}
}
