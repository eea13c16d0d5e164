package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"concentrator/internal/dataplane/netns"
)

// The addresses of the lab.
const (
	Server      = "198.51.100.1" // the daemon's, for clients
	Generator   = "198.51.100.20"
	Sources     = "10.200.0.0/16" // all of gen's, for clients with an address each
	AttackedAt  = "203.0.113.1"   // the daemon's, for the attacker; it may as well send to Server
	Attacker    = "203.0.113.66"
	Spoofed     = "100.64.0.0/10" // answers to them go to atk
	FarHost     = "10.99.0.2"
	FarGateway  = "10.99.0.1"
	InnerPrefix = "10.64.0.0/16" // the pools of Documents lie in it; far has a route to it
)

// prefix begins the names of our namespaces; the process ID, a number and the part's name follow.
const prefix = "rel"

// Lab is a set of namespaces and a folder for all that a test writes.
type Lab struct {
	Dir    string // scratch folder; kept when the test fails
	number int
}

var (
	building sync.Once
	bin      string
	buildErr error
	labs     int
	labsMu   sync.Mutex
)

// Bin is the folder with the daemon, ctl and loadgen: CONCENTRATOR_BIN, where make has built them, else one that it builds, once in
// a process.
func Bin(t testing.TB) string {
	t.Helper()
	building.Do(func() {
		if bin = os.Getenv("CONCENTRATOR_BIN"); bin != "" {
			return
		}
		if bin, buildErr = os.MkdirTemp("", prefix+"-bin-"); buildErr != nil { //nolint:usetesting // longer than one test
			return
		}
		cmd := exec.Command("go", "build", "-o", bin+"/", "concentrator/cmd/concentrator", "concentrator/cmd/ctl", "concentrator/cmd/loadgen")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return bin
}

// Main runs a package's tests and removes what Bin has built: TestMain calls it.
func Main(m *testing.M) {
	status := m.Run()
	if bin != "" && bin != os.Getenv("CONCENTRATOR_BIN") {
		_ = os.RemoveAll(bin)
	}
	os.Exit(status)
}

// New builds the namespaces. They are removed at the end of the test, with the folder if it has not failed.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: namespaces, TUN, raw sockets")
	}
	Bin(t)
	dir, err := os.MkdirTemp("", prefix+"-") //nolint:usetesting // kept when the test fails
	if err != nil {
		t.Fatal(err)
	}
	labsMu.Lock()
	labs++
	l := &Lab{Dir: dir, number: labs}
	labsMu.Unlock()
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("INTEROP_KEEP") != "" {
			t.Log("logs are kept in", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	for _, part := range []string{"srv", "gen", "atk", "far"} {
		l.AddPart(t, part)
	}
	l.Cable(t, "srv", "outer", Server, "gen", "outer", Generator)
	l.Cable(t, "srv", "wild", AttackedAt, "atk", "outer", Attacker)
	l.Cable(t, "srv", "inner", FarGateway, "far", "inner", FarHost)
	for _, args := range [][]string{
		{"-n", l.NS("gen"), "route", "add", "local", Sources, "dev", "lo"},
		{"-n", l.NS("srv"), "route", "add", Sources, "via", Generator},
		{"-n", l.NS("atk"), "route", "add", "local", Spoofed, "dev", "lo"},
		{"-n", l.NS("srv"), "route", "add", Spoofed, "via", Attacker},
		{"-n", l.NS("atk"), "route", "add", Server + "/32", "via", AttackedAt},
		{"-n", l.NS("far"), "route", "add", InnerPrefix, "via", FarGateway},
	} {
		Run(t, "ip", args...)
	}
	return l
}

// NS is the full name of the namespace of a part.
func (l *Lab) NS(part string) string {
	return fmt.Sprintf("%s%d-%d-%s", prefix, os.Getpid(), l.number, part)
}

// AddPart makes one more namespace, which forwards and knows no IPv6.
func (l *Lab) AddPart(t testing.TB, part string) {
	t.Helper()
	ns := l.NS(part)
	Run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	l.In(t, part, func() error {
		return errors.Join(
			netns.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"),
			netns.Sysctl("net/ipv6/conf/default/disable_ipv6", "1"),
			netns.Sysctl("net/ipv4/ip_forward", "1"),
			netns.Sysctl("net/ipv4/conf/all/rp_filter", "0"),
			netns.Sysctl("net/ipv4/conf/default/rp_filter", "0"),
		)
	})
	Run(t, "ip", "-n", ns, "link", "set", "lo", "up")
}

// Cable joins two parts by a veth pair, an address of a /24 at each end. It does no offloads: packets are as on a wire.
func (l *Lab) Cable(t testing.TB, a, nameA, addrA, b, nameB, addrB string) {
	t.Helper()
	Run(t, "ip", "-n", l.NS(a), "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", l.NS(b))
	for _, end := range [][3]string{{a, nameA, addrA}, {b, nameB, addrB}} {
		Run(t, "ip", "-n", l.NS(end[0]), "address", "add", end[2]+"/24", "dev", end[1])
		Run(t, "nsenter", "--net="+netns.Dir+"/"+l.NS(end[0]), "ethtool", "-K", end[1], "tx", "off", "gso", "off", "tso", "off", "gro", "off")
		Run(t, "ip", "-n", l.NS(end[0]), "link", "set", end[1], "up")
	}
}

// In runs f on a thread in a part. Sockets that f opens stay there; goroutines that it starts don't.
func (l *Lab) In(t testing.TB, part string, f func() error) {
	t.Helper()
	h, err := netns.Open(l.NS(part))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Do(f), h.Close()); err != nil {
		t.Fatal(err)
	}
}

// inside is the command line that runs a program in a part. It is nsenter, not `ip netns exec`: namespaces that the program
// makes could not be entered from outside under the latter's private mounts.
func (l *Lab) inside(part, program string, args ...string) []string {
	return append([]string{"nsenter", "--net=" + filepath.Join(netns.Dir, l.NS(part)), program}, args...)
}

// Run runs a command to its end and fails the test if it does; it returns what was printed.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out)
}
