package dataplane

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/telemetry"
	"concentrator/internal/wire/ppp"
)

// bombs is a sink that panics with each frame.
type bombs struct{ *sink }

func (bombs) Deliver(uint16, []byte) { panic("bomb") }

// brokenWith is why the call was taken out; empty: it was not.
func (k *sink) brokenWith() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.broken, " and ")
}

// wantBroken waits until the call was taken out, for that reason and once.
func (s *session) wantBroken(why string) {
	s.l.t.Helper()
	for end := time.Now().Add(patience); s.sink.brokenWith() == "" && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := s.sink.brokenWith(); got != why {
		s.l.t.Fatalf("broken with %q, want %q", got, why)
	}
}

// lives passes one packet each way.
func (s *session) lives(inner string) {
	t := s.l.t
	t.Helper()
	if why := s.sink.brokenWith(); why != "" {
		t.Fatalf("it was ended: %s", why)
	}
	p := echo(inner, "192.0.2.9", 1, 100, true)
	s.up(s.client.data(p))
	if got := s.inside(); !bytes.Equal(got, p) {
		t.Fatalf("inside came % x", got)
	}
	p = echo("192.0.2.9", inner, 1, 100, true)
	s.down(p)
	if _, _, got := s.atClient(); !bytes.Equal(got, p) {
		t.Fatalf("the client got % x", got)
	}
}

// wantPanics checks a shard's count, and that all buffers are back where they belong.
func (l *lab) wantPanics(id int, n uint64) {
	l.t.Helper()
	var held, spare, shaped int
	var panics uint64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err := l.d.shards[id].do(func(s *shard) {
			s.flush()
			held, spare, shaped, panics = s.held.Free(), s.spare.Free(), s.shaped.Free(), s.stats.Panics
		}); err != nil {
			l.t.Fatal(err)
		}
		if panics >= n {
			break
		}
	}
	if panics != n {
		l.t.Fatalf("%d panics, want %d", panics, n)
	}
	if held != heldBufs || spare != spareBufs || shaped != shapedBufs {
		l.t.Fatalf("%d, %d and %d buffers are free of %d, %d and %d", held, spare, shaped, heldBufs, spareBufs, shapedBufs)
	}
}

// alter changes a call behind its back, as a fault of ours may.
func (s *session) alter(f func(s *shard, c *call)) {
	s.l.t.Helper()
	if err := s.call.shard.do(func(sh *shard) { f(sh, s.call.call) }); err != nil {
		s.l.t.Fatal(err)
	}
}

// together gives the shard several packets at once.
func (s *session) together(packets ...[]byte) {
	s.l.t.Helper()
	ready, gone := make(chan struct{}), make(chan struct{})
	s.call.shard.inbox.push(func(*shard) {
		close(ready)
		<-gone
	})
	<-ready
	for _, p := range packets {
		write(s.l.t, s.wire, outer(clientIP, serverIP, p))
	}
	close(gone)
}

// TestPanicEndsItsSession: whatever a shard does for a session when it panics, that one ends and another does not notice.
func TestPanicEndsItsSession(t *testing.T) {
	data := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	for _, c := range []struct {
		name string
		set  func(s *shard, c *call)
		do   func(s *session)
		more uint64 // panics, when it is taken out
	}{
		{"control frame", func(_ *shard, c *call) { c.sink = bombs{c.sink.(*sink)} }, func(s *session) {
			s.up(s.client.frame(ppp.ProtocolLCP, []byte{9, 1, 0, 4}))
		}, 0},
		{"data inbound", func(_ *shard, c *call) { c.net = &network{} }, func(s *session) { s.up(s.client.data(data)) }, 0},
		{"data outbound", func(_ *shard, c *call) { c.gre = nil }, func(s *session) {
			s.down(echo("192.0.2.9", "10.50.0.7", 1, 100, true))
		}, 1},
		{"decryption", func(_ *shard, c *call) { c.credible = nil }, func(s *session) { s.up(s.client.data(data)) }, 0},
		{"reorder window", func(s *shard, c *call) {}, func(s *session) {
			_ = s.client.data(data) // lost
			s.up(s.client.data(data))
			s.sync()
			s.alter(func(_ *shard, c *call) { c.net = &network{} })
		}, 0},
		{"command", func(_ *shard, c *call) {}, func(s *session) { s.call.push(func(*shard) { panic("bomb") }) }, 0},
		{"timer", func(s *shard, c *call) {
			c.timed, s.timed, s.nextDue = true, append(s.timed, c), 0
			c.gre = nil
		}, func(s *session) {}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, 1)
			n, dev := l.network(acme)
			bad := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")}).encrypted()
			good := l.open(n, dev, SessionSpec{Address: addr("10.50.0.8")}).encrypted()
			bad.client.own, good.client.own = 99, 99
			good.lives("10.50.0.8")
			bad.lives("10.50.0.7")
			bad.alter(c.set)
			c.do(bad)
			bad.wantBroken(whyBlamed)
			l.wantPanics(0, 1+c.more)
			for range 3 {
				good.lives("10.50.0.8")
			}
			k := bad.call.Close()
			if k.InPackets != 1 || bad.call.Close() != k {
				t.Errorf("its last counters are %+v", k)
			}
			again := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")}).encrypted()
			again.lives("10.50.0.7")
			good.lives("10.50.0.8")
			l.wantPanics(0, 1+c.more)
			if st := l.d.ShardStats()[0]; st.Calls != 2 {
				t.Errorf("%d calls, want 2", st.Calls)
			}
		})
	}
}

