//go:build interop

package fault

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
	"concentrator/test/reliability/lab"
)

const (
	// each is how many sessions of each tenant are held.
	each = 9
	// soon is how long a fault may take to be told, and to be over when its cause is.
	soon = 6 * time.Second
)

// twoTenants are acme of the lab and beta, known by its realm, whose network is in a namespace. The listener is at one address.
func twoTenants(namespace string) string {
	own := strings.ReplaceAll(lab.Documents, "10.64.0.0/21", "10.64.8.0/21")
	own = strings.ReplaceAll(own, "tenants/acme", "tenants/beta")
	own, _, _ = strings.Cut(own, "---\nkind: Listener")
	own = strings.Replace(own, "limits:", "realms: [beta.example]\nrealmStripping: true\nnetwork: {namespace: "+namespace+"}\nlimits:", 1)
	own = strings.Replace(own, "lab-key-", "beta-key-", 1)
	both := strings.Replace(lab.Documents, "tenants: [tenants/acme]", "tenants: [tenants/acme, tenants/beta]", 1)
	return strings.Replace(both, "address: 0.0.0.0", "address: "+lab.Server, 1) + "---\n" + own
}

// world is a daemon with sessions of both tenants.
type world struct {
	*lab.Lab
	d          *lab.Daemon
	namespace  string
	acme, beta *lab.Load
}

func newWorld(t *testing.T, documents func(namespace string) string) *world {
	t.Helper()
	w := &world{Lab: lab.New(t)}
	w.namespace = w.NS("beta")
	t.Cleanup(func() { _ = netns.Remove(w.namespace) })
	w.d = w.NewDaemon(t, documents(w.namespace))
	w.d.Start(t)
	return w
}

// hold keeps sessions of both tenants, which come again when they are lost. Only one of them has PPTP: two generators in one
// namespace would both be given all GRE.
func (w *world) hold(t *testing.T) {
	t.Helper()
	flags := []string{"--count", strconv.Itoa(each), "--duration", "5m"}
	w.acme = w.StartLoad(t, "hold", append(flags, "--protocol", "MIX", "--source-net", "10.200.0.0/24")...)
	w.beta = w.StartLoad(t, "hold", append(flags, "--protocol", "L2TP", "--source-net", "10.200.1.0/24", "--user", "lab@beta.example")...)
	w.waitOpen(t, each, each)
}

// open counts the sessions of both.
func (w *world) open(t *testing.T) (acme, beta int) {
	t.Helper()
	var all struct {
		Sessions []struct{ Name, State string }
	}
	w.d.List(t, &all, "session")
	for _, s := range all.Sessions {
		switch {
		case s.State != "OPEN":
		case strings.HasPrefix(s.Name, "tenants/acme/"):
			acme++
		default:
			beta++
		}
	}
	return acme, beta
}

func (w *world) waitOpen(t *testing.T, acme, beta int) {
	t.Helper()
	var a, b int
	defer func() {
		if t.Failed() {
			t.Logf("open are %d of acme and %d of beta, want %d and %d", a, b, acme, beta)
		}
	}()
	lab.Eventually(t, 30*time.Second, "all sessions are open", func() bool {
		a, b = w.open(t)
		return a == acme && b == beta
	})
}

// lost ends the load of a tenant and says how many of its sessions were lost.
func lost(t *testing.T, g *lab.Load) int {
	t.Helper()
	g.Interrupt()
	return g.Wait(t).Lost
}

// stands says whether a fault does, and what it says.
func (w *world) stands(t *testing.T, fault, subject string) (string, bool) {
	t.Helper()
	for _, f := range w.d.Instance(t).Faults {
		if f.Type == fault && f.Subject == subject {
			return f.Detail, true
		}
	}
	return "", false
}

