package mppe

import (
	"crypto/subtle"
	"fmt"
	"net/netip"
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

const benchSize = 1400

func benchFrame() []byte {
	return frameFrom(0, netip.MustParseAddr("10.1.0.2"), benchSize)
}

// BenchmarkCrypto is the bare cryptography of a stateless packet: key change, key schedule, keystream, XOR. What Seal and
// Open take beyond it is ours.
func BenchmarkCrypto(b *testing.B) {
	for _, bits := range []int{128, 56, 40} {
		b.Run(fmt.Sprintf("MPPE-%d/%dB", bits, benchSize), func(b *testing.B) {
			s, x := newSchedule(params(bits, false)), NewScratch()
			k, data := s.initial(), benchFrame()
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				s.change(&k, x)
				x.rc4.init(&k, s.n)
				x.rc4.stream(x.rows[0][:len(data)])
				subtle.XORBytes(data, data, x.rows[0][:len(data)])
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, bits := range []int{128, 40} {
		for _, mode := range []string{"", "-stateful"} {
			b.Run(fmt.Sprintf("MPPE-%d%s/%dB", bits, mode, benchSize), func(b *testing.B) {
				s, x, plain := NewSender(params(bits, mode != "")), NewScratch(), benchFrame()
				var buf pktbuf.Buf
				b.SetBytes(benchSize)
				b.ReportAllocs()
				for b.Loop() {
					buf.SetBytes(plain)
					s.Seal(&buf, x)
				}
			})
		}
	}
}

// BenchmarkOpen opens 4096 packets over and over with new receivers: their creation is less than a thousandth of it.
func BenchmarkOpen(b *testing.B) {
	for _, bits := range []int{128, 40} {
		b.Run(fmt.Sprintf("MPPE-%d/%dB", bits, benchSize), func(b *testing.B) {
			p := params(bits, false)
			s, x, plain := NewSender(p), NewScratch(), benchFrame()
			wires := make([]pktbuf.Buf, countSpace)
			for i := range wires {
				wires[i].SetBytes(plain)
				s.Seal(&wires[i], x)
			}
			var r *Receiver
			var buf pktbuf.Buf
			i := 0
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				if i%countSpace == 0 {
					r = NewReceiver(p)
				}
				buf.CopyFrom(&wires[i%countSpace])
				if r.Open(&buf, uint32(i), credible, 0, x) != OK {
					b.Fatal("a packet doesn't open")
				}
				i++
			}
		})
	}
}

// BenchmarkOpenForged is what a packet costs that somebody else sent.
func BenchmarkOpenForged(b *testing.B) {
	for _, tt := range []struct {
		name string
		p    packet
	}{{"near", forge(20, 20, 1)}, {"far", forge(2000, 2000, 1)}, {"late", forge(4000, 5, 1)}} {
		b.Run("MPPE-128-"+tt.name+"/60B", func(b *testing.B) {
			r, x := NewReceiver(params(128, false)), NewScratch()
			var good, buf pktbuf.Buf
			good.SetBytes(frame(0))
			NewSender(params(128, false)).Seal(&good, x)
			r.Open(&good, 0, credible, 0, x)
			buf.SetBytes(tt.p.wire)
			b.ReportAllocs()
			for b.Loop() {
				if r.Open(&buf, tt.p.seq, credible, 0, x).Passed() {
					b.Fatal("a forged packet passed")
				}
			}
		})
	}
}

// BenchmarkKeyChange is one step of the key chain: what the budget of far jumps counts.
func BenchmarkKeyChange(b *testing.B) {
	s, x := newSchedule(params(128, false)), NewScratch()
	k := s.initial()
	b.ReportAllocs()
	for b.Loop() {
		s.change(&k, x)
	}
}

// BenchmarkKeySetup is the RC4 key schedule that each packet is tried with.
func BenchmarkKeySetup(b *testing.B) {
	s, x := newSchedule(params(128, false)), NewScratch()
	k := s.initial()
	b.ReportAllocs()
	for b.Loop() {
		x.rc4.init(&k, s.n)
	}
}
