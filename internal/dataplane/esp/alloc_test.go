package esp

import (
	"testing"

	"concentrator/internal/dataplane/pktbuf"
)

// TestNoAllocation: neither good packets nor forged ones allocate, with a whole ICV or one that is cut.
func TestNoAllocation(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		plain, bad, runs := payloadOf(200, 1), 0, 0
		var buf, forged pktbuf.Buf
		x := NewScratch()
		seals := []SealOp{{SA: outbound(t, p), Buf: &buf, NextHeader: 17}}
		opens := []OpenOp{{SA: inbound(t, p), Buf: &buf}, {Buf: &forged}}
		opens[1].SA = opens[0].SA
		if n := testing.AllocsPerRun(200, func() {
			buf.SetBytes(plain)
			if runs++; runs < 100 { // of which the first is warming up
				seals[0].SA.Truncate()
			} else {
				seals[0].SA.Restore()
			}
			SealBatch(seals, x)
			forged.CopyFrom(&buf)
			forged.Bytes()[7]++
			OpenBatch(opens, x)
			if opens[0].Verdict != OK || opens[1].Verdict != Auth && opens[1].Verdict != Replay {
				bad++
			}
		}); n != 0 || bad != 0 {
			t.Errorf("%v allocations a packet, %d wrong verdicts", n, bad)
		}
	})
}
