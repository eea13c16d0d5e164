package dataplane

import (
	"encoding/binary"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/ppp"
)

// nowhere is a GRE socket that takes everything.
type nowhere struct{}

func (nowhere) FD() int                                { return -1 }
func (nowhere) ReadBatch([][]byte, []int) (int, error) { return 0, unix.EAGAIN }
func (nowhere) WriteBatch(m []netio.Message) int       { return len(m) }
func (nowhere) Backlogged() bool                       { return false }
func (nowhere) Admit(uint32, bool) error               { return nil }
func (nowhere) Refused() (uint64, uint64, error)       { return 0, 0, nil }
func (nowhere) Close() error                           { return nil }

// bench is a shard without a goroutine, with one open session whose network is /dev/null.
type bench struct {
	t       testing.TB
	s       *shard
	f       *face
	n       *network
	c       *call
	client  *client
	packet  pktbuf.Buf // that is being made
	sealing [1]esp.SealOp
}

func newBench(t testing.TB, encrypted bool) *bench {
	t.Helper()
	s, err := newShard(0, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.release()
		_ = unix.Close(null)
	})
	s.peers = []*shard{s}
	b := &bench{t: t, s: s, f: &face{index: 1, sock: nowhere{}}}
	b.n = &network{index: 2, queue: tun.Queue{FD: null}, table: &prefixes{}, gateway: [4]byte{10, 50, 0, 1}}
	c := newCall(0x10, CallSpec{Local: addr(serverIP), Remote: addr(clientIP), PeerCallID: 99, Sink: newSink()}, b.f, s)
	b.c = c
	s.addCall(c)
	c.attach(b.s, b.n, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400, RequireMPPE: encrypted})
	c.open = true
	b.n.table.set(prefix("10.50.0.7/32"), &entry{net: b.n, shard: 0, call: c})
	b.client = newClient(t, c.id, 99)
	if encrypted {
		c.decrypt, c.encrypt = mppe.NewReceiver(keyUp), mppe.NewSender(keyDown)
		b.client.withMPPE(keyUp, keyDown)
	}
	return b
}

// newESPBench is newBench for an L2TP session in ESP in UDP, and the client's end of the SA.
func newESPBench(t testing.TB, u suite) (*bench, *esp.Outbound) {
	t.Helper()
	b := newBench(t, false)
	in, err := esp.NewInbound(u.params(0x100010, 1))
	if err != nil {
		t.Fatal(err)
	}
	out, err := esp.NewOutbound(u.params(peerSPI, 2))
	if err != nil {
		t.Fatal(err)
	}
	client, err := esp.NewOutbound(u.params(0x100010, 1))
	if err != nil {
		t.Fatal(err)
	}
	b.f = &face{kind: faceNATT, index: 3, udp: nowhereUDP{}}
	p := &peer{
		local: addr(serverIP).As4(), remote: addr(clientIP).As4(), port: 4500, udp: b.f, sink: newOutside(),
	}
	p.out = &sa{spi: 0x100010, in: in, out: out, peer: p, encap: true, used: true}
	b.s.addSA(p.out)
	b.c.gre, b.c.face = nil, nil
	b.c.l2tp = &l2tpCall{peer: p, port: 1701, localTunnel: 0x20, peerTunnel: 7, peerSession: 9}
	return b, client
}

// upwardESP is upward for newESPBench.
func (b *bench) upwardESP(inner []byte, client *esp.Outbound) {
	p := &b.packet
	for i := range batchSize {
		p.SetBytes(inner)
		putFrameHeader(p, ppp.ProtocolIPv4, false, false)
		l2tpdata.Prepend(p, b.c.l2tp.localTunnel, b.c.id, nil)
		l2tpdata.PrependUDP(p, 1701)
		b.sealing[0] = esp.SealOp{SA: client, Buf: p, NextHeader: unix.IPPROTO_UDP}
		esp.SealBatch(b.sealing[:], b.s.espScratch) // Seal would borrow a Scratch, which the race detector makes dear
		b.s.datagrams[i] = netio.Datagram{
			Size: copy(b.s.areas[i], p.Bytes()), From: b.c.remote, FromPort: 4500, To: b.c.local,
		}
	}
}

// nowhereUDP is a UDP socket that takes everything.
type nowhereUDP struct{ nowhere }

