package traffic

import (
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	wireppp "concentrator/internal/wire/ppp"
)

// bench is both threads of a run, driven by hand.
type bench struct {
	*world
	st        *state
	client    *client
	responder *responding
}

func newBench(t testing.TB, cfg Config) *bench {
	w := newWorld(t, 4, true)
	cfg.Paths, cfg.Responder, cfg.Duration = w.paths, w.responder, time.Hour
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	st := &state{cfg: &cfg, began: time.Now(), sessions: newSessions(w.paths)}
	clients, err := newClients(st)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newResponding(st)
	if err != nil {
		t.Fatal(err)
	}
	clients[0].start()
	r.start()
	t.Cleanup(func() {
		if err := closeAll(clients, r); err != nil {
			t.Error(err)
		}
		for _, c := range w.inner {
			_ = c.Close()
		}
		_ = w.server.Close()
		_ = w.responder.Close()
	})
	return &bench{w, st, clients[0], r}
}

// answer is a server that sends a batch of packets to the clients by hand.
type answer struct {
	*bench
	sender  *sender
	fd      int
	bufs    [batch]pktbuf.Buf
	ops     [batch]esp.SealOp
	scratch *esp.Scratch
	names   []unix.RawSockaddrInet4
	tmpl    *template
	seq     uint64
}

func (b *bench) answer(t *testing.T) *answer {
	a := &answer{bench: b, sender: newSender(), scratch: esp.NewScratch(), tmpl: newTemplate(300, b.world.responder.addr)}
	a.names = make([]unix.RawSockaddrInet4, len(b.paths))
	for at, i := range b.clients {
		a.names[i] = sockaddr(at)
	}
	a.fd = fdOf(t, b.server)
	return a
}

func fdOf(t testing.TB, c *net.UDPConn) (fd int) {
	t.Helper()
	conn, err := c.SyscallConn()
	if err == nil {
		err = conn.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func (a *answer) send() bool {
	for i := range a.bufs {
		p, who := &a.bufs[i], i/4%len(a.names)
		p.Reset()
		s := &a.st.sessions[who]
		ip := p.Append(len(a.tmpl.packet))
		a.tmpl.put(ip, s.inner, s.srcSum, stamp{flow: uint32(who), seq: a.seq})
		a.seq++
		turn(ip)
		if !a.ends[who].wrap(p, wireppp.ProtocolIPv4) {
			return false
		}
		a.ops[i] = esp.SealOp{SA: a.ends[who].out, Buf: p, NextHeader: protoUDP}
	}
	esp.SealBatch(a.ops[:], a.scratch)
	for i := range a.ops {
		if a.ops[i].Verdict != esp.OK {
			return false
		}
		a.sender.add(a.fd, true, &a.names[i/4%len(a.names)], a.bufs[i].Bytes(), 0)
	}
	a.sender.flush()
	return true
}

// TestNoAllocation: neither thread allocates for a packet, sending or receiving.
func TestNoAllocation(t *testing.T) {
	b := newBench(t, Config{Direction: Both, Size: imix})
	a := b.answer(t)
	up := fdOf(t, b.inner[0])
	name := sockaddr(b.world.responder.addr)
	feed := newSender()
	var payloads [batch][stampLen]byte
	seq := uint64(0)
	failed := 0
	round := func() {
		now := time.Now()
		b.client.send(batch, now)
		b.responder.send(batch, b.st.nanos(now))
		if !a.send() {
			failed++
		}
		for i := range payloads {
			stamp{seq: seq}.put(payloads[i][:])
			feed.add(up, false, &name, payloads[i][:], 0)
			seq++
		}
		feed.flush()
		for range 16 {
			if b.client.receive(0) != nil || b.responder.receive() != nil {
				failed++
			}
		}
	}
	const rounds = 50
	if n := testing.AllocsPerRun(rounds, round); n != 0 {
		t.Errorf("%v allocations for %d packets each way", n, batch)
	}
	arrived := b.st.down.arrived.Load()
	if arrived != a.seq || a.seq != (rounds+1)*batch || failed > 0 || b.client.foreign > 0 {
		t.Errorf("%d of %d packets have arrived; failed %d, foreign %d", arrived, a.seq, failed, b.client.foreign)
	}
	if arrived := b.st.up.arrived.Load(); arrived != seq {
		t.Errorf("%d of %d packets have arrived at the responder", arrived, seq)
	}
	if b.st.up.sent.Load() != (rounds+1)*batch || b.st.down.sent.Load() != (rounds+1)*batch {
		t.Errorf("%d and %d sent", b.st.up.sent.Load(), b.st.down.sent.Load())
	}
}

// BenchmarkClient is what a packet costs the clients' thread, sending and receiving, with what the kernel does for it.
func BenchmarkClient(b *testing.B) {
	for _, n := range []int{64, 1400} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := newBench(b, Config{Direction: Up, Size: Size{n}, Train: 16})
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				x.client.send(batch, time.Now())
			}
		})
	}
}
