//go:build interop && interop_long

package fault

import (
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

// TestClockAndKill: the clock is set, on and back, and then the daemon is killed, with sessions up. What the next start writes of
// them has how long they were up, as far as was known, and not how far the clock went.
func TestClockAndKill(t *testing.T) { inGuest(t, setClockAndKill) }

// What sessions have carried is written down every fifteen seconds. So much more goes by until the daemon is killed, and so long at
// least they are known to have been up.
const (
	checkpoints = 15 * time.Second
	known       = 3 * time.Second
)

func setClockAndKill(t *testing.T) {
	w := &clockWorld{Lab: lab.New(t)}
	w.d = w.NewDaemon(t, clockDocuments)
	for _, by := range []time.Duration{26 * time.Hour, -48 * time.Hour} {
		w.start(t)
		c := w.hold(t, 3)
		turnClock(t, by)
		time.Sleep(checkpoints + known)
		w.d.Kill()
		c.killed, c.least, c.most = true, known, time.Since(c.begun)
		c.Kill()
		w.up -= c.count
	}
	w.start(t)
	w.login(t)
	w.stop(t)
	w.checkBooks(t)
}