// TestPanicInABatch: nobody can be blamed for what is done for several at once. The batch is lost, and the next panic, of a
// batch of one packet, has a name.
func TestPanicInABatch(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	bad := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")}).encrypted()
	good := l.open(n, dev, SessionSpec{Address: addr("10.50.0.8")}).encrypted()
	bad.alter(func(_ *shard, c *call) { c.credible = nil })
	a, b := echo("10.50.0.7", "192.0.2.9", 1, 100, true), echo("10.50.0.8", "192.0.2.9", 1, 100, true)
	good.together(good.client.data(b), bad.client.data(a), good.client.data(b))
	l.wantPanics(0, 1)
	if bad.sink.brokenWith()+good.sink.brokenWith() != "" {
		t.Fatal("somebody was ended, by chance")
	}
	if st := l.d.ShardStats()[0]; st.Drops[DropPanic] != 3 {
		t.Errorf("%d packets thrown away, want 3", st.Drops[DropPanic])
	}
	good.together(good.client.data(b), bad.client.data(a), good.client.data(b))
	bad.wantBroken(whyBlamed)
	l.wantPanics(0, 2)
	for range 2 {
		if got := good.inside(); !bytes.Equal(got, b) {
			t.Fatalf("inside came % x", got)
		}
	}
	good.lives("10.50.0.8")
	l.wantPanics(0, 2)
}

// TestPanicThatIsNobodys: one that has no name even in a batch of one packet ends all, and the shard carries new ones.
func TestPanicThatIsNobodys(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	var all []*session
	var elsewhere *session
	for i := range 4 {
		s := l.open(n, dev, SessionSpec{Address: addr("10.50.0." + string(rune('1'+i)) + "0")})
		if s.call.Shard() == 0 {
			all = append(all, s)
		} else {
			elsewhere = s
		}
	}
	peer := l.ipsec(g, o, gcm, true, 0)
	if err := l.d.shards[0].do(func(*shard) { n.parts[0].table = nil }); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		write(t, dev.far[0], append(make([]byte, 10), echo("192.0.2.9", "10.50.0.99", 1, 100, true)...))
		for end := time.Now().Add(patience); l.d.ShardStats()[0].Panics < uint64(i+1) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if i == 0 && all[0].sink.brokenWith() != "" {
			t.Fatal("ended at once")
		}
	}
	if err := l.d.shards[0].do(func(s *shard) { n.parts[0].table = &s.tables[n.space].table }); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		s.wantBroken(whyAll)
		s.call.Close()
	}
	o.next(t, "broken: "+whyAll)
	peer.peer.Close()
	l.wantPanics(0, l.d.ShardStats()[0].Panics)
	if elsewhere.sink.brokenWith() != "" {
		t.Error("a session of another shard was ended")
	}
	next := l.open(n, dev, SessionSpec{Address: addr("10.50.0.77")}).encrypted()
	if next.call.Shard() != 0 {
		t.Fatalf("the next call is on shard %d", next.call.Shard())
	}
	next.lives("10.50.0.77")
	l.ipsec(g, newOutside(), gcm, true, 0).session(n, dev, "10.50.0.78").peer.Close()
}

