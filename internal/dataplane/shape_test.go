package dataplane

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/policy"
	"concentrator/internal/dataplane/tun"
)

// offer carries ten batches of inner packets of n octets a simulated millisecond apart and returns how long that took.
func (b *bench) offer(inner []byte, batch func(inner []byte), rounds int) (took time.Duration) {
	b.t.Helper()
	for range rounds {
		batch(inner)
		b.s.flush()
		b.s.now += int64(time.Millisecond)
		took += time.Millisecond
		b.s.runShapers()
		b.s.flush()
	}
	return took
}

// TestRateLimit: of ten times the rate the rate comes through, either way, the rest is counted, and nothing stays behind.
func TestRateLimit(t *testing.T) {
	const bps = 2_000_000
	b, client := newESPBench(t, gcm)
	up, down := echo("10.50.0.7", "192.0.2.9", 1, 1300, true), echo("192.0.2.9", "10.50.0.7", 1, 1300, true)
	b.c.l2tp.peer.carry(b.c)
	b.s.setRates(b.c, bps, bps)
	upBatch := func(inner []byte) {
		b.upwardESP(inner, client)
		b.arrive(b.f, batchSize)
	}
	took := b.offer(up, upBatch, 1000) + b.offer(down, b.downward, 1000)
	k := b.s.countersOf(b.c)
	rate := float64(bps) / 8 * (took / 2).Seconds()
	most := rate*1.01 + bps/8*0.16 // and the burst, 50 ms, and what waited at the end, 100 ms
	for way, got := range map[string]uint64{"in": k.InBytes, "out": k.OutBytes} {
		if float64(got) < rate*0.99 || float64(got) > most {
			t.Errorf("%s: %d octets, want %.0f to %.0f", way, got, rate, most)
		}
	}
	sent := uint64(2000 * batchSize)
	if passed, lost := k.InPackets+k.OutPackets, k.Drops[DropRateLimit]; passed+lost+uint64(b.c.up.Queued()+b.c.down.Queued()) != sent {
		t.Errorf("%d passed, %d dropped, %d and %d wait; %d were sent", passed, lost, b.c.up.Queued(), b.c.down.Queued(), sent)
	}
	if b.c.down.Queued() == 0 {
		t.Error("nothing waits towards the client")
	}
	// What is not worth it is not decrypted: the SA has seen far fewer packets than came.
	if opened := b.c.l2tp.peer.out.in.Bytes() / uint64(len(up)); opened > sent/2/4 {
		t.Errorf("%d packets of %d were decrypted", opened, sent/2)
	}

	b.s.setRates(b.c, 0, 0)
	b.s.now += int64(time.Second)
	b.s.runShapers()
	if free := b.s.shaped.Free(); free != shapedBufs || len(b.s.shaping) != 0 {
		t.Errorf("%d buffers are free, %d calls wait", free, len(b.s.shaping))
	}
	before := b.s.countersOf(b.c)
	b.downward(down)
	b.s.flush()
	if k := b.s.countersOf(b.c); k.OutPackets != before.OutPackets+batchSize {
		t.Errorf("without a limit %d of %d packets went out", k.OutPackets-before.OutPackets, batchSize)
	}
}

// TestRateLimitEnds: what waits when a call ends goes back to the pool, and nobody looks for it any more.
func TestRateLimitEnds(t *testing.T) {
	b := newBench(t, false)
	b.s.addCall(b.c)
	b.s.setRates(b.c, 100_000, 100_000)
	b.downward(echo("192.0.2.9", "10.50.0.7", 1, 1300, true))
	b.s.flush()
	if b.s.shaped.Free() == shapedBufs || len(b.s.shaping) != 1 {
		t.Fatal("nothing waits")
	}
	b.s.removeCall(b.c)
	b.s.now += int64(time.Second)
	b.s.runShapers()
	if free := b.s.shaped.Free(); free != shapedBufs || len(b.s.shaping) != 0 {
		t.Errorf("%d buffers are free, %d calls wait", free, len(b.s.shaping))
	}
}

// TestControlPassesLimits: a session that is over its rate both ways still gets its control frames.
func TestControlPassesLimits(t *testing.T) {
	b, client := newESPBench(t, gcm)
	w := &wire{}
	b.f.udp = w
	b.c.l2tp.peer.carry(b.c)
	b.s.setRates(b.c, 10_000, 10_000)
	for range 3 {
		b.upwardESP(echo("10.50.0.7", "192.0.2.9", 1, 1300, true), client)
		b.arrive(b.f, batchSize)
		b.downward(echo("192.0.2.9", "10.50.0.7", 1, 1300, true))
		b.s.flush()
	}
	before := len(w.sent)
	b.s.sendControl(b.c, 0xc021, []byte{9, 1, 0, 8, 1, 2, 3, 4})
	b.s.flush()
	if len(w.sent) != before+1 {
		t.Errorf("%d packets left, want the echo", len(w.sent)-before)
	}
	if d := b.s.worth(b.c.l2tp.peer, 100); d != Pass {
		t.Errorf("a short packet is dropped before it is looked at: %v", d)
	}
}

