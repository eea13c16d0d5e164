//go:build interop

package fault

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/test/reliability/lab"
)

//go:embed guest/init
var guestInit []byte

// clockGuest is the variable that has the program which runs in the guest: this one.
const clockGuest = "CLOCK_GUEST"

// clockDocuments are those of the lab, with times that are over after no jump, though they would be by the wall clock. The
// lifetimes of SAs are over by it too: 8 hours and one. Sessions look at their timers each second, since they ask a client then.
var clockDocuments = strings.Replace(lab.Documents, "allowPlaintext: true", `allowPlaintext: true
idleTimeout: 3600s
sessionTimeout: 3600s
acctInterimInterval: 600s
echo: {interval: 1s, failures: 20}`, 1)

// TestClock sets the wall clock of a machine, on and back, with sessions up. The machine is a guest, which has a clock of its own:
// there this program runs again, and does the test.
func TestClock(t *testing.T) { inGuest(t, setClock) }

// inGuest does a part of a test in a guest, by running the test there again.
func inGuest(t *testing.T, do func(*testing.T)) {
	if os.Getenv(clockGuest) != "" {
		do(t)
		return
	}
	dir, bin := t.TempDir(), lab.Bin(t)
	self, err := os.Executable()
	must(t, err)
	begin := time.Now()
	log, err := lab.Guest(t, dir, guestInit, 384, clockGuest+"="+self, "CLOCK_TEST="+t.Name(), "CONCENTRATOR_BIN="+bin)
	must(t, err)
	if !strings.Contains(log, "--- PASS: "+t.Name()) {
		t.Fatal(log)
	}
	t.Logf("the guest took %v\n%s", time.Since(begin).Round(time.Second), log)
}

// clockWorld is a daemon in the guest, and what its accounting must say. It is asked by its metrics only: a guest takes long to
// run ctl.
type clockWorld struct {
	*lab.Lab
	d     *lab.Daemon
	loads []*clients // each has a network of its own, in this order
	count int        // of all their sessions
	up    int        // of those that are held
	runs  int        // of the daemon
}

// clients are sessions of one generator.
type clients struct {
	*lab.Load
	count       int
	keys        string        // file with the keys of all SAs
	begun, open time.Time     // when it was started, and when all were open
	killed      bool          // by the end of the daemon
	least, most time.Duration // how long each was up, by a clock that nobody sets
}

// setClock is the test in the guest.
func setClock(t *testing.T) {
	w := &clockWorld{Lab: lab.New(t)}
	w.d = w.NewDaemon(t, clockDocuments)
	w.start(t)
	standing := w.hold(t, 6)
	jumps := []time.Duration{26 * time.Hour, -48 * time.Hour}
	for i, by := range jumps {
		w.jump(t, by, float64(i))
	}
	w.end(t, standing)
	w.stop(t)
	// What it has written before is from tomorrow.
	w.start(t)
	w.login(t)
	w.stop(t)
	if n, _ := logged(t, w.d, "CLOCK"); n != len(jumps) {
		t.Errorf("the log has %d jumps of the clock, want %d", n, len(jumps))
	}
	w.checkBooks(t)
}

// jump sets the clock while sessions are up that have begun before and end afterwards.
func (w *clockWorld) jump(t *testing.T, by time.Duration, seen float64) {
	t.Helper()
	over := w.hold(t, 3)
	if n := w.jumps(t); n != seen {
		t.Errorf("%v jumps of the clock are counted before it jumps by %v, want %v", n, by, seen)
	}
	turnClock(t, by)
	set, sas := time.Now(), over.sas(t)

	w.login(t)
	took := lab.Eventually(t, 5*time.Second, "the jump is counted", func() bool { return w.jumps(t) > seen })
	lab.Eventually(t, 20*time.Second, "sessions that were there before make new SAs", func() bool {
		now := over.sas(t)
		return now.ike > sas.ike+1 && now.esp > sas.esp+1 // the first may have been under way
	})
	time.Sleep(time.Until(set.Add(3 * time.Second))) // it has looked more than once
	if n := w.jumps(t); n != seen+1 {
		t.Errorf("%v jumps of the clock are counted after it has jumped by %v, want %v", n, by, seen+1)
	}
	r := w.end(t, over)
	t.Logf("clock set by %v: counted %v after the log-ins; %d of %d pings, %d rekeys",
		by, took.Round(time.Millisecond), r.Pings.Answered, r.Pings.Sent, r.Rekeys.OK)
}

