package mppe

import (
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// TestNoAllocation: neither good packets nor forged ones allocate, in either mode.
func TestNoAllocation(t *testing.T) {
	eachMode(t, func(t *testing.T, p Params) {
		s, r, x := NewSender(p), NewReceiver(p), NewScratch()
		plain, far := frame(1), forge(2000, 1<<20, 1)
		buf, seals, opens := &pktbuf.Buf{}, make([]SealOp, 1), make([]OpenOp, 1)
		seq, now, bad := uint32(0), int64(0), 0
		if n := testing.AllocsPerRun(1000, func() {
			now += second / 100
			buf.SetBytes(plain)
			seals[0] = SealOp{Sender: s, Buf: buf}
			SealBatch(seals, x)
			opens[0] = OpenOp{Receiver: r, Buf: buf, Seq: seq, Credible: credible}
			OpenBatch(opens, now, x)
			if opens[0].Verdict != OK {
				bad++
			}
			seq++
			buf.SetBytes(far.wire)
			opens[0] = OpenOp{Receiver: r, Buf: buf, Seq: far.seq, Credible: credible}
			OpenBatch(opens, now, x)
			if opens[0].Verdict.Passed() {
				bad++
			}
		}); n != 0 {
			t.Errorf("%v allocations a packet", n)
		}
		if bad != 0 {
			t.Errorf("%d wrong verdicts", bad)
		}
	})
}
