package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/pktbuf"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatal("CONCENTRATOR_REAL=1, but not root: TUN devices can't be made")
	}
	t.Skip("needs root to make TUN devices")
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"vpn0": true, "": false, ".": false, "..": false, "a/b": false, "a:b": false, "a b": false, "vpn%d": false,
		"fifteen-octets-": true, "sixteen-octets--": false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// testNamespace returns the name of a namespace that is made and removed by the code under test.
func testNamespace(t *testing.T) string {
	t.Helper()
	needRoot(t)
	name := fmt.Sprintf("cctest-%d-%s", os.Getpid(), strings.NewReplacer("/", "-", " ", "-").Replace(strings.ToLower(t.Name())))
	t.Cleanup(func() {
		if err := netns.Remove(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func in(t *testing.T, ns string, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func prefixes(s ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

func addrs(s ...string) []netip.Addr {
	var as []netip.Addr
	for _, a := range s {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

func wantRoutes(t *testing.T, ns string, want ...string) {
	t.Helper()
	var have []string
	for line := range strings.Lines(in(t, ns, "ip", "-4", "route", "show", "dev", "vpn0")) {
		have = append(have, strings.Fields(line)[0])
	}
	if got, want := strings.Join(have, " "), strings.Join(want, " "); got != want {
		t.Errorf("routes are %q, want %q", got, want)
	}
}

func TestDevice(t *testing.T) {
	ns := testNamespace(t)
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 2, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if len(d.Queues()) != 2 {
		t.Errorf("%d queues", len(d.Queues()))
	}
	if w := d.Warnings(); len(w) != 0 {
		t.Errorf("warns about a namespace of ours: %v", w)
	}
	config := Config{
		MTU: 1300, Addresses: addrs("10.50.0.1", "10.60.0.1"), Routes: prefixes("10.50.0.0/24", "10.60.0.0/30"), Masquerade: true,
	}
	if err := d.Configure(config); err != nil {
		t.Fatal(err)
	}
	link := in(t, ns, "ip", "-4", "address", "show", "dev", "vpn0")
	for _, s := range []string{"mtu 1300", "qdisc noqueue", "qlen 2048", "UP", "inet 10.50.0.1/32", "inet 10.60.0.1/32"} {
		if !strings.Contains(link, s) {
			t.Errorf("%q is missing in\n%s", s, link)
		}
	}
	wantRoutes(t, ns, "10.50.0.0/24", "10.60.0.0/30")
	if rules := in(t, ns, "nft", "list", "ruleset"); !strings.Contains(rules, `iifname "vpn0" oifname != "vpn0" masquerade`) {
		t.Errorf("no masquerading in\n%s", rules)
	}

	// Sessions: inside a pool, a static address outside, a framed route.
	for i, p := range prefixes("10.50.0.7/32", "10.70.0.9/32", "10.80.0.0/16") {
		if err := d.Add(p, i%2); err != nil {
			t.Fatal(err)
		}
	}
	wantRoutes(t, ns, "10.50.0.0/24", "10.60.0.0/30", "10.70.0.9", "10.80.0.0/16")

	// The pool shrinks away from under a session and grows over another: each keeps exactly one way in.
	config.Routes, config.Addresses, config.Masquerade = prefixes("10.70.0.0/24", "10.80.0.0/16"), addrs("10.70.0.1"), false
	if err := d.Configure(config); err != nil {
		t.Fatal(err)
	}
	wantRoutes(t, ns, "10.50.0.7", "10.70.0.0/24", "10.70.0.9", "10.80.0.0/16")
	if link := in(t, ns, "ip", "-4", "address", "show", "dev", "vpn0"); strings.Contains(link, "10.50.0.1") || !strings.Contains(link, "10.70.0.1") {
		t.Errorf("addresses after the change:\n%s", link)
	}
	if rules := in(t, ns, "nft", "list", "ruleset"); strings.Contains(rules, "vpn0") {
		t.Errorf("masquerading stays:\n%s", rules)
	}
	for _, p := range prefixes("10.50.0.7/32", "10.70.0.9/32", "10.80.0.0/16") {
		if err := d.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	wantRoutes(t, ns, "10.70.0.0/24", "10.80.0.0/16")
	// And a pool's route that becomes a session's.
	if err := d.Add(netip.MustParsePrefix("10.80.0.0/16"), 1); err != nil {
		t.Fatal(err)
	}
	config.Routes = nil
	if err := d.Configure(config); err != nil {
		t.Fatal(err)
	}
	wantRoutes(t, ns, "10.80.0.0/16")

	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := d.Add(netip.MustParsePrefix("10.90.0.0/16"), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if links := in(t, ns, "ip", "link"); strings.Contains(links, "vpn0") {
		t.Errorf("the device is still there:\n%s", links)
	}
}

func TestForeignRouteIsRefused(t *testing.T) {
	ns := testNamespace(t)
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	in(t, ns, "ip", "route", "add", "blackhole", "10.70.0.9/32")
	if err := d.Add(netip.MustParsePrefix("10.70.0.9/32"), 0); !errors.Is(err, ErrRouteExists) {
		t.Errorf("Add over an operator's route: %v", err)
	}
}

func TestDeviceNameTaken(t *testing.T) {
	ns := testNamespace(t)
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if again, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: 1400}); !errors.Is(err, ErrDeviceExists) {
		t.Errorf("the same device again: %v, %v", again, err)
	}
	// A persistent one of an operator is not ours either.
	in(t, ns, "ip", "tuntap", "add", "dev", "vpn1", "mode", "tun", "multi_queue")
	if other, err := Open(Spec{Namespace: ns, Device: "vpn1", Queues: 1, MTU: 1400}); !errors.Is(err, ErrDeviceExists) {
		t.Errorf("an operator's device: %v, %v", other, err)
	}
}

func TestLeftoverMasqueradeGoes(t *testing.T) {
	ns := testNamespace(t)
	h, _, err := netns.Ensure(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := setMasquerade(h, "vpn0", true); err != nil { // and then the daemon was killed
		t.Fatal(err)
	}
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if rules := in(t, ns, "nft", "list", "ruleset"); strings.Contains(rules, "vpn0") {
		t.Errorf("left over from a crash:\n%s", rules)
	}
}

// TestDeletedDevice: an operator deletes it. What the shards use must fail, and Close must not.
func TestDeletedDevice(t *testing.T) {
	ns := testNamespace(t)
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Configure(Config{MTU: 1400, Addresses: addrs("10.50.0.1"), Routes: prefixes("10.50.0.0/24"), Masquerade: true}); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(netip.MustParsePrefix("10.70.0.9/32"), 0); err != nil {
		t.Fatal(err)
	}
	in(t, ns, "ip", "link", "del", "vpn0")
	var b pktbuf.Buf
	if _, errno := NewTrain().Read(Queue{d.Queues()[0], both}, &b); errno != unix.EBADFD {
		t.Errorf("read: %v", errno)
	}
	c := NewCoalescer()
	for _, p := range build(append(tcpRun(2, 100), udpRun(1, 100)...)) { // a train, and a packet alone
		c.Add(Queue{d.Queues()[0], d.Offloads()}, bufOf(t, p))
	}
	c.Flush()
	if c.Errno(0) != unix.EBADFD || c.Errno(1) != unix.EBADFD || c.Errno(2) != unix.EBADFD {
		t.Errorf("write: %v, %v, %v", c.Errno(0), c.Errno(1), c.Errno(2))
	}
	if err := d.Remove(netip.MustParsePrefix("10.70.0.9/32")); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestWarning(t *testing.T) {
	needRoot(t)
	name := fmt.Sprintf("cctest-warn-%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	d, err := Open(Spec{Namespace: name, Device: "vpn0", Queues: 1, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if w := d.Warnings(); len(w) != 1 || !strings.Contains(w[0], "ip_forward") {
		t.Errorf("warnings: %q", w)
	}
}

// TestQueues moves a packet each way through the real device.
func TestQueues(t *testing.T) {
	ns := testNamespace(t)
	d, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 2, MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Configure(Config{MTU: 1400, Addresses: addrs("10.50.0.1"), Routes: prefixes("10.50.0.0/24")}); err != nil {
		t.Fatal(err)
	}
	for i, p := range prefixes("10.50.0.6/32", "10.50.0.7/32") {
		if err := d.Add(p, i); err != nil {
			t.Fatal(err)
		}
	}
	h, err := netns.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var fd int
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	tr, b := NewTrain(), new(pktbuf.Buf)
	for queue := range 2 {
		for range 2 {
			to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 50, 0, byte(6 + queue)}}
			if err := unix.Sendto(fd, []byte("hello"), 0, to); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			got, errno := tr.Read(Queue{d.Queues()[queue], both}, b)
			if p := b.Bytes(); got != Single || errno != 0 || len(p) != 20+8+5 || p[19] != byte(6+queue) {
				t.Errorf("queue %d, packet %d: %d, %v, % x", queue, i, got, errno, p)
			}
		}
		for i := range 2 {
			if _, errno := tr.Read(Queue{d.Queues()[i], both}, b); errno != unix.EAGAIN {
				t.Errorf("queue %d has one more, %v", i, errno)
			}
		}
	}
}
