//go:build interop

package line

import (
	"fmt"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// scenario is a line, and what comes through it.
type scenario struct {
	name       string
	impairment Impairment // of both directions
	protocols  string
	mayFail    int // of 100 log-ins
	mayLose    int // of 100 sessions
}

// Duplication is not for plain L2TP: a client that gets a Challenge twice answers twice, and MS-CHAPv2 proves the server
// against one answer only. GRE, ESP and TCP know a packet that comes twice.
const mix, numbered = "MIX", "PPTP,L2TP_IPSEC"

// hold logs clients in over a line of its own, keeps them for a time with pings, and says what came of it.
func (s scenario) hold(t *testing.T, l *lab.Lab, number, clients int, d time.Duration, flags ...string) lab.Report {
	t.Helper()
	line := New(t, l, number, 1)
	line.Impair(s.impairment, s.impairment)
	r := l.StartLoad(t, "hold", append([]string{
		"--server", line.Server, "--source-net", line.Sources, "--protocol", s.protocols, "--count", fmt.Sprint(clients),
		"--parallel", fmt.Sprint(clients), "--timeout", patience.String(), "--duration", d.String(), "--ping", "1",
	}, flags...)...).Wait(t)
	up, down := line.Counts()
	t.Logf("%s: log-ins %d ok, failed %v, p50 %.1f s, p99 %.1f s; lost %v, %d of %d pings answered, new SAs %+v; up %+v, down %+v; %v",
		s.name, r.OK, r.Failed, r.P50Ms/1e3, r.P99Ms/1e3, r.LostReasons, r.Pings.Answered, r.Pings.Sent, r.Rekeys,
		up, down, r.Examples)
	return r
}

// wants fails the test unless all clients came in, but for the part that may fail, and stayed. It returns how many did not come in.
func (s scenario) wants(t *testing.T, r lab.Report, clients int) (failed int) {
	t.Helper()
	for _, n := range r.Failed {
		failed += n
	}
	if failed*100 > s.mayFail*clients || r.OK < clients-failed {
		t.Errorf("of %d clients %d came in: %v %v", clients, clients-failed, r.Failed, r.Examples)
	}
	if r.Lost*100 > s.mayLose*clients {
		t.Errorf("lost: %v %v", r.LostReasons, r.Examples)
	}
	if r.Pings.Answered == 0 {
		t.Errorf("none of %d pings were answered", r.Pings.Sent)
	}
	return failed
}

// patience is how long somebody waits for a connection over a bad line; strongSwan would wait longer for each answer.
const patience = 2 * time.Minute

// TestShort: some log-ins at 10 % loss, as 20 % would take a minute, and some over a line that does all else to their packets, at once.
func TestShort(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	t.Run("lines", func(t *testing.T) {
		for i, s := range []scenario{
			{"loss 10 %", Impairment{Loss: 0.1}, mix, 0, 0},
			{"all but loss", Impairment{Duplicate: 0.1, Reorder: 0.2, Delay: 150 * time.Millisecond, Jitter: 50 * time.Millisecond}, numbered, 0, 0},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.wants(t, s.hold(t, l, i, 10, 2*time.Second), 10)
			})
		}
	})
	if !d.Alive() {
		t.Error(d.Tail(40))
	}
}