// waitFault waits until a fault stands, or does not any more.
func (w *world) waitFault(t *testing.T, limit time.Duration, fault, subject string, want bool) {
	t.Helper()
	took := lab.Eventually(t, limit, "fault "+fault+" "+subject+" stands: "+strconv.FormatBool(want), func() bool {
		_, is := w.stands(t, fault, subject)
		return is == want
	})
	detail, _ := w.stands(t, fault, subject)
	t.Logf("fault %s of %s stands: %v, after %v: %s", fault, subject, want, took.Round(time.Millisecond), detail)
}

// told says how often a fault has begun, by the metrics.
func (w *world) told(t *testing.T, fault string) float64 {
	t.Helper()
	return w.d.Metrics(t)[`concentrator_faults_total{fault="`+fault+`"}`]
}

// idles fails if the daemon uses more than a fifth of a CPU, or writes a log line each 100 ms: nothing may spin.
func (w *world) idles(t *testing.T) {
	t.Helper()
	const look = 2 * time.Second
	before, lines := cpu(t, w.d.PID()), strings.Count(w.d.Log(t), "\n")
	time.Sleep(look)
	used, logged := cpu(t, w.d.PID())-before, strings.Count(w.d.Log(t), "\n")-lines
	t.Logf("%v of CPU and %d lines of log in %v", used, logged, look)
	if used > look/5 || logged > 20 {
		t.Errorf("something spins: %v of CPU and %d lines of log in %v\n%s", used, logged, look, w.d.Tail(20))
	}
}

// cpu is what a process has used, user and system.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int
	for _, i := range []int{11, 12} { // utime and stime, behind the name
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// TestTakenFromUnder: a tenant's device, another's namespace and the outer link are taken from under the daemon, one after the
// other, with sessions of both tenants.
func TestTakenFromUnder(t *testing.T) {
	w := newWorld(t, twoTenants)
	w.hold(t)

	// The device is made again, its sessions end and come back. The other tenant's go on.
	lab.Run(t, "ip", "-n", w.NS("srv"), "link", "del", "vpn-acme")
	lab.Eventually(t, soon, "the device is made again", func() bool {
		return strings.Contains(lab.Run(t, "ip", "-n", w.NS("srv"), "-o", "link"), "vpn-acme")
	})
	w.waitFault(t, soon, "NETWORK", "tenants/acme", false)
	w.waitOpen(t, each, each)
	if n := w.told(t, "NETWORK"); n != 1 {
		t.Errorf("fault NETWORK has begun %v times, want once", n)
	}
	if n := lost(t, w.acme); n != each {
		t.Errorf("%d sessions of acme were lost, want %d", n, each)
	}

	// The namespace, which the daemon has made, likewise.
	lab.Run(t, "ip", "netns", "del", w.namespace)
	lab.Eventually(t, soon, "fault NETWORK has begun again", func() bool { return w.told(t, "NETWORK") == 2 })
	w.waitFault(t, soon, "NETWORK", "tenants/beta", false)
	w.waitOpen(t, 0, each)
	if !strings.Contains(lab.Run(t, "ip", "-n", w.namespace, "-o", "link"), "vpn-beta") {
		t.Error("the namespace is there, its device is not")
	}
	if n := lost(t, w.beta); n != each {
		t.Errorf("%d sessions of beta were lost, want %d: those of a device and of a namespace", n, each)
	}

	// The outer link is down for a while: all sessions live on.
	w.hold(t)
	lab.Run(t, "ip", "-n", w.NS("srv"), "link", "set", "outer", "down")
	w.waitFault(t, soon, "LISTENER", "listeners/main", true)
	w.idles(t)
	lab.Run(t, "ip", "-n", w.NS("srv"), "link", "set", "outer", "up")
	lab.Run(t, "ip", "-n", w.NS("srv"), "route", "replace", lab.Sources, "via", lab.Generator)
	w.waitFault(t, soon, "LISTENER", "listeners/main", false)
	if a, b := lost(t, w.acme), lost(t, w.beta); a+b != 0 {
		t.Errorf("%d and %d sessions were lost with the link down", a, b)
	}
	w.d.Stop(t)
}