// wire is a UDP socket that remembers what was sent.
type wire struct {
	nowhereUDP
	sent []netio.Message
	asks int
}

func (w *wire) WriteBatch(m []netio.Message) int {
	w.sent = append(w.sent, m...)
	return len(m)
}

func (w *wire) WantTOS() error {
	w.asks++
	return nil
}

// TestDSCP: with UNIFORM the field crosses both ways and ECN stays, with PIPE neither header knows of the other.
func TestDSCP(t *testing.T) {
	for name, u := range map[string]struct {
		model         policy.DSCP
		outer, inward uint8 // wanted: of the outer packet to the client, and of the inner one from it
	}{
		"pipe":    {policy.Pipe, 0, 0x29},
		"uniform": {policy.Uniform, 0x28, 0xb9},
	} {
		t.Run(name, func(t *testing.T) {
			b, client := newESPBench(t, gcm)
			w := &wire{}
			b.f.udp = w
			b.s.faces[b.f.index] = b.f
			b.c.attach(b.s, b.n, SessionSpec{Address: addr("10.50.0.7"), MTU: 1400, DSCP: u.model})
			if (w.asks > 0) != (u.model == policy.Uniform) {
				t.Errorf("Types of Service were asked for %d times", w.asks)
			}
			marked := func(src, dst string) []byte {
				p := echo(src, dst, 1, 100, true)
				p[1] = 0x29 // AF11 and ECN-capable
				p[10], p[11] = 0, 0
				sum := sum16(p[:20])
				p[10], p[11] = byte(sum>>8), byte(sum)
				return p
			}
			b.downward(marked("192.0.2.9", "10.50.0.7"))
			b.s.flush()
			if len(w.sent) != batchSize || w.sent[7].TOS != u.outer {
				t.Fatalf("%d packets with %#x, want %#x", len(w.sent), w.sent[7].TOS, u.outer)
			}
			queue, far, err := pair()
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(queue)
			defer unix.Close(far)
			b.n.queue = tun.Queue{FD: queue}
			b.upwardESP(marked("10.50.0.7", "192.0.2.9"), client)
			for i := range batchSize {
				b.s.datagrams[i].TOS = 0xb8 // EF
			}
			b.arrive(b.f, 1)
			b.s.flush()
			p := make([]byte, 2000)
			n, err := unix.Read(far, p)
			if err != nil {
				t.Fatal(err)
			}
			if p = p[tun.HeaderLen:n]; p[1] != u.inward || sum16(p[:20]) != 0 {
				t.Errorf("the inner packet has %#x and sum %#x, want %#x", p[1], sum16(p[:20]), u.inward)
			}
		})
	}
}

// TestShare: on an overloaded shard a flood doesn't take what the others need.
func TestShare(t *testing.T) {
	b, _ := newESPBench(t, gcm)
	flood, modest := b.c.l2tp.peer, &peer{}
	var lost, asked, refused int
	for step := range 200_000 {
		b.s.now += 2_000 // what a packet costs
		if step%batchSize == 0 {
			b.s.fairIn.Batch(batchSize, true, b.s.now)
		}
		switch {
		case step%16 != 0:
			if b.s.worth(flood, 1400) != Pass {
				refused++
			}
		case b.s.worth(modest, 1400) != Pass:
			lost++
			fallthrough
		default:
			asked++
		}
	}
	if lost*100 > asked || refused < 1000 {
		t.Errorf("the modest one lost %d of %d, the flood %d", lost, asked, refused)
	}
}

// TestShapedBuffersAreNotFreeTooSoon: more packets than a batch leave their queue at once. What waits to be sent is not in the
// pool.
func TestShapedBuffersAreNotFreeTooSoon(t *testing.T) {
	b, _ := newESPBench(t, gcm)
	b.s.setRates(b.c, 0, 1_000_000)
	for range 4 {
		b.downward(echo("192.0.2.9", "10.50.0.7", 1, 40, true))
		b.s.flush()
	}
	if n := b.c.down.Queued(); n <= batchSize {
		t.Fatalf("only %d packets wait", n)
	}
	b.s.setRates(b.c, 0, 10_000_000_000)
	b.s.now += int64(time.Second)
	b.s.runShapers()
	if pending := len(b.s.lent); b.s.shaped.Free()+pending != shapedBufs {
		t.Errorf("%d buffers are free while %d wait to be sent", b.s.shaped.Free(), pending)
	}
	b.s.flush()
	if free := b.s.shaped.Free(); free != shapedBufs {
		t.Errorf("%d buffers are free", free)
	}
}
