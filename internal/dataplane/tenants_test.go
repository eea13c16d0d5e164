package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
)

// manySpec is the network of one of many tenants, which all have the same addresses.
func manySpec(tag string, i int) NetworkSpec {
	spec := acme
	spec.Tenant, spec.Namespace, spec.Masquerade = fmt.Sprint("tenant", i), fmt.Sprintf("%s-%d", tag, i), true
	return spec
}

// openMany opens networks as the conductor does, several at a time.
func openMany(t *testing.T, d *Dataplane, tag string, n int) []*Network {
	t.Helper()
	networks := make([]*Network, n)
	each(n, func(i int) {
		var err error
		if networks[i], err = d.OpenNetwork(manySpec(tag, i)); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return networks
}

func closeMany(t *testing.T, networks []*Network) {
	t.Helper()
	each(len(networks), func(i int) {
		if err := networks[i].Close(); err != nil {
			t.Error(err)
		}
	})
}

// each calls f with 0 to n-1, eight at a time.
func each(n int, f func(i int)) {
	turns := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			f(i)
		})
	}
	wg.Wait()
}

func inode(t *testing.T, namespace string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(netns.Dir, namespace), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// crashTag makes the test binary, when it is in the environment, a daemon that opens its networks and is killed.
const crashTag = "CONCENTRATOR_TEST_CRASH"

// TestRealCrash is that daemon.
func TestRealCrash(t *testing.T) {
	tag := os.Getenv(crashTag)
	if tag == "" {
		t.Skip("only as a child of TestRealRestart")
	}
	d, err := Start(Config{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	openMany(t, d, tag, 50)
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {}
}

// TestRealRestart: fifty tenants, the daemon ends or is killed, and two seconds later all of it is there again.
func TestRealRestart(t *testing.T) {
	needRoot(t)
	const tenants, within = 50, 2 * time.Second
	tag := fmt.Sprintf("cct%d-restart", os.Getpid())
	child := exec.Command(os.Args[0], "-test.run=^TestRealCrash$")
	child.Env = append(os.Environ(), crashTag+"="+tag)
	out, err := child.CombinedOutput()
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
	before := make([]uint64, tenants)
	for i := range before {
		before[i] = inode(t, fmt.Sprintf("%s-%d", tag, i))
	}
	check := func(took time.Duration) {
		t.Helper()
		if took > within {
			t.Errorf("it took %v", took)
		}
		t.Logf("%d networks were there again after %v", tenants, took)
		for i, was := range before {
			ns := fmt.Sprintf("%s-%d", tag, i)
			if inode(t, ns) != was {
				t.Errorf("%s was made anew", ns)
			}
			if i%10 != 0 {
				continue
			}
			if link := sh(t, "ip", "-n", ns, "-4", "address", "show", "dev", "vpn0"); !strings.Contains(link, "10.50.0.1/32") {
				t.Errorf("%s:\n%s", ns, link)
			}
			routes := strings.TrimSpace(sh(t, "ip", "-n", ns, "route"))
			if routes != "10.50.0.0/24 dev vpn0 proto static scope link" {
				t.Errorf("%s:\n%s", ns, routes)
			}
			if rules := sh(t, in(ns, "nft", "list", "ruleset")...); strings.Count(rules, "masquerade") != 1 {
				t.Errorf("%s:\n%s", ns, rules)
			}
		}
	}

	start := time.Now()
	d, err := Start(Config{Shards: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop() })
	openMany(t, d, tag, tenants)
	check(time.Since(start))

	start = time.Now()
	d.Stop()
	if d, err = Start(Config{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	networks := openMany(t, d, tag, tenants)
	check(time.Since(start))
	closeMany(t, networks)
	for i := range tenants {
		if _, err := os.Stat(filepath.Join(netns.Dir, fmt.Sprintf("%s-%d", tag, i))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("namespace %d is still there: %v", i, err)
		}
	}
}

// TestRealIdleTenants: two hundred tenants without traffic cost next to nothing, and one with traffic no more than if it
// were alone.
func TestRealIdleTenants(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", nil)
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	busy := func() (sum time.Duration) {
		for _, s := range l.d.ShardStats() {
			sum += s.CPUTime
		}
		return sum
	}
	pings := func() time.Duration {
		before := busy()
		for i := range uint16(500) {
			c.ping("10.50.0.7", realHost, i, 100)
		}
		return busy() - before
	}
	pings() // warm up
	alone := pings()
	start := time.Now()
	networks := openMany(t, l.d, l.tag+"-idle", 200)
	t.Cleanup(func() { closeMany(t, networks) })
	t.Logf("200 networks were opened in %v", time.Since(start))
	among := pings()
	t.Logf("500 echoes cost the shards %v alone, %v among 200 others", alone, among)
	if among > 3*alone+10*time.Millisecond {
		t.Errorf("an echo costs %v among 200 tenants, %v alone", among/500, alone/500)
	}
	before := busy()
	time.Sleep(500 * time.Millisecond) // the measurement itself
	if used := busy() - before; used > 10*time.Millisecond {
		t.Errorf("idle shards used %v of 500 ms", used)
	}
}

// tap returns a socket that gets every IP packet on every link of a namespace.
func tap(t *testing.T, ns string) int {
	t.Helper()
	h, err := netns.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var fd int
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_IP)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// TestRealIsolation: two tenants with one address plan. Nothing that a client of one sends, to any address and port of the
// plan, from its own address or another, is seen by the other.
func TestRealIsolation(t *testing.T) {
	l := newRealLab(t, 2)
	ra := l.network("acme", func(s *NetworkSpec) { s.ClientToClient = true })
	rb := l.network("bolt", func(s *NetworkSpec) { s.ClientToClient = true })
	a, a2 := ra.session(SessionSpec{Address: addr("10.50.0.7")}), ra.session(SessionSpec{Address: addr("10.50.0.9")})
	b := rb.session(SessionSpec{Address: addr("10.50.0.8"), Routes: []netip.Prefix{prefix("10.60.0.0/24")}})
	a.ping("10.50.0.7", realHost, 1, 10)
	b.ping("10.50.0.8", realHost, 1, 10)
	taps := []int{tap(t, rb.ns), tap(t, rb.host)}

	// From where it is not.
	spoofed := []string{
		"10.50.0.8", "10.50.0.9", "10.50.0.1", "10.60.0.5", realHost, "10.99.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255",
		"224.0.0.1", realServer,
	}
	for i, src := range spoofed {
		for _, to := range []string{"10.50.0.8", realHost, "10.50.0.1"} {
			a.send(a.data(echo(src, to, uint16(i), 8, true)))
		}
	}
	a.waitDrops(DropSpoofedSource, uint64(3*len(spoofed)))

	// To everywhere. What answers is acme's own: the gateway, the link and the host behind it.
	answered := map[string]bool{}
	listen := func(wait time.Duration) {
		for {
			p, ok := a.next(wait)
			if !ok {
				return
			}
			if p[9] != 1 || p[20] != 3 { // unreachable is no answer
				answered[netip.AddrFrom4([4]byte(p[12:])).String()] = true
			}
		}
	}
	ports := []uint16{21, 22, 23, 25, 53, 80, 110, 123, 135, 139, 143, 389, 443, 445, 1723, 3306, 3389, 5900, 8080, 8443}
	sent := uint64(1) // the ping
	for _, plan := range []string{"10.50.0.", "10.99.0.", "10.60.0."} {
		for host := range 256 {
			to := fmt.Sprint(plan, host)
			if to == "10.50.0.7" {
				continue // itself
			}
			a.send(a.data(echo("10.50.0.7", to, uint16(host), 8, true)))
			for _, port := range ports {
				a.send(a.data(syn("10.50.0.7", to, port, 1460)))
			}
			sent += 1 + uint64(len(ports))
			for end := time.Now().Add(patience); a.call.Counters().InPackets < sent && time.Now().Before(end); {
				time.Sleep(50 * time.Microsecond) // no faster than it is carried
			}
			listen(0)
		}
	}
	if k := a.call.Counters(); k.InPackets != sent {
		t.Errorf("%d packets of the sweep's %d came in", k.InPackets, sent)
	}
	listen(300 * time.Millisecond)
	for _, own := range []string{"10.50.0.1", "10.99.0.1", realHost} {
		if !answered[own] {
			t.Errorf("%s of its own did not answer: the sweep shows nothing", own)
		}
		delete(answered, own)
	}
	if len(answered) != 0 {
		t.Errorf("answers from %v", answered)
	}
	for i, fd := range taps {
		if p, ok := tryReceive(t, fd, 0); ok {
			t.Errorf("tap %d of the other tenant saw % x", i, p)
		}
	}
	if p, ok := b.next(10 * time.Millisecond); ok {
		t.Errorf("the other tenant's client got % x", p)
	}
	if k := b.call.Counters(); k.InPackets != 1 || k.OutPackets != 1 {
		t.Errorf("the other tenant's session counts %d in, %d out", k.InPackets, k.OutPackets)
	}
	// The taps can hear.
	b.ping("10.50.0.8", realHost, 2, 10)
	for i, fd := range taps {
		if _, ok := tryReceive(t, fd, patience); !ok {
			t.Errorf("tap %d is deaf", i)
		}
	}

	// Its own clients it reaches, until the tenant says no; the other tenant's say does not matter.
	for _, on := range []bool{true, false, true} {
		for r, allowed := range map[*realNet]bool{ra: on, rb: !on} {
			spec := acme
			spec.Namespace, spec.ClientToClient = r.ns, allowed
			if err := r.n.Update(spec); err != nil {
				t.Fatal(err)
			}
		}
		for { // what the sweep left
			if _, ok := a2.next(10 * time.Millisecond); !ok {
				break
			}
		}
		a.send(a.data(echo("10.50.0.7", "10.50.0.9", 77, 20, true)))
		if _, ok := a2.next(500 * time.Millisecond); ok != on {
			t.Errorf("clientToClient %t: it came: %t", on, ok)
		}
	}
}

// waitDrops waits until the session has counted so many drops for d.
func (c *realClientEnd) waitDrops(d Drop, want uint64) {
	c.l.t.Helper()
	var got uint64
	for end := time.Now().Add(patience); got < want && time.Now().Before(end); {
		got = c.call.Counters().Drops[d]
	}
	if got != want {
		c.l.t.Fatalf("%d drops for %v, want %d", got, d, want)
	}
}

// TestRealProxyARP: a client with an address of the office's own is reached by who asks for it there.
func TestRealProxyARP(t *testing.T) {
	l := newRealLab(t, 2)
	r := l.network("acme", func(s *NetworkSpec) { s.ProxyARP = true })
	sh(t, "ip", "-n", r.host, "route", "del", "default")
	sh(t, "ip", "-n", r.host, "address", "add", "10.50.1.2/16", "dev", "h0")
	sh(t, "ip", "-n", r.ns, "address", "add", "10.50.1.1/16", "dev", "t0")
	c := r.session(SessionSpec{Address: addr("10.50.0.7")})
	stop := c.answer()
	sh(t, in(r.host, "ping", "-n", "-c", "2", "-i", "0.1", "-W", "3", "10.50.0.7")...)
	stop()
	c.call.Close()
	if left := sh(t, "ip", "-n", r.ns, "neigh", "show", "proxy"); left != "" {
		t.Errorf("left over: %s", left)
	}
}

// TestRealUplink: a client reaches what is behind the daemon's own namespace, which here is the lab's outer one.
func TestRealUplink(t *testing.T) {
	l := newRealLab(t, 2)
	h, err := netns.Open(l.outer)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	sh(t, in(l.outer, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")...)
	sh(t, "ip", "-n", l.client, "route", "add", "10.255.0.0/30", "via", realServer)
	spec := acme
	spec.Namespace, spec.Masquerade = l.tag+"-up", true
	spec.Uplink = Uplink{Address: prefix("10.255.0.2/30"), Gateway: addr("10.255.0.1")}
	var n *Network
	if err := h.Do(func() (err error) {
		n, err = l.d.OpenNetwork(spec)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	closed := false
	shut := func() {
		if closed {
			return
		}
		closed = true
		if err := h.Do(n.Close); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(shut)
	c := (&realNet{l: l, n: n, ns: spec.Namespace}).session(SessionSpec{Address: addr("10.50.0.7")})
	up := false
	for i := 0; i < 20 && !up; i++ { // until the link is up
		c.send(c.data(echo("10.50.0.7", realClient, 1, 10, true)))
		_, up = c.next(300 * time.Millisecond)
	}
	for more := up; more; { // replies that are late
		_, more = c.next(300 * time.Millisecond)
	}
	c.ping("10.50.0.7", realClient, 2, 10)
	c.ping("10.50.0.7", "10.255.0.1", 3, 10)
	shut()
	if links := sh(t, "ip", "-n", l.outer, "link"); strings.Contains(links, "upl-") {
		t.Errorf("left over:\n%s", links)
	}
	if rules := sh(t, in(l.outer, "nft", "list", "ruleset")...); rules != "" {
		t.Errorf("left over:\n%s", rules)
	}
}
