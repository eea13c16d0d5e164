package dataplane

import (
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/esphdr"
)

// Somebody on the way cuts four octets off packets of a client with HMAC-SHA2-256, so that it is taken for one that cuts the
// check value itself. That lasts until the client's next packet that gets through as it was, and is never so again.
func TestKnownCutOnTheWay(t *testing.T) {
	hello := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	cut := func(p []byte) []byte { return p[:len(p)-4] }
	for _, dummy := range []bool{false, true} {
		l := newLab(t, 1)
		g, o := l.datagrams(DatagramSpec{IPsec: true})
		s := suites["AES-256-CBC-SHA256"]
		e := l.ipsec(g, o, s, true, 0)
		e.up(cut(e.message(hello)))
		o.next(t, "used")
		o.next(t, "control")
		e.wantICV("after the first, which was cut", 12)

		forged := e.message(hello)
		forged[len(forged)-1] ^= 1
		e.up(forged)
		e.waitDrop(DropESPAuth, 1)
		e.wantICV("after a forgery", 12)

		old := e.spi
		oldSeal := e.seal
		e.rekey(s) // the new pair inherits it, for now
		e.wantICV("after a rekey", 12)
		if dummy {
			var b pktbuf.Buf
			b.SetBytes(hello)
			if v := oldSeal.Seal(&b, esphdr.NextHeaderNone); v != esp.OK {
				t.Fatal(v)
			}
			e.up(b.Bytes())
			e.waitDrop(DropESPDummy, 1)
		} else {
			e.up(e.message(hello))
			o.next(t, "used")
			o.next(t, "control")
		}
		e.wantICV("after a whole one", 16)
		e.peer.UseSA(old)
		e.spi, old = old, e.spi
		e.wantICV("by the other pair", 16)
		e.peer.UseSA(old)
		e.spi = old

		if !dummy { // the pair of which a whole one has come
			e.up(cut(e.message(hello)))
			e.waitDrop(DropESPMalformed, 1)
		}
		for range 3 { // and the first of each pair to come
			e.rekey(s)
			e.wantICV("by a new pair", 16)
			e.up(cut(e.message(hello)))
			o.next(t, "used")
			o.next(t, "control")
			e.wantICV("after its first, which was cut", 16)
			e.up(e.message(hello))
			o.next(t, "control")
			e.wantICV("at last", 16)
		}
		o.none(t)
	}
}

// The same when the packets come in one batch.
func TestKnownCutInABatch(t *testing.T) {
	b, client := newESPBench(t, suites["AES-256-CBC-SHA256"])
	inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	p := b.c.l2tp.peer
	round := func(want esp.Form, through uint64, cut func(i int) bool) {
		t.Helper()
		before := b.s.countersOf(b.c).InPackets
		b.upwardESP(inner, client)
		for i := range batchSize {
			if cut(i) {
				b.s.datagrams[i].Size -= 4
			}
		}
		b.arrive(b.f, batchSize)
		b.s.flush()
		if n := b.s.countersOf(b.c).InPackets - before; n != through || p.form != want {
			t.Errorf("%d packets came through, form %d, want %d, %d: %v", n, p.form, through, want, b.s.stats.Drops)
		}
		var out pktbuf.Buf
		out.SetBytes(inner[:30]) // and 2 octets of trailer
		size := 8 + 16 + 32 + 16
		if want == esp.FormCut {
			size -= 4
		}
		if v := p.out.out.Seal(&out, unix.IPPROTO_UDP); v != esp.OK || out.Len() != size {
			t.Errorf("%v: %d octets, want %d", v, out.Len(), size)
		}
	}
	round(esp.FormCut, batchSize, func(int) bool { return true })
	round(esp.FormWhole, batchSize-3, func(i int) bool { return i < 5 || i >= batchSize-3 }) // the last come too late for it
	round(esp.FormWhole, batchSize-1, func(i int) bool { return i == 0 })
}