func (nowhereUDP) WantTOS() error                                    { return nil }
func (nowhereUDP) ReadBatch([][]byte, []netio.Datagram) (int, error) { return 0, unix.EAGAIN }

func TestESPDoesNotAllocate(t *testing.T) {
	for name, u := range suites {
		t.Run(name, func(t *testing.T) {
			b, client := newESPBench(t, u)
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
			b.check(20*batchSize, 20*batchSize)
		})
	}
}

// TestForgedESPDoesNotAllocate: what an attacker can send.
func TestForgedESPDoesNotAllocate(t *testing.T) {
	b, client := newESPBench(t, gcm)
	inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	run := func() {
		b.upwardESP(inner, client)
		for i := range batchSize {
			b.s.areas[i][i%12] ^= 1 // in the SPI, the number, the IV or behind
		}
		b.arrive(b.f, batchSize)
		b.s.flush()
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
	if k := b.s.countersOf(b.c); k.InPackets != 0 || b.s.stats.Drops[DropESPAuth] == 0 || b.s.stats.Drops[DropESPUnknownSPI] == 0 {
		t.Errorf("%d packets came through; drops %v", k.InPackets, b.s.stats.Drops.Map())
	}
}

// upward makes one batch of GRE packets in s.in, as a read would.
func (b *bench) upward(inner []byte) {
	var p pktbuf.Buf
	for i := range batchSize {
		protocol := ppp.ProtocolIPv4
		p.SetBytes(inner)
		if b.client.encrypt != nil {
			binary.BigEndian.PutUint16(p.Prepend(2), ppp.ProtocolIPv4)
			b.client.encrypt.Seal(&p, b.client.scratch)
			protocol = ppp.ProtocolCompressed
		}
		putFrameHeader(&p, protocol, false, false)
		b.client.gre.Wrap(&p)
		head := p.Prepend(20)
		clear(head)
		head[0], head[9] = 0x45, unix.IPPROTO_GRE
		copy(head[12:], b.c.remote[:])
		copy(head[16:], b.c.local[:])
		b.s.sizes[i] = copy(b.s.areas[i], p.Bytes())
	}
}

// arrive takes the first n packets of s.in, as if they had just been read from f.
func (b *bench) arrive(f *face, n int) {
	b.s.used = n
	for i := range n {
		b.s.takeWire(f, i)
	}
}

// downward takes a batch of equal packets, as if they had just been read from the network's queue.
func (b *bench) downward(inner []byte) {
	b.s.used = batchSize
	for i := range batchSize {
		b.s.in[i].SetBytes(inner)
		b.s.takeTUN(b.n, &b.s.in[i])
	}
}

func (b *bench) check(in, out uint64) {
	b.t.Helper()
	k := b.s.countersOf(b.c)
	if k.InPackets < in || k.OutPackets < out {
		b.t.Fatalf("only %d in and %d out came through: %v", k.InPackets, k.OutPackets, b.s.stats.Drops)
	}
}

func modes(t *testing.T, f func(t *testing.T, encrypted bool)) {
	t.Run("clear", func(t *testing.T) { f(t, false) })
	t.Run("mppe", func(t *testing.T) { f(t, true) })
}

func TestInboundDoesNotAllocate(t *testing.T) {
	modes(t, func(t *testing.T, encrypted bool) {
		b := newBench(t, encrypted)
		p := echo("10.50.0.7", "192.0.2.9", 1, 1300, true)
		run := func() {
			b.upward(p)
			b.arrive(b.f, batchSize)
			b.s.flush()
			b.s.runTimers()
		}
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%v allocations for a batch", n)
		}
		b.check(20*batchSize, 0)
	})
}

// TestReorderedDoesNotAllocate swaps neighbours, so that half of the packets are kept for a while.
func TestReorderedDoesNotAllocate(t *testing.T) {
	modes(t, func(t *testing.T, encrypted bool) {
		b := newBench(t, encrypted)
		p := echo("10.50.0.7", "192.0.2.9", 1, 1300, true)
		tmp := make([]byte, pktbuf.MaxRead)
		run := func() {
			b.upward(p)
			for i := 0; i < batchSize; i += 2 {
				copy(tmp, b.s.areas[i])
				copy(b.s.areas[i], b.s.areas[i+1])
				copy(b.s.areas[i+1], tmp)
			}
			b.arrive(b.f, batchSize)
			b.s.flush()
		}
		// The first packet ever opens the sequence: let it be in order.
		b.upward(p)
		b.arrive(b.f, batchSize)
		b.s.flush()
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%v allocations for a batch", n)
		}
		b.check(20*batchSize, 0)
	})
}

