package tun

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"concentrator/internal/dataplane/netns"
)

// yard is a namespace that the tests take for the daemon's own, so that they touch nobody's.
type yard struct {
	t    *testing.T
	name string
	ns   *netns.Handle
}

func newYard(t *testing.T) *yard {
	t.Helper()
	name := testNamespace(t) + "-yard"
	ns, _, err := netns.Ensure(name) // with forwarding on
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(ns.Close(), netns.Remove(name)); err != nil {
			t.Error(err)
		}
	})
	return &yard{t, name, ns}
}

// configure is Configure as the daemon would call it in the yard.
func (y *yard) configure(d *Device, c Config) error {
	return y.ns.Do(func() error { return d.Configure(c) })
}

func (y *yard) open(namespace, device string) *Device {
	y.t.Helper()
	d, err := Open(Spec{Namespace: namespace, Device: device, Queues: 1, MTU: 1400})
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() {
		if err := y.ns.Do(d.Close); err != nil {
			y.t.Error(err)
		}
	})
	return d
}

// crash leaves the device as a daemon that was killed would.
func (y *yard) crash(d *Device) {
	y.t.Helper()
	d.closed = true
	if d.uplinked {
		uplinks.n--
	}
	if err := d.release(); err != nil {
		y.t.Fatal(err)
	}
}

func up(address, gateway string) Config {
	return Config{MTU: 1400, Uplink: Uplink{netip.MustParsePrefix(address), netip.MustParseAddr(gateway)}}
}

func pings(ns, to string) bool {
	return exec.Command("ip", "netns", "exec", ns, "ping", "-n", "-c", "1", "-i", "0.2", "-w", "2", to).Run() == nil
}

func index(t *testing.T, ns, link string) string {
	t.Helper()
	i, _, _ := strings.Cut(in(t, ns, "ip", "-o", "link", "show", "dev", link), ":")
	return i
}

func TestOuterEnd(t *testing.T) {
	for namespace, want := range map[string]string{
		"acme": "upl-acme", "eleven-octe": "upl-eleven-octe", "twelve-octet": "upl-ab4f18a65b", "a b": "upl-c8687a08aa",
	} {
		if got := outerEnd(namespace); checkName(got) != nil || got != want {
			t.Errorf("%q: %q, want %q", namespace, got, want)
		}
	}
}

func TestUplink(t *testing.T) {
	y := newYard(t)
	ns := testNamespace(t)
	d := y.open(ns, "vpn0")
	config := up("10.255.0.2/30", "10.255.0.1")
	check := func(address, gateway string) {
		t.Helper()
		if !pings(ns, gateway) || !pings(y.name, address) {
			t.Error("the ends don't reach each other")
		}
		routes := strings.TrimSpace(in(t, ns, "ip", "route", "show", "default"))
		if routes != "default via "+gateway+" dev uplink proto static" {
			t.Errorf("default route: %q", routes)
		}
		for ns, link := range map[string]string{ns: "uplink", y.name: outerEnd(ns)} {
			if n := strings.Count(in(t, ns, "ip", "-4", "address", "show", "dev", link), "inet "); n != 1 {
				t.Errorf("%s has %d addresses", link, n)
			}
		}
	}
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	check("10.255.0.2", "10.255.0.1")
	first := index(t, ns, "uplink")

	// The ends change places, which is the same prefix; then another. The link stays.
	for _, a := range [][2]string{{"10.255.0.1", "10.255.0.2"}, {"10.255.9.6", "10.255.9.5"}} {
		config = up(a[0]+"/30", a[1])
		if err := y.configure(d, config); err != nil {
			t.Fatal(err)
		}
		check(a[0], a[1])
	}
	if now := index(t, ns, "uplink"); now != first {
		t.Errorf("the link was made anew: %s, then %s", first, now)
	}

	// An operator deletes it; the next Configure mends it.
	in(t, y.name, "ip", "link", "del", outerEnd(ns))
	in(t, y.name, "nft", "flush", "ruleset")
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	check("10.255.9.6", "10.255.9.5")
	if rules := in(t, y.name, "nft", "list", "ruleset"); !strings.Contains(rules, `iifname "upl-*" oifname "upl-*" drop`) {
		t.Errorf("tenants are not kept apart:\n%s", rules)
	}
	before := index(t, ns, "uplink")

	// A crash: the next run finds it, and keeps it.
	y.crash(d)
	d = y.open(ns, "vpn0")
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	check("10.255.9.6", "10.255.9.5")
	if now := index(t, ns, "uplink"); now != before {
		t.Errorf("after a crash the link was made anew: %s, then %s", before, now)
	}
	// Another, and the device has another name now.
	y.crash(d)
	d = y.open(ns, "vpn1")
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	check("10.255.9.6", "10.255.9.5")
	// And one after which no uplink is wanted.
	y.crash(d)
	d = y.open(ns, "vpn1")
	if err := y.configure(d, Config{MTU: 1400}); err != nil {
		t.Fatal(err)
	}
	if links := in(t, ns, "ip", "link") + in(t, y.name, "ip", "link"); strings.Contains(links, "upl") {
		t.Errorf("left over:\n%s", links)
	}

	// Closing takes all of it.
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	if err := y.ns.Do(d.Close); err != nil {
		t.Fatal(err)
	}
	if links := in(t, ns, "ip", "link") + in(t, y.name, "ip", "link"); strings.Contains(links, "upl") {
		t.Errorf("left over:\n%s", links)
	}
	if rules := in(t, y.name, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("left over:\n%s", rules)
	}
}

