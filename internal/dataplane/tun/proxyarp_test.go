package tun

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// lan is a host on a link that leads into a namespace.
type lan struct {
	t  *testing.T
	ns string
}

func newLAN(t *testing.T, router string) *lan {
	t.Helper()
	l := &lan{t, router + "-lan"}
	if out, err := exec.Command("ip", "netns", "add", l.ns).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", l.ns).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	in(t, l.ns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", router)
	in(t, l.ns, "ip", "address", "add", "192.168.77.2/24", "dev", "eth0")
	in(t, l.ns, "ip", "link", "set", "eth0", "up")
	in(t, router, "ip", "address", "add", "192.168.77.1/24", "dev", "lan0")
	in(t, router, "ip", "link", "set", "lan0", "up")
	in(t, router, "sysctl", "-q", "-w", "net.ipv4.neigh.lan0.proxy_delay=0") // by default up to 0.8 s
	if !pings(l.ns, "192.168.77.1") {
		t.Fatal("the link does not work")
	}
	return l
}

// asks says whether somebody on the link answers for an address.
func (l *lan) asks(a string) bool {
	l.t.Helper()
	in(l.t, l.ns, "ip", "neigh", "flush", "dev", "eth0")
	_ = exec.Command("ip", "netns", "exec", l.ns, "ping", "-n", "-c", "1", "-W", "0.2", a).Run() // nobody replies
	return strings.Contains(in(l.t, l.ns, "ip", "neigh", "show", a), "lladdr")
}

func proxies(t *testing.T, ns string) int {
	t.Helper()
	return strings.Count(in(t, ns, "ip", "neigh", "show", "proxy"), "\n")
}

func TestProxyARP(t *testing.T) {
	ns := testNamespace(t)
	config := Config{MTU: 1400, Addresses: addrs("192.168.77.65"), Routes: prefixes("192.168.77.64/26"), ProxyARP: true}
	open := func(device string, c Config) *Device {
		t.Helper()
		d, err := Open(Spec{Namespace: ns, Device: device, Queues: 1, MTU: 1400})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := d.Configure(c); err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := open("vpn0", config)
	add := func(d *Device, p string) {
		t.Helper()
		if err := d.Add(netip.MustParsePrefix(p), 0); err != nil {
			t.Fatal(err)
		}
	}
	add(d, "192.168.77.70/32")
	l := newLAN(t, ns) // a link that comes later
	add(d, "192.168.77.71/32")
	add(d, "192.168.77.200/32") // a static address outside the pool
	add(d, "192.168.77.208/28") // a framed route
	check := func(when string, want map[string]bool) {
		t.Helper()
		for a, want := range want {
			if got := l.asks(a); got != want {
				t.Errorf("%s: %s is answered: %t", when, a, got)
			}
		}
	}
	check("leased", map[string]bool{
		"192.168.77.70": true, "192.168.77.71": true, "192.168.77.200": true, "192.168.77.65": true, // ours
		"192.168.77.72": false, "192.168.77.210": false, "192.168.77.3": false,
	})
	if err := d.Remove(netip.MustParsePrefix("192.168.77.70/32")); err != nil {
		t.Fatal(err)
	}
	check("given back", map[string]bool{"192.168.77.70": false, "192.168.77.71": true})

	// Off and on again.
	off := config
	off.ProxyARP = false
	if err := d.Configure(off); err != nil {
		t.Fatal(err)
	}
	add(d, "192.168.77.73/32")
	check("off", map[string]bool{"192.168.77.71": false, "192.168.77.73": false})
	if n := proxies(t, ns); n != 0 {
		t.Errorf("%d entries when it is off", n)
	}
	if err := d.Configure(config); err != nil {
		t.Fatal(err)
	}
	check("on again", map[string]bool{"192.168.77.71": true, "192.168.77.73": true})

	// A crash leaves entries. The next run forgets them, and not those of a device that lives.
	other := open("vpn1", Config{MTU: 1400, Routes: prefixes("192.168.77.32/28"), ProxyARP: true})
	add(other, "192.168.77.33/32")
	d.closed = true
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
	if n := proxies(t, ns); n != 4 {
		t.Fatalf("%d entries after the crash", n)
	}
	in(t, ns, "ip", "neigh", "add", "proxy", "192.168.77.99", "dev", "lan0") // an operator's
	d = open("vpn0", config)
	if n := proxies(t, ns); n != 2 {
		t.Errorf("%d entries after the next start", n)
	}
	check("after a crash", map[string]bool{"192.168.77.71": false, "192.168.77.33": true})
	add(d, "192.168.77.71/32")
	check("and a login", map[string]bool{"192.168.77.71": true})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := proxies(t, ns); n != 2 {
		t.Errorf("%d entries after Close", n)
	}
}
