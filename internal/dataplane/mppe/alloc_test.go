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

// TestNoAllocationInBatches is the same for whole batches of several sessions.
func TestNoAllocationInBatches(t *testing.T) {
	const sessions = 5
	plain, x := frame(1), NewScratch()
	seals, opens := make([]SealOp, batchLen), make([]OpenOp, batchLen)
	for i := range sessions {
		p := params([]int{128, 56, 40}[i%3], i == 4)
		s, r := NewSender(p), NewReceiver(p)
		for j := i; j < batchLen; j += sessions {
			seals[j] = SealOp{Sender: s, Buf: &pktbuf.Buf{}}
			opens[j] = OpenOp{Receiver: r, Buf: seals[j].Buf, Seq: uint32(j / sessions), Credible: credible}
		}
	}
	bad := 0
	if n := testing.AllocsPerRun(100, func() {
		for i := range seals {
			seals[i].Buf.SetBytes(plain)
		}
		SealBatch(seals, x)
		OpenBatch(opens, 0, x)
		for i := range opens {
			if opens[i].Verdict != OK {
				bad++
			}
			opens[i].Seq += batchLen/sessions + 1
		}
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	for _, r := range x.runs[:cap(x.runs)] {
		if r.schedule != nil || r.keys != nil {
			t.Error("the scratch still points to a session")
		}
	}
	if bad != 0 {
		t.Errorf("%d wrong verdicts", bad)
	}
}
