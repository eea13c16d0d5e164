package mppe

import (
	stdrc4 "crypto/rc4"
	"fmt"
	"testing"
	"time"

	"concentrator/internal/dataplane/pktbuf"
)

// batchLen is how many packets a shard reads at once.
const batchLen = 64

// perPacket reports what one of the packets of a batch took.
func perPacket(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed()/time.Nanosecond)/float64(b.N)/batchLen, "ns/packet")
}

// BenchmarkRC4 is crypto/rc4 alone, without any key change: what the batches are measured with.
func BenchmarkRC4(b *testing.B) {
	c, err := stdrc4.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	in, out := benchFrame(), benchFrame()
	b.SetBytes(benchSize)
	for b.Loop() {
		c.XORKeyStream(out, in)
	}
}

// eachShape runs f for batches of one session and of 64, and for the same packets one by one.
func eachShape(b *testing.B, f func(b *testing.B, sessions int, single bool)) {
	for _, sessions := range []int{1, batchLen} {
		for _, how := range []string{"batch", "single"} {
			b.Run(fmt.Sprintf("MPPE-128/%dB/%d-sessions/%s", benchSize, sessions, how), func(b *testing.B) {
				b.SetBytes(benchSize * batchLen)
				b.ReportAllocs()
				f(b, sessions, how == "single")
			})
		}
	}
}

func BenchmarkSealBatch(b *testing.B) {
	eachShape(b, func(b *testing.B, sessions int, single bool) {
		x, plain := NewScratch(), benchFrame()
		senders, ops := make([]*Sender, sessions), make([]SealOp, batchLen)
		for i := range senders {
			senders[i] = NewSender(params(128, false))
		}
		for i := range ops {
			ops[i] = SealOp{Sender: senders[i%sessions], Buf: &pktbuf.Buf{}}
		}
		for b.Loop() {
			for i := range ops {
				ops[i].Buf.SetBytes(plain)
			}
			if !single {
				SealBatch(ops, x)
				continue
			}
			for i := range ops {
				ops[i].OK = ops[i].Sender.seal(ops[i].Buf, x)
			}
		}
		perPacket(b)
	})
}

// BenchmarkOpenBatch opens the same packets over and over, each time with the receivers as they were. They are few enough
// for the second-level cache.
func BenchmarkOpenBatch(b *testing.B) {
	eachShape(b, func(b *testing.B, sessions int, single bool) {
		x, plain, p := NewScratch(), benchFrame(), params(128, false)
		sender := NewSender(p)
		wires := make([]pktbuf.Buf, batchLen) // all sessions have the same key
		for i := range wires {
			wires[i].SetBytes(plain)
			sender.Seal(&wires[i], x)
		}
		receivers, fresh, ops := make([]*Receiver, sessions), NewReceiver(p), make([]OpenOp, batchLen)
		for i := range receivers {
			receivers[i] = &Receiver{}
		}
		for i := range ops {
			ops[i] = OpenOp{Receiver: receivers[i%sessions], Buf: &pktbuf.Buf{}, Credible: credible}
		}
		next := 0
		for b.Loop() {
			if next%len(wires) == 0 {
				next = 0
				for _, r := range receivers {
					*r = *fresh
				}
			}
			for i := range ops {
				ops[i].Seq = uint32(next + i/sessions)
				ops[i].Buf.CopyFrom(&wires[ops[i].Seq])
			}
			next += batchLen / sessions
			if !single {
				OpenBatch(ops, 0, x)
			} else {
				for i := range ops {
					ops[i].Verdict = ops[i].Receiver.open(&ops[i], nil, 0, x)
				}
			}
			for i := range ops {
				if ops[i].Verdict != OK {
					b.Fatal(ops[i].Verdict)
				}
			}
		}
		perPacket(b)
	})
}