// turnClock sets the wall clock.
func turnClock(t *testing.T, by time.Duration) {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_REALTIME, &now))
	then := unix.NsecToTimespec(now.Nano() + int64(by))
	must(t, unix.ClockSettime(unix.CLOCK_REALTIME, &then))
}

// jumps is how often the clock has jumped, by the metrics.
func (w *clockWorld) jumps(t *testing.T) float64 {
	t.Helper()
	return w.d.Metrics(t)[`concentrator_faults_total{fault="CLOCK"}`]
}

// sum adds up the values of the series that begin like this and have these words.
func (w *clockWorld) sum(t *testing.T, begin, words string) (n float64) {
	t.Helper()
	for series, value := range w.d.Metrics(t) {
		if strings.HasPrefix(series, begin) && strings.Contains(series, words) {
			n += value
		}
	}
	return n
}

// start starts the daemon.
func (w *clockWorld) start(t *testing.T) {
	t.Helper()
	w.runs++
	must(t, w.d.Begin(t))
	lab.Eventually(t, 20*time.Second, "the daemon is ready", func() bool { return strings.Count(w.d.Log(t), `"msg":"ready"`) == w.runs })
}

// stop stops the daemon when nobody has an address any more.
func (w *clockWorld) stop(t *testing.T) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, "all addresses are free", func() bool {
		return w.sum(t, "concentrator_sessions{", "") == 0 && w.sum(t, "concentrator_pool_leased_addresses{", "") == 0
	})
	w.d.Stop(t)
}

// add lays out a load with a network of its own.
func (w *clockWorld) add(count int) (c *clients, flags []string) {
	c = &clients{count: count, begun: time.Now()}
	flags = []string{"--protocol", "MIX", "--count", strconv.Itoa(count), "--source-net", fmt.Sprintf("10.200.%d.0/24", len(w.loads))}
	w.loads = append(w.loads, c)
	w.count += count
	return c, flags
}

// hold logs in clients that stay.
func (w *clockWorld) hold(t *testing.T, count int) *clients {
	t.Helper()
	c, flags := w.add(count)
	c.keys = filepath.Join(w.Dir, fmt.Sprintf("keys-%d", len(w.loads)))
	c.Load = w.StartLoad(t, "hold", append(flags, "--duration", "5m", "--ping", "5", "--ping-to", lab.FarHost,
		"--rekey", "2", "--key-log", c.keys)...)
	w.up += count
	w.settle(t, `state="OPEN"`)
	c.open = time.Now()
	return c
}

// settle waits until there are no sessions but those that are held, of a state if one is given.
func (w *clockWorld) settle(t *testing.T, state string) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, strconv.Itoa(w.up)+" sessions "+state, func() bool {
		return w.sum(t, "concentrator_sessions{", state) == float64(w.up)
	})
}

// made counts SAs that were made, the first ones of each session included.
type made struct{ ike, esp int }

// sas counts those of IPsec.
func (c *clients) sas(t *testing.T) made {
	t.Helper()
	text, err := os.ReadFile(c.keys)
	must(t, err)
	return made{ike: strings.Count(string(text), "SKEYID_e\t"), esp: strings.Count(string(text), "ESP to the server\t")}
}

