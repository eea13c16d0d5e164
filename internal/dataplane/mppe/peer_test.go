package mppe

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// TestSenderAgainstLinux: what we seal, Linux opens, over a wrap of the count, with Reset-Requests in between.
func TestSenderAgainstLinux(t *testing.T) {
	eachMode(t, func(t *testing.T, p Params) {
		s, peer, x := NewSender(p), newLinuxState(p), NewScratch()
		for n := range 4500 {
			if n%1000 == 999 {
				s.Reset()
			}
			var b pktbuf.Buf
			b.SetBytes(frame(n))
			if !s.Seal(&b, x) {
				t.Fatalf("packet %d isn't sealed", n)
			}
			if got := peer.decompress(b.Bytes()); !bytes.Equal(got, frame(n)) {
				t.Fatalf("packet %d: Linux reads %x, want %x", n, got, frame(n))
			}
		}
		if peer.sanityErrors != 0 {
			t.Errorf("Linux counted %d sanity errors", peer.sanityErrors)
		}
	})
}

// TestReceiverAgainstLinux: what Linux seals, we open.
func TestReceiverAgainstLinux(t *testing.T) {
	eachMode(t, func(t *testing.T, p Params) {
		peer, l := newLinuxState(p), newLink(t, p)
		for n := range 4500 {
			if n%1000 == 999 {
				peer.compReset()
			}
			l.want(OK, packet{n, uint32(n), peer.compress(frame(n))})
		}
	})
}

// TestStatefulSenderLoss: a Linux receiver loses packets, asks for a reset, and finds back.
func TestStatefulSenderLoss(t *testing.T) {
	p := params(128, true)
	s, peer, x := NewSender(p), newLinuxState(p), NewScratch()
	r := rand.New(rand.NewPCG(3, 4))
	read := 0
	for n := range 20000 {
		var b pktbuf.Buf
		b.SetBytes(frame(n))
		s.Seal(&b, x)
		if r.IntN(100) == 0 && b.Bytes()[0]&0x80 == 0 {
			continue // lost; Linux has no way back from the loss of a flushed packet
		}
		was := peer.discard
		got := peer.decompress(b.Bytes())
		switch {
		case got == nil && !was:
			s.Reset()
		case got == nil:
		case !bytes.Equal(got, frame(n)):
			t.Fatalf("packet %d is misread", n)
		default:
			read++
		}
	}
	if read < 19000 {
		t.Errorf("Linux read %d of 20000 packets", read)
	}
}

// TestStatefulReceiverLoss: packets of a Linux sender are lost, flushed ones too, and of an RFC 3078 sender, that doesn't
// change its key on a flushed packet. Each Reset-Request takes some packets to arrive, and can itself be lost.
func TestStatefulReceiverLoss(t *testing.T) {
	for _, tt := range []struct {
		name string
		rfc  bool
	}{{"linux", false}, {"rfc3078", true}} {
		t.Run(tt.name, func(t *testing.T) {
			p := params(128, true)
			peer, l := newLinuxState(p), newLink(t, p)
			peer.rfc = tt.rfc
			r := rand.New(rand.NewPCG(5, 6))
			read, resets, resetAt := 0, 0, -1
			for n := range 30000 {
				l.now = int64(n) * second / 500
				if n == resetAt {
					peer.compReset()
				}
				wire := peer.compress(frame(n))
				if r.IntN(100) == 0 {
					continue
				}
				switch v := l.open(packet{n, uint32(n), wire}); v {
				case OK, Resynced:
					read++
				case NeedReset:
					resets++
					if r.IntN(20) != 0 {
						resetAt = n + 10
					}
				case OutOfSync:
				default:
					t.Fatalf("packet %d: %v", n, v)
				}
			}
			if read < 24000 {
				t.Errorf("read %d of 30000 packets after %d resets", read, resets)
			}
			if limit := 30000 / 500 * 20; resets > limit {
				t.Errorf("%d Reset-Requests, limit %d", resets, limit)
			}
		})
	}
}
