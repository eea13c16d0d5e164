package soak

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

// Soak is how sessions are held.
type Soak struct {
	Protocols string
	Clients   int
	Duration  time.Duration
	Churn     float64 // sessions a second that come anew
	Rebind    float64 // and whose NAT gives them another port
	Rekey     float64 // and that make new SAs
	Ping      float64 // echo requests a second through each session
	// IKE and ESP are the lifetimes of SAs.
	IKE, ESP time.Duration
	// Warm is how long sessions come and go before anything is compared, Rapid of them a second. Full says that this fills the
	// lists that have an end, as that of log-ins, so that the heap must be as small afterwards as before.
	Warm  time.Duration
	Rapid float64
	Full  bool
	// Linger is how long the daemon keeps something of a client that has gone: 31 s of an L2TP tunnel outside IPsec, to
	// acknowledge a goodbye that comes again, and a minute of one that was making new SAs.
	Linger time.Duration
	// Every is how often the daemon is looked at meanwhile.
	Every time.Duration
}

// What may be different afterwards.
const (
	slack    = 2    // goroutines and descriptors
	growth   = 0.05 // of the heap
	answered = 0.99 // of the pings
)

// settle is how long the daemon may take until nothing is left of anybody.
const settle = 15 * time.Second

// Run holds sessions, compares, and writes what was seen meanwhile to a file of the folder out.
func (s Soak) Run(t *testing.T, file string) {
	t.Helper()
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	r := s.start(t, l, s.Warm, s.Rapid).Wait(t)
	if r.OK == 0 || r.Lost != 0 || len(r.Failed) != 0 {
		t.Fatalf("warming up: %+v\n%s", r, d.Tail(20))
	}
	time.Sleep(s.Linger)
	before := s.quiet(t, l, d, math.MaxInt)

	samples, began := [][]string{header}, time.Now()
	load := s.start(t, l, s.Duration, s.Churn)
	done := make(chan lab.Report, 1)
	go func() {
		defer close(done) // without a report if there is none
		done <- load.Wait(t)
	}()
	ticker := time.NewTicker(s.Every)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case report, ok := <-done:
			if over, r = true, report; !ok {
				t.FailNow()
			}
		case <-ticker.C:
			now := look(t, l, d)
			samples = append(samples, now.row(time.Since(began)))
			if now.sums["concentrator_faults"] != 0 {
				t.Errorf("after %v: faults %+v", time.Since(began).Round(time.Second), d.Instance(t).Faults)
			}
		}
	}
	after := s.quiet(t, l, d, before.goroutines+slack)
	samples = append(samples, before.row(0), after.row(time.Since(began)))
	write(t, file, samples)
	t.Logf("log-ins %d ok, failed %v, lost %v, rebound %d, new SAs %+v, SAs %+v, pings %d of %d; p50 %.1f ms, p99 %.1f ms",
		r.OK, r.Failed, r.LostReasons, r.Rebound, r.Rekeys, r.SAs, r.Pings.Answered, r.Pings.Sent, r.P50Ms, r.P99Ms)
	for _, x := range []struct {
		when string
		state
	}{{"before", before}, {"after", after}} {
		t.Logf("%s: %d goroutines, %d descriptors, %d threads, heap %d, resident %d, steering %d", x.when, x.goroutines,
			x.descriptors, x.threads, x.live, x.resident, x.steering)
	}
	s.check(t, r)
	s.compare(t, before, after)
	d.Stop(t)
	b, err := readBooks(filepath.Join(d.Dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := b.unbalanced(); len(wrong) != 0 || len(b.starts) == 0 {
		t.Errorf("accounting of %d sessions: %q", len(b.starts), wrong)
	}
	t.Logf("accounting: %d Starts, %d Stops", len(b.starts), len(b.stops))
}

// start starts the clients.
func (s Soak) start(t *testing.T, l *lab.Lab, d time.Duration, churn float64) *lab.Load {
	t.Helper()
	return l.StartLoad(t, "hold", "--protocol", s.Protocols, "--source-net", "10.200.0.0/20", "--count", strconv.Itoa(s.Clients),
		"--parallel", "16", "--duration", d.String(), "--churn", fmt.Sprint(churn), "--rebind", fmt.Sprint(s.Rebind),
		"--rekey", fmt.Sprint(s.Rekey), "--ping", fmt.Sprint(s.Ping), "--ping-to", lab.FarHost,
		"--ike-lifetime", s.IKE.String(), "--esp-lifetime", s.ESP.String())
}

// quiet waits until nothing is left of anybody and there are no more goroutines than that, and looks.
func (s Soak) quiet(t *testing.T, l *lab.Lab, d *lab.Daemon, goroutines int) state {
	t.Helper()
	wait := func(limit time.Duration) (now state) {
		end := time.Now().Add(limit)
		for now = look(t, l, d); time.Now().Before(end); now = look(t, l, d) {
			if len(now.busy()) == 0 && now.goroutines <= goroutines {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		return now
	}
	now := wait(settle + s.Linger)
	if busy := now.busy(); len(busy) != 0 {
		t.Errorf("left after %v: %q", settle, busy)
	}
	if s.Full {
		heap := live(t, d)
		time.Sleep(settle) // it has asked for its metrics a thousand times: the last of that goes too
		now = wait(settle)
		now.live = heap
	}
	return now
}

// check looks at what the clients say.
func (s Soak) check(t *testing.T, r lab.Report) {
	t.Helper()
	if len(r.Failed) != 0 || r.Lost != 0 || r.HangUpFailed != 0 || r.Open != s.Clients {
		t.Errorf("failed %v, lost %v, %d goodbyes without an answer, %d open: %v", r.Failed, r.LostReasons, r.HangUpFailed, r.Open, r.Examples)
	}
	if r.Rekeys.Failed != 0 || r.Rekeys.OK == 0 || r.Rebound == 0 || min(r.SAs.IKE, r.SAs.ESP) <= r.Protocols["L2TP_IPSEC"].OK {
		t.Errorf("%d times another port, new SAs %+v, SAs %+v: %v", r.Rebound, r.Rekeys, r.SAs, r.Examples)
	}
	if float64(r.Pings.Answered) < answered*float64(r.Pings.Sent) || r.Pings.Sent == 0 {
		t.Errorf("%d of %d pings were answered", r.Pings.Answered, r.Pings.Sent)
	}
}

// compare looks for what has grown.
func (s Soak) compare(t *testing.T, before, after state) {
	t.Helper()
	if after.goroutines > before.goroutines+slack || after.descriptors > before.descriptors+slack {
		t.Errorf("%d goroutines, then %d; %d descriptors, then %d", before.goroutines, after.goroutines, before.descriptors, after.descriptors)
	}
	if s.Full && float64(after.live) > (1+growth)*float64(before.live) {
		t.Errorf("a heap of %d octets, then of %d", before.live, after.live)
	}
	if after.steering != before.steering {
		t.Errorf("%d octets of maps that steer, then %d", before.steering, after.steering)
	}
	if !slices.Equal(before.kernel, after.kernel) {
		t.Errorf("the kernel had\n%q\nand has\n%q", before.kernel, after.kernel)
	}
}

var header = []string{
	"seconds", "sessions", "leases", "ike_sas", "esp_sas", "peers", "tunnels", "pptp", "goroutines", "descriptors", "threads",
	"heap_live", "resident",
}

// row is a state as a line of samples.
func (s state) row(at time.Duration) []string {
	row := []string{strconv.Itoa(int(at.Seconds()))}
	for _, name := range []string{
		"concentrator_sessions", "concentrator_pool_leased_addresses", "concentrator_ike_sas", "concentrator_esp_sas",
		"concentrator_ipsec_peers", "concentrator_l2tp_tunnels", "concentrator_pptp_connections",
	} {
		row = append(row, strconv.Itoa(int(s.sums[name])))
	}
	for _, n := range []int{s.goroutines, s.descriptors, s.threads, s.live, s.resident} {
		row = append(row, strconv.Itoa(n))
	}
	return row
}

// write puts samples into a file of the folder out of this checkout.
func write(t *testing.T, name string, rows [][]string) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
}
