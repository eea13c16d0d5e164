//go:build interop && interop_long

package line

import (
	"sync/atomic"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

// clients is how many log in over each line, and standing how long they stay.
const (
	clients  = 100
	standing = time.Minute
)

// TestLines: of a hundred clients all come in over each line, at 20 % loss 99 of a hundred, and stay; new SAs of both phases come
// through while they do. Where three in a thousand fail, one line in 25 has two that do, so that 99 of a hundred is asked of all four
// lines with 20 % together, and 98 of each.
func TestLines(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	const bad = 0.2
	var tried, failed atomic.Int64 // on lines that lose so much
	t.Run("lines", func(t *testing.T) {
		for i, s := range []scenario{
			{"none", Impairment{}, mix, 0, 0},
			{"loss 1 %", Impairment{Loss: 0.01}, mix, 0, 0},
			{"loss 5 %", Impairment{Loss: 0.05}, mix, 0, 0},
			{"loss 20 %", Impairment{Loss: bad}, mix, 2, 2},
			{"loss 20 %, PPTP", Impairment{Loss: bad}, "PPTP", 2, 0},
			{"loss 20 %, L2TP_IPSEC", Impairment{Loss: bad}, "L2TP_IPSEC", 2, 2},
			{"loss 20 %, L2TP", Impairment{Loss: bad}, "L2TP", 2, 2},
			{"10 % twice", Impairment{Duplicate: 0.1}, numbered, 0, 0},
			{"20 % held back by 30 ms", Impairment{Reorder: 0.2, Delay: 10 * time.Millisecond}, mix, 0, 0},
			{"500 ms each way", Impairment{Delay: 500 * time.Millisecond}, mix, 0, 0},
			{"256 kbit/s", Impairment{Rate: 256_000, Delay: 20 * time.Millisecond}, mix, 0, 0},
			{"all of it, 5 % loss", Impairment{
				Loss: 0.05, Duplicate: 0.05, Reorder: 0.1, Delay: 250 * time.Millisecond, Jitter: 100 * time.Millisecond,
			}, numbered, 1, 0},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				out := s.wants(t, s.hold(t, l, i, clients, standing, "--hello", "1m", "--rekey", "2"), clients)
				if s.impairment.Loss == bad {
					tried.Add(clients)
					failed.Add(int64(out))
				}
			})
		}
	})
	if t.Logf("at 20 %% loss %d of %d failed", failed.Load(), tried.Load()); failed.Load()*100 > tried.Load() {
		t.Error("that is more than one in a hundred")
	}
	lab.Eventually(t, gone, "sessions end whose goodbye was lost", func() bool { return d.Instance(t).Sessions == 0 })
}

// gone is how long the daemon may keep a client that vanished: until HELLO, dead peer detection or an Echo-Request has told.
const gone = 3 * time.Minute