// TestHalfMadeUplink is what a crash in the middle leaves: without marks, or with one and without addresses; and an other end
// that somebody moved.
func TestHalfMadeUplink(t *testing.T) {
	y := newYard(t)
	ns := testNamespace(t)
	d := y.open(ns, "vpn0")
	for i, outside := range []string{y.name, y.name, ns} {
		in(t, ns, "ip", "link", "add", "uplink", "type", "veth", "peer", "name", outerEnd(ns), "netns", outside)
		if i > 0 {
			in(t, ns, "ip", "link", "set", "uplink", "alias", uplinkMark+"vpn0")
		}
		if err := y.configure(d, up("10.255.0.2/30", "10.255.0.1")); err != nil {
			t.Fatal(err)
		}
		if !pings(ns, "10.255.0.1") {
			t.Error("it does not work")
		}
		if err := y.configure(d, Config{MTU: 1400}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUplinkInTheWay(t *testing.T) {
	const address, gateway = "10.255.0.2/30", "10.255.0.1"
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, y *yard, ns string)
		want    error
	}{
		{"an operator's link inside", func(t *testing.T, _ *yard, ns string) {
			in(t, ns, "ip", "link", "add", "uplink", "type", "veth")
		}, ErrDeviceExists},
		{"an operator's link outside", func(t *testing.T, y *yard, ns string) {
			in(t, y.name, "ip", "link", "add", outerEnd(ns), "type", "veth")
		}, ErrDeviceExists},
		{"an address outside", func(t *testing.T, y *yard, _ string) {
			in(t, y.name, "ip", "address", "add", "10.255.0.129/24", "dev", "lo")
		}, ErrUplinkTaken},
		{"an address inside", func(t *testing.T, _ *yard, ns string) {
			in(t, ns, "ip", "address", "add", "10.255.0.3/32", "dev", "lo")
		}, ErrUplinkTaken},
		{"an operator's default route", func(t *testing.T, _ *yard, ns string) {
			in(t, ns, "ip", "route", "add", "default", "dev", "lo")
		}, ErrRouteExists},
		{"another device's uplink", func(t *testing.T, y *yard, ns string) {
			if err := y.configure(y.open(ns, "vpn1"), up("10.255.7.2/30", "10.255.7.1")); err != nil {
				t.Fatal(err)
			}
		}, ErrUplinkTaken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := newYard(t)
			ns := testNamespace(t)
			d := y.open(ns, "vpn0")
			tt.prepare(t, y, ns)
			if err := y.configure(d, up(address, gateway)); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestUplinkOfForeignNamespace(t *testing.T) {
	y := newYard(t)
	name := testNamespace(t) + "-theirs"
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	d := y.open(name, "vpn0")
	before := len(d.Warnings())
	if err := y.configure(d, up("10.255.0.2/30", "10.255.0.1")); err != nil {
		t.Fatal(err)
	}
	if w := d.Warnings(); len(w) != before+1 || !strings.Contains(w[before], "uplink") {
		t.Errorf("warnings: %q", w)
	}
	if links := in(t, name, "ip", "link"); strings.Contains(links, "uplink") {
		t.Errorf("an uplink in a namespace of an operator's:\n%s", links)
	}
	if err := y.configure(d, Config{MTU: 1400}); err != nil || len(d.Warnings()) != before {
		t.Errorf("%v, %q", err, d.Warnings())
	}
}

// TestUplinksAreApart: the daemon's namespace forwards, but not from one tenant to another.
func TestUplinksAreApart(t *testing.T) {
	y := newYard(t)
	ns := testNamespace(t)
	a, b := ns+"-a", ns+"-b"
	for name, c := range map[string]Config{a: up("10.255.0.2/30", "10.255.0.1"), b: up("10.255.0.6/30", "10.255.0.5")} {
		t.Cleanup(func() {
			if err := netns.Remove(name); err != nil {
				t.Error(err)
			}
		})
		if err := y.configure(y.open(name, "vpn0"), c); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("ip", "netns", "add", ns+"-w").CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns+"-w").CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	in(t, y.name, "ip", "link", "add", "world", "type", "veth", "peer", "name", "eth0", "netns", ns+"-w")
	in(t, y.name, "ip", "address", "add", "198.51.100.1/24", "dev", "world")
	in(t, y.name, "ip", "link", "set", "world", "up")
	in(t, ns+"-w", "ip", "address", "add", "198.51.100.2/24", "dev", "eth0")
	in(t, ns+"-w", "ip", "link", "set", "eth0", "up")
	in(t, ns+"-w", "ip", "route", "add", "default", "via", "198.51.100.1")
	for _, n := range []string{a, b} {
		if !pings(n, "198.51.100.2") {
			t.Errorf("%s does not reach the world", n)
		}
	}
	if pings(a, "10.255.0.6") || pings(b, "10.255.0.2") {
		t.Error("a tenant reaches another by the daemon's namespace")
	}
	in(t, y.name, "nft", "flush", "ruleset") // the test can tell
	if !pings(a, "10.255.0.6") {
		t.Error("not even without the rule")
	}
}
