package soak

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

// gauges are the metrics that must be 0 when nobody is there. concentrator_ike_half_open is not one: an exchange whose client
// hangs up in the middle is there for another half a minute.
var gauges = []string{
	"concentrator_session_slots", "concentrator_ike_sas", "concentrator_l2tp_tunnels",
	"concentrator_pptp_connections", "concentrator_esp_sas", "concentrator_ipsec_peers", "concentrator_shard_calls",
	"concentrator_sessions", "concentrator_pool_leased_addresses", "concentrator_accounting_unsent_records",
	"concentrator_faults",
}

// state is what a daemon has at a time.
type state struct {
	goroutines, descriptors, threads int
	live                             int // octets of the heap behind a collection of garbage
	resident                         int // octets
	steering                         int // octets of the maps that steer packets
	sums                             map[string]float64
	kernel                           []string // links, routes, rules and nftables of the daemon's namespace
}

// sums adds the series of each gauge.
func sums(page map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for series, v := range page {
		name, _, _ := strings.Cut(series, "{")
		if slices.Contains(gauges, name) {
			out[name] += v
		}
	}
	return out
}

// busy lists the gauges that are not 0.
func (s state) busy() (out []string) {
	for _, name := range slices.Sorted(maps.Keys(s.sums)) {
		if s.sums[name] != 0 {
			out = append(out, fmt.Sprintf("%s is %v", name, s.sums[name]))
		}
	}
	return out
}

// look looks at a daemon as it is. live is left 0.
func look(t testing.TB, l *lab.Lab, d *lab.Daemon) state {
	t.Helper()
	page := d.Metrics(t)
	return state{
		goroutines: int(page["go_goroutines"]), descriptors: d.Descriptors(t), threads: d.Threads(t), resident: d.Resident(t),
		sums: sums(page), steering: steering(t, d.PID()), kernel: kernel(t, l.NS("srv")),
	}
}

const (
	// collections is how many collections of garbage are waited for: two, as what pools let go of survives one.
	collections = 2
	// byItself is how long it takes at most until the runtime collects garbage though there is none to speak of: two minutes, and
	// some for looking.
	byItself = 150 * time.Second
)

// live is the size of the heap right behind a collection of garbage during which nothing was going on: what is made while one is
// under way counts as alive. Before it others, which come of themselves when pages of metrics have made enough garbage.
func live(t testing.TB, d *lab.Daemon) int {
	t.Helper()
	const last, alloc = "go_memstats_last_gc_time_seconds", "go_memstats_heap_alloc_bytes"
	before, seen := d.Metrics(t)[last], 0
	for range 5000 {
		if now := d.Metrics(t)[last]; now != before {
			before = now
			if seen++; seen == collections {
				break
			}
		}
	}
	if seen < collections {
		t.Fatal("no garbage is collected")
	}
	for end := time.Now().Add(byItself); time.Now().Before(end); time.Sleep(2 * time.Second) {
		if page := d.Metrics(t); page[last] != before {
			return int(page[alloc])
		}
	}
	t.Fatal("no garbage is collected by itself")
	return 0
}

// steering is how much the BPF maps of a process hold: tables grow with their entries.
func steering(t testing.TB, pid int) (octets int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil { // a connection of the API that has just ended
			continue
		}
		if _, rest, found := strings.Cut(string(text), "memlock:"); found {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			octets += n
		}
	}
	return octets
}

// kernel is what the daemon can have put into the kernel of a namespace, one line each.
func kernel(t testing.TB, ns string) (lines []string) {
	t.Helper()
	for _, args := range [][]string{
		{"ip", "-n", ns, "-o", "link"},
		{"ip", "-n", ns, "-o", "address"},
		{"ip", "-n", ns, "rule"},
		{"ip", "-n", ns, "route", "show", "table", "all"},
		{"ip", "-n", ns, "neighbour", "show", "proxy"},
		{"nsenter", "--net=/run/netns/" + ns, "nft", "-s", "list", "ruleset"},
	} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
		for line := range strings.Lines(string(out)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
