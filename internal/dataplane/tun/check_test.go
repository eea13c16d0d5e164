package tun

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
)

// check is Device.Check in the yard's own namespace. The kernel takes notice of a link that comes up a little later.
func (y *yard) check(d *Device) error {
	var err error
	for range 100 {
		if err = y.ns.Do(d.Check); !errors.Is(err, ErrDown) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func netnsCommand(t *testing.T, do, name string) {
	t.Helper()
	if out, err := exec.Command("ip", "netns", do, name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns %s %s: %v: %s", do, name, err, out)
	}
}

// TestCheck: what is down is told and comes back with all its routes; an uplink that is gone is made again; a namespace that
// was deleted or replaced is noticed.
func TestCheck(t *testing.T) {
	y := newYard(t)
	name := testNamespace(t)
	d := y.open(name, "vpn0")
	config := up("10.255.0.2/30", "10.255.0.1")
	config.Addresses, config.Routes = addrs("10.50.0.1"), prefixes("10.50.0.0/24", "10.51.0.0/24")
	if err := y.configure(d, config); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(prefixes("172.20.1.0/24")[0], 0); err != nil {
		t.Fatal(err)
	}
	if err := y.check(d); err != nil {
		t.Fatal(err)
	}
	routes := in(t, name, "ip", "route")
	for _, link := range []string{"vpn0", innerEnd} {
		in(t, name, "ip", "link", "set", link, "down")
		if err := y.check(d); !errors.Is(err, ErrDown) {
			t.Fatalf("with %s down: %v", link, err)
		}
		in(t, name, "ip", "link", "set", link, "up")
		if err := y.check(d); err != nil {
			t.Fatalf("with %s up again: %v", link, err)
		}
		if got := in(t, name, "ip", "route"); got != routes {
			t.Errorf("with %s up again the routes are\n%s, not\n%s", link, got, routes)
		}
	}
	in(t, name, "ip", "link", "del", innerEnd)
	if err := y.check(d); err != nil {
		t.Fatal(err)
	}
	if got := in(t, name, "ip", "route"); got != routes {
		t.Errorf("with a new uplink the routes are\n%s, not\n%s", got, routes)
	}
	netnsCommand(t, "del", name)
	if err := y.check(d); !errors.Is(err, ErrAnew) {
		t.Fatalf("without a namespace: %v", err)
	}
	d.ours = false
	if err := y.check(d); !errors.Is(err, ErrNameless) {
		t.Fatalf("without an operator's namespace: %v", err)
	}
	d.ours = true
	netnsCommand(t, "add", name)
	if err := y.check(d); !errors.Is(err, ErrAnew) {
		t.Fatalf("in another namespace: %v", err)
	}
	netnsCommand(t, "del", name)
	if err := y.ns.Do(d.Close); err != nil {
		t.Fatal(err)
	}
	if err := y.check(d); !errors.Is(err, ErrClosed) {
		t.Fatalf("closed: %v", err)
	}
	if _, err := netns.Identity(name); !errors.Is(err, netns.ErrNotFound) {
		t.Errorf("identity of what is not there: %v", err)
	}
}