// TestPanicOfAPeer: an IPsec peer ends with its SAs, another one goes on.
func TestPanicOfAPeer(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	bad := l.ipsec(g, o, suites["AES-128-CBC-SHA1"], true, 0).session(n, dev, "10.50.0.7")
	good := l.ipsec(g, newOutside(), gcm, true, 0).session(n, dev, "10.50.0.8")
	if err := l.d.shards[0].do(func(s *shard) { s.lookupSA(bad.spi).in = nil }); err != nil {
		t.Fatal(err)
	}
	bad.up(bad.message(bad.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))))
	o.next(t, "broken: "+whyBlamed)
	l.wantPanics(0, 2) // and one when its keys are to be wiped
	p := echo("10.50.0.8", "192.0.2.9", 1, 100, true)
	good.up(good.message(good.data(ppp.ProtocolIPv4, p)))
	if got := good.inside(); !bytes.Equal(got, p) {
		t.Fatalf("inside came % x", got)
	}
	bad.call.Close()
	bad.peer.Close()
	if err := l.d.shards[0].do(func(s *shard) {
		for _, a := range s.sas {
			if a != nil && a.peer != good.peer.peer {
				t.Error("an SA is left")
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestPanicOfACommand: who waits for it is told, what waits behind it is done, and it is nobody's fault, however often.
func TestPanicOfACommand(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")}).encrypted()
	for range 2 * mostPanics {
		if err := l.d.onAll(func(s *shard) {
			if s.id == 0 {
				panic("bomb")
			}
		}); !errors.Is(err, ErrPanic) {
			t.Fatalf("error is %v", err)
		}
	}
	l.wantPanics(0, 2*mostPanics)
	l.wantPanics(1, 0)
	ran := false
	s.call.shard.inbox.push(func(*shard) { panic("bomb") })
	s.call.shard.inbox.push(func(*shard) { ran = true })
	s.sync()
	if !ran {
		t.Error("the command behind it was not run")
	}
	s.lives("10.50.0.7")
}

// TestPanicFromTheRing: what was passed on is taken once, whatever becomes of it.
func TestPanicFromTheRing(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	s := l.open(n, dev, SessionSpec{Address: addr("10.50.0.7")})
	s.alter(func(_ *shard, c *call) { c.gre = nil })
	p := append(make([]byte, 10), echo("192.0.2.9", "10.50.0.7", 1, 100, true)...)
	write(t, dev.far[1-s.call.Shard()], p) // the wrong shard's queue
	s.wantBroken(whyBlamed)
	l.wantPanics(s.call.Shard(), 2) // and one when it is taken out
	if err := s.call.shard.do(func(s *shard) {
		if s.ring.waiting() {
			t.Error("the packet is still there")
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestPanicIsTold: once in the log with its stack, and as a fault that ends when the shard has been calm for a minute.
func TestPanicIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
		d := &Dataplane{log: log, faults: faults, reports: make(reports, maxReports)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			d.tellPanics(ctx)
			close(done)
		}()
		for range 2 {
			d.reports.put(report{shard: 3, value: "index out of range", stack: "goroutine 7", whose: "call 19", action: "it was ended"})
			time.Sleep(50 * time.Second)
		}
		synctest.Wait()
		if all := faults.Standing(); len(all) != 1 || all[0].Fault != telemetry.FaultShard || all[0].Subject != "shards/3" ||
			!strings.Contains(all[0].Detail, "call 19") {
			t.Errorf("standing are %+v", all)
		}
		for _, word := range []string{"index out of range", "goroutine 7", "call 19: it was ended"} {
			if !strings.Contains(text.String(), word) {
				t.Errorf("the log lacks %q: %s", word, text.String())
			}
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if all := faults.Standing(); len(all) != 0 {
			t.Errorf("still standing are %+v", all)
		}
		cancel()
		<-done
	})
}

// TestSurely: what removes something is done even where it first meets with somebody else's panic.
func TestSurely(t *testing.T) {
	l := newLab(t, 1)
	tries := 0
	if err := surely(func() error {
		return l.d.shards[0].do(func(*shard) {
			if tries++; tries == 1 {
				panic("bomb")
			}
		})
	}); err != nil || tries != 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
}