// end hangs up, and looks at what the clients have seen.
func (w *clockWorld) end(t *testing.T, c *clients) lab.Report {
	t.Helper()
	c.least = time.Since(c.open)
	c.Interrupt()
	r := c.Wait(t)
	w.up -= c.count
	w.settle(t, "")
	c.most = time.Since(c.begun)
	// It does not wait for the answers to the last ones.
	unanswered := r.Pings.Sent - r.Pings.Answered - c.count
	if r.OK != c.count || r.Lost != 0 || r.Rekeys.Failed != 0 || r.Pings.Sent < 30 || unanswered > r.Pings.Sent/100 {
		t.Errorf("standing sessions: %+v\n%s", r, w.d.Tail(20))
	}
	return r
}

// login logs a client of each protocol in and out.
func (w *clockWorld) login(t *testing.T) {
	t.Helper()
	c, flags := w.add(3)
	if r := w.StartLoad(t, "login", flags...).Wait(t); r.OK != c.count {
		t.Errorf("log-ins: %+v\n%s", r, w.d.Tail(20))
	}
	w.settle(t, "")
	c.most = time.Since(c.begun)
}

// checkBooks holds accounting, and the log's lines of sessions that have ended, against how long the sessions were up.
func (w *clockWorld) checkBooks(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.d.Dir, "state", "accounting.log*"))
	must(t, err)
	var text []byte
	for _, name := range files {
		more, err := os.ReadFile(name)
		must(t, err)
		text = append(text, more...)
	}
	starts, stops, whose := make(map[string]int), make(map[string]int), make(map[string]*clients)
	for line := range strings.Lines(string(text)) {
		var r struct {
			Status, Session string
			ClientAddress   netip.Addr
			DurationSeconds int64
			Crash           bool
		}
		must(t, json.Unmarshal([]byte(line), &r))
		switch r.Status {
		case "START":
			starts[r.Session]++
			whose[r.Session] = w.loads[r.ClientAddress.As4()[2]]
		case "STOP":
			stops[r.Session]++
			whose[r.Session].check(t, line, time.Duration(r.DurationSeconds)*time.Second, time.Second)
			if c := whose[r.Session]; c != nil && r.Crash != c.killed {
				t.Errorf("a crash has ended it: %v, is told otherwise: %s", c.killed, line)
			}
		case "INTERIM":
			t.Errorf("not due before ten minutes: %s", line)
		}
	}
	for session, n := range starts {
		if n != 1 || stops[session] != 1 {
			t.Errorf("session %s has %d Starts and %d Stops", session, n, stops[session])
		}
	}
	if len(starts) != w.count || len(stops) != w.count {
		t.Errorf("%d sessions have Starts and %d have Stops, want %d", len(starts), len(stops), w.count)
	}

	ended := 0
	for line := range strings.Lines(w.d.Log(t)) {
		if !strings.Contains(line, `"msg":"session closed"`) {
			continue
		}
		ended++
		var l struct{ Session, Duration string }
		must(t, json.Unmarshal([]byte(line), &l))
		told, err := time.ParseDuration(l.Duration)
		must(t, err)
		whose[l.Session].check(t, line, told, time.Millisecond)
	}
	want := w.count
	for _, c := range w.loads {
		if c.killed { // nobody was there to write it
			want -= c.count
		}
	}
	if ended != want {
		t.Errorf("%d sessions have ended by the log, want %d", ended, want)
	}
	t.Logf("%d sessions, those over both jumps %v to %v", w.count, w.loads[0].least.Round(time.Second/10), w.loads[0].most.Round(time.Second/10))
}

// check fails the test if one of the sessions can't have been up for as long as is told; less by up to one unit is right.
func (c *clients) check(t *testing.T, line string, told, unit time.Duration) {
	t.Helper()
	if c == nil {
		t.Errorf("a session without a Start: %s", line)
	} else if told < c.least-unit || told > c.most+time.Millisecond {
		t.Errorf("up for %v, is told; it was %v to %v: %s", told, c.least, c.most, line)
	}
}
