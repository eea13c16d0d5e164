//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// numGuests are booted once and lent to the tests; each costs about 60 MB. Tests run in parallel as far as guests reach.
const numGuests = 3

// world is what all tests share: one daemon that serves every tenant of testdata/apply.yaml, one FreeRADIUS, the guests.
var world struct {
	lab    *Lab
	bin    string
	daemon *Daemon
	radius *Radius
	lan    *Host // behind the tenants in the daemon's own namespace
	far1   *Host // behind tenant one
	far2   *Host // behind tenant two

	borrowing sync.Mutex // one test at a time takes guests, all that it needs
	guests    chan *Guest
}

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) (status int) {
	if err := requireTools(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		_ = tearDown() // interrupted: what it says does not count
		os.Exit(130)
	}()
	defer func() {
		if err := tearDown(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
		if world.lab == nil {
			return
		}
		if status == 0 && os.Getenv("INTEROP_KEEP") == "" {
			_ = os.RemoveAll(world.lab.Dir)
		} else {
			fmt.Fprintln(os.Stderr, "interop: logs of the daemon, guests and FreeRADIUS are kept in", world.lab.Dir)
		}
	}()
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	status = m.Run()
	if err := leftovers(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	return status
}

// leftovers looks at the daemon when all guests have hung up: no session and no leased address is left.
func leftovers() error {
	var sessions, leased int
	for range 50 {
		var all struct {
			Sessions []Session
			Pools    []Pool
		}
		for _, noun := range []string{"session", "pool"} {
			text, err := world.daemon.Ctl(context.Background(), noun, "list", "-o", "json")
			if err != nil {
				return err
			}
			if err := json.Unmarshal(text, &all); err != nil {
				return fmt.Errorf("ctl %s list: %w", noun, err)
			}
		}
		sessions, leased = len(all.Sessions), 0
		for _, p := range all.Pools {
			leased += int(p.Usage.Leased)
		}
		if sessions == 0 && leased == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("all clients are gone, but the daemon has %d sessions and %d leased addresses", sessions, leased)
}

// requireTools says all that is missing at once.
func requireTools() error {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root (namespaces, TUN, raw sockets)")
	}
	for _, tool := range []string{"ip", "nsenter", "ethtool", "ping", "linux.uml", "busybox", "pppd", "pptp", "xl2tpd", "ipsec", "nft", "freeradius", "radclient", "modprobe", "node", "npm", "prometheus", "promtool", "tshark", "script"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	for _, module := range []string{"drivers/net/ppp/ppp_mppe", "net/l2tp/l2tp_ppp", "net/ipv4/esp4"} {
		if files, _ := filepath.Glob("/usr/lib/uml/modules/*/kernel/" + module + ".ko"); len(files) == 0 {
			missing = append(missing, filepath.Base(module)+", a module of user-mode-linux")
		}
	}
	if info, err := os.Stat("/dev/net/tun"); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		missing = append(missing, "/dev/net/tun")
	}
	if len(missing) > 0 {
		return fmt.Errorf("interop: missing: %s; test/setup.sh installs the packages", strings.Join(missing, ", "))
	}
	return nil
}

// setUp builds the daemon, the network and all that runs in it.
func setUp() (err error) {
	if world.lab, err = NewLab(); err != nil {
		return err
	}
	world.guests = make(chan *Guest, numGuests)
	booted := make(chan error, numGuests)
	for i := range numGuests {
		g := world.lab.NewGuest(i)
		go func() { booted <- g.Boot() }()
		world.guests <- g
	}
	world.bin = filepath.Join(world.lab.Dir, "bin")
	err = Build(world.bin)
	for range numGuests {
		err = errors.Join(err, <-booted)
	}
	if err != nil {
		return err
	}
	for part, host := range map[string]**Host{"lan": &world.lan, "far1": &world.far1, "far2": &world.far2} {
		if *host, err = world.lab.NewHost(part); err != nil {
			return err
		}
	}
	if world.radius, err = world.lab.NewRadius("freeradius", "lan", innerHost, innerGateway); err != nil {
		return err
	}
	if err := world.radius.Start(); err != nil {
		return err
	}
	if world.daemon, err = world.lab.NewDaemon("daemon", "srv", world.bin, "apply.yaml"); err != nil {
		return err
	}
	return world.daemon.Start()
}

var tearDownOnce sync.Once

// tearDown ends all that setUp started, as far as it came. What the daemon says at its end is part of the tests.
func tearDown() (err error) {
	tearDownOnce.Do(func() {
		if world.lab == nil {
			return
		}
		if world.daemon != nil && world.daemon.proc != nil {
			err = world.daemon.Stop()
		}
		if world.radius != nil && world.radius.proc != nil {
			world.radius.Stop()
		}
		for {
			select {
			case g := <-world.guests:
				g.PowerCut()
				continue
			default:
			}
			break
		}
		for _, h := range []*Host{world.lan, world.far1, world.far2} {
			if h != nil {
				h.Close()
			}
		}
		world.lab.Close()
	})
	return err
}

// borrow lends the test n guests that are up and have no call. It gets them back when the test ends, as they are.
func borrow(t *testing.T, n int) []*Guest {
	t.Helper()
	world.borrowing.Lock()
	defer world.borrowing.Unlock()
	guests := make([]*Guest, n)
	for i := range guests {
		g := <-world.guests
		guests[i] = g
		t.Cleanup(func() {
			if err := g.reset(); err != nil {
				t.Errorf("give %s back: %v", g.Name, err)
			}
			world.guests <- g
		})
	}
	return guests
}

// dial calls, and fails the test if the link does not come up.
func dial(t *testing.T, g *Guest, d Dial) *Link {
	t.Helper()
	l, err := g.Dial(t.Context(), d)
	if err != nil {
		t.Fatalf("%s as %s from %s: %v\n%s", d.Server, d.User, g.Name, err, tail(world.daemon.proc.log, 15))
	}
	return l
}

// refused calls, and fails the test if the link does come up.
func refused(t *testing.T, g *Guest, d Dial) *Refusal {
	t.Helper()
	l, err := g.Dial(t.Context(), d)
	var r *Refusal
	switch {
	case err == nil:
		t.Fatalf("%s as %s from %s: came up with %+v, want a refusal", d.Server, d.User, g.Name, l)
	case !errors.As(err, &r):
		t.Fatal(err)
	}
	return r
}