func TestOutboundDoesNotAllocate(t *testing.T) {
	for name, inner := range map[string][]byte{
		"whole":   echo("192.0.2.9", "10.50.0.7", 1, 1300, true),
		"cut":     echo("192.0.2.9", "10.50.0.7", 1, 1460, false),
		"too big": echo("192.0.2.9", "10.50.0.7", 1, 1460, true),
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, encrypted bool) {
				b := newBench(t, encrypted)
				run := func() {
					b.downward(inner)
					b.s.flush()
				}
				run()
				if n := testing.AllocsPerRun(20, run); n != 0 {
					t.Errorf("%v allocations for a batch", n)
				}
				if name != "too big" {
					b.check(0, 20*batchSize)
				} else if got := b.s.stats.Drops[DropTooBig]; got < 20*batchSize {
					t.Errorf("%d too big", got)
				}
			})
		})
	}
}

// TestDropsDoNotAllocate: what an attacker can send.
func TestDropsDoNotAllocate(t *testing.T) {
	b := newBench(t, true)
	garbage := outer(clientIP, serverIP, b.client.data(echo("10.50.0.7", "192.0.2.9", 1, 100, true)))
	binary.BigEndian.PutUint32(garbage[28:], 1<<30)
	unknown := slices.Clone(garbage)
	unknown[26] ^= 0x40
	run := func() {
		for i := range batchSize {
			p := garbage
			if i%2 == 0 {
				p = unknown
			}
			b.s.sizes[i] = copy(b.s.areas[i], p)
		}
		b.arrive(b.f, batchSize)
		b.s.flush()
	}
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
	if got := b.s.stats.Drops[DropGREUnknownCall]; got < 20*batchSize/2 {
		t.Errorf("%d unknown calls", got)
	}
	b.check(0, 0)
}

func TestRingDoesNotAllocate(t *testing.T) {
	b := newBench(t, true)
	b.s.networks[b.n.index] = b.n
	p := echo("192.0.2.9", "10.50.0.7", 1, 100, true)
	run := func() {
		b.s.pass(0, true, b.n.index, p)
		b.s.runRing()
		b.s.flush()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
	b.check(0, 100)
}

// Benchmarks include making the packets on the way in, and no system call but the write to /dev/null.
func BenchmarkInbound(b *testing.B) {
	for name, encrypted := range map[string]bool{"pptp": false, "pptp-mppe128": true} {
		b.Run(name+"/1400B", func(b *testing.B) {
			x := newBench(b, encrypted)
			p := echo("10.50.0.7", "192.0.2.9", 1, 1372, true)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batchSize == 0 {
					x.upward(p)
					x.arrive(x.f, batchSize)
					x.s.flush()
				}
			}
		})
	}
}

// BenchmarkESP is the same for L2TP in ESP. Making the packets counts on the way in.
func BenchmarkESP(b *testing.B) {
	for name, u := range suites {
		b.Run("in/"+name+"/1400B", func(b *testing.B) {
			x, client := newESPBench(b, u)
			p := echo("10.50.0.7", "192.0.2.9", 1, 1372, true)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%batchSize == 0 {
					x.upwardESP(p, client)
					x.arrive(x.f, batchSize)
					x.s.flush()
				}
			}
		})
		b.Run("out/"+name+"/1400B", func(b *testing.B) {
			x, _ := newESPBench(b, u)
			p := echo("192.0.2.9", "10.50.0.7", 1, 1372, true)
			b.SetBytes(int64(len(p)))
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

// BenchmarkOutbound is BenchmarkInbound's counterpart.
func BenchmarkOutbound(b *testing.B) {
	for name, encrypted := range map[string]bool{"pptp": false, "pptp-mppe128": true} {
		b.Run(name+"/1400B", func(b *testing.B) {
			x := newBench(b, encrypted)
			p := echo("192.0.2.9", "10.50.0.7", 1, 1372, true)
			b.SetBytes(int64(len(p)))
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
