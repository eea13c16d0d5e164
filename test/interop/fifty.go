//go:build interop

package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fiftyTenants is how many tenants testdata/fifty.yaml has.
const fiftyTenants = 50

// The inside plan of every one of them.
const (
	planPool   = "10.71.0.0/24"
	planInside = "10.99.0.0/24"
)

// FiftyTenant is a tenant of testdata/fifty.yaml.
type FiftyTenant struct {
	ID        string // t1, t2 and so on
	Namespace string
}

// fifty lists the tenants. The first two have parts of the lab, with a host behind each.
func (l *Lab) fifty() []FiftyTenant {
	all := make([]FiftyTenant, fiftyTenants)
	for i := range all {
		id := fmt.Sprintf("t%d", i+1)
		all[i] = FiftyTenant{ID: id, Namespace: l.NS(id)}
	}
	return all
}

// Fifty is a daemon of its own, which may be killed, with fifty tenants of the same addresses.
type Fifty struct {
	*Daemon
	tenants []FiftyTenant
	hosts   [2]*Host // behind t1 and t2
}

// startFifty brings it up. It is gone when the test ends, and with it all that it made.
func startFifty(t *testing.T, name string) *Fifty {
	t.Helper()
	f := &Fifty{tenants: world.lab.fifty()}
	for i, part := range []string{"t1far", "t2far"} {
		h, err := world.lab.NewHost(part)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		f.hosts[i] = h
	}
	var err error
	if f.Daemon, err = world.lab.NewDaemon(name, "fifty", world.bin, "fifty.yaml"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, tenant := range f.tenants[2:] {
			removeNamespace(tenant.Namespace)
		}
	})
	begin := time.Now()
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first start took %v", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(func() { _, _ = f.proc.stop(syscall.SIGKILL, 5*time.Second) }) // a test that cares stops it itself
	// The rest of the tenants have the plan too: gateway and host are their namespace itself.
	for _, tenant := range f.tenants[2:] {
		for _, args := range [][]string{
			{"link", "add", "name", "inner", "type", "bridge"},
			{"addr", "add", innerGateway + "/24", "dev", "inner"},
			{"addr", "add", innerHost + "/24", "dev", "inner"},
			{"link", "set", "inner", "up"},
		} {
			if err := run("ip", append([]string{"-n", tenant.Namespace}, args...)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f
}

// Device is the tenant's TUN device.
func (f FiftyTenant) Device() string { return "vpn-" + f.ID }

// delivered is how many packets the daemon has written to the tenant's device.
func (f FiftyTenant) delivered(t testing.TB) (packets uint64) {
	t.Helper()
	var text []byte
	if err := inNamespace(f.Namespace, func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, counts, found := strings.Cut(line, ":")
		if !found || strings.TrimSpace(name) != f.Device() {
			continue
		}
		var octets uint64
		if _, err := fmt.Sscan(counts, &octets, &packets); err != nil {
			t.Fatalf("%s: %q", f.Device(), line)
		}
		return packets
	}
	t.Fatalf("%s has no device %s:\n%s", f.Namespace, f.Device(), text)
	return 0
}

// network is what the kernel has in the tenant's namespace, for a comparison.
func (f FiftyTenant) network(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, what := range []string{"route", "addr"} {
		out := output(t, "ip", "-n", f.Namespace, "-o", "-4", what, "show")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i, line := range lines {
			// Not the number of the device, which is new after a restart.
			if number, rest, found := strings.Cut(line, ": "); found && strings.Trim(number, "0123456789") == "" {
				lines[i] = rest
			}
		}
		slices.Sort(lines)
		all.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return all.String()
}

// Lease is a lease as the API shows it.
type Lease struct{ Name, User, State string }

// leases are the addresses of all tenants' users: "tenants/t1/pools/main/leases/10.71.0.2 alice".
func (f *Fifty) leases(t testing.TB) (all []string) {
	t.Helper()
	var list struct{ Leases []Lease }
	f.List(t, &list, "lease")
	for _, l := range list.Leases {
		all = append(all, l.Name+" "+l.User)
	}
	slices.Sort(all)
	return all
}
