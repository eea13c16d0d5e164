package mppe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/policy"
)

const second = int64(time.Second)

var sources = policy.NewSources(netip.MustParseAddr("10.1.0.2"), nil)

// credible is what a shard uses.
func credible(head []byte, n int, far bool) bool {
	return policy.CredibleInner(head, n, &sources, far)
}

// frame is the n-th frame of a stream: protocol field and an IPv4 packet of 60 octets that carries n.
func frame(n int) []byte { return frameFrom(n, netip.MustParseAddr("10.1.0.2"), 60) }

func frameFrom(n int, src netip.Addr, size int) []byte {
	p := make([]byte, 2+size)
	p[1] = 0x21
	ip := p[2:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(size))
	binary.BigEndian.PutUint16(ip[4:], uint16(n))
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], []byte{192, 0, 2, 1})
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum>>16+sum))
	binary.BigEndian.PutUint64(ip[20:], uint64(n))
	return p
}

// packet is one on its way, numbered from 0.
type packet struct {
	n    int
	seq  uint32
	wire []byte
}

// stream makes n packets with s. GRE numbers them from firstSeq.
func stream(t testing.TB, s *Sender, from, n int, firstSeq uint32) []packet {
	t.Helper()
	x := NewScratch()
	ps := make([]packet, n)
	for i := range ps {
		var b pktbuf.Buf
		b.SetBytes(frame(from + i))
		if !s.Seal(&b, x) {
			t.Fatalf("packet %d isn't sealed", from+i)
		}
		ps[i] = packet{from + i, firstSeq + uint32(i), bytes.Clone(b.Bytes())}
	}
	return ps
}

// link opens packets with one receiver and checks what comes out.
type link struct {
	t   testing.TB
	r   *Receiver
	x   *Scratch
	now int64
	buf pktbuf.Buf
}

func newLink(t testing.TB, p Params) *link {
	return &link{t: t, r: NewReceiver(p), x: NewScratch()}
}

// open gives a packet to the receiver. Whatever the verdict, the buffer must hold the right thing afterwards.
func (l *link) open(p packet) Verdict {
	l.t.Helper()
	l.buf.SetBytes(p.wire)
	v := l.r.Open(&l.buf, p.seq, credible, l.now, l.x)
	switch {
	case v == 0:
		l.t.Fatalf("packet %d: no verdict", p.n)
	case v.Passed():
		if want := frame(p.n); !bytes.Equal(l.buf.Bytes(), want) {
			l.t.Fatalf("packet %d decrypts to %x, want %x", p.n, l.buf.Bytes(), want)
		}
	case !bytes.Equal(l.buf.Bytes(), p.wire):
		l.t.Fatalf("packet %d: %v, but the buffer was changed", p.n, v)
	}
	return v
}

// want opens packets that must all have the same verdict.
func (l *link) want(v Verdict, ps ...packet) {
	l.t.Helper()
	for _, p := range ps {
		if got := l.open(p); got != v {
			l.t.Fatalf("packet %d: %v, want %v", p.n, got, v)
		}
	}
}

// forge is a packet with a count and rubbish.
func forge(count int, seq uint32, salt byte) packet {
	w := binary.BigEndian.AppendUint16(nil, bitFlushed|bitEncrypted|uint16(count)&countMask)
	for i := range 60 {
		w = append(w, byte(i)*31^salt)
	}
	return packet{-1, seq, w}
}

func params(bits int, stateful bool) Params {
	p := Params{Bits: bits, Stateful: stateful}
	for i := range p.StartKey {
		p.StartKey[i] = byte(17 * (i + bits))
	}
	return p
}

// eachMode runs f for every strength, stateless and stateful.
func eachMode(t *testing.T, f func(t *testing.T, p Params)) {
	for _, bits := range []int{128, 56, 40} {
		for _, stateful := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d-stateful=%t", bits, stateful), func(t *testing.T) { f(t, params(bits, stateful)) })
		}
	}
}
