//go:build interop

package fault

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/test/reliability/lab"
)

// stands says whether a fault does, as the API shows it.
func stands(t testing.TB, d *lab.Daemon, fault, subject string) bool {
	t.Helper()
	for _, f := range d.Instance(t).Faults {
		if f.Type == fault && f.Subject == subject {
			return true
		}
	}
	return false
}

// logged counts the log's lines that say that a fault began, and that it ended.
func logged(t testing.TB, d *lab.Daemon, fault string) (begun, ended int) {
	t.Helper()
	for line := range strings.Lines(d.Log(t)) {
		if strings.Contains(line, `"fault":"`+fault+`"`) {
			if strings.Contains(line, `"msg":"fault is over"`) {
				ended++
			} else {
				begun++
			}
		}
	}
	return begun, ended
}

// TestDescriptors takes the daemon's descriptors away, by connections that say nothing, until there is none for the next. Sessions
// stand, and when the connections are gone all is as before.
func TestDescriptors(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Start(t)
	hold := l.StartLoad(t, "hold", "--protocol", "MIX", "--count", "6", "--duration", "1m", "--ping", "5", "--ping-to", lab.FarHost)
	lab.Eventually(t, 10*time.Second, "six sessions", func() bool { return d.Instance(t).Sessions == 6 })

	few := d.Descriptors(t) // without those of the test half of all are free
	limit := uint64(2 * few)
	var usual unix.Rlimit
	must(t, unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, nil, &usual))
	must(t, unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: usual.Max}, nil))
	var silent []net.Conn
	l.In(t, "srv", func() error {
		for range 2 * few {
			c, err := net.DialTimeout("tcp", "127.0.0.1:8443", time.Second)
			if err != nil {
				return fmt.Errorf("connect to the API: %w", err)
			}
			silent = append(silent, c)
		}
		return nil
	})
	lines := len(d.Log(t))
	lab.Eventually(t, 5*time.Second, "the log names the fault", func() bool { n, _ := logged(t, d, "DESCRIPTORS"); return n == 1 })
	time.Sleep(time.Second) // it must not fill its log meanwhile, nor turn in circles
	if more := len(d.Log(t)) - lines; more > 32<<10 {
		t.Errorf("%d octets of log without descriptors\n%s", more, d.Tail(10))
	}
	for _, c := range silent {
		c.Close()
	}
	lab.Eventually(t, 15*time.Second, "the fault is over", func() bool { _, n := logged(t, d, "DESCRIPTORS"); return n == 1 })
	must(t, unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &usual, nil))
	if r := l.Login(t, "MIX", "3", "--source-net", "10.200.1.0/28"); r.OK != 3 {
		t.Errorf("log-ins afterwards: %+v", r)
	}
	hold.Interrupt()
	if r := hold.Wait(t); r.Lost != 0 || r.Pings.Answered < r.Pings.Sent*99/100 {
		t.Errorf("standing sessions: %+v", r)
	}
	d.Stop(t)
}

// TestTightMemory gives the daemon less memory than it has: the collector works hard, the fault is named, and clients get in.
func TestTightMemory(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, lab.Documents)
	d.Setenv("GOMEMLIMIT", "24MiB")
	d.Start(t)
	lab.Eventually(t, 5*time.Second, "the fault stands", func() bool { return stands(t, d, "HEAP", "") })
	r := l.StartLoad(t, "hold", "--protocol", "MIX", "--count", "24", "--source-net", "10.200.0.0/27", "--duration", "4s",
		"--ping", "5", "--ping-to", lab.FarHost).Wait(t)
	t.Logf("near the limit: log-ins p50 %.1f ms, p99 %.1f ms, %d of %d pings", r.P50Ms, r.P99Ms, r.Pings.Answered, r.Pings.Sent)
	if r.OK != 24 || r.Lost != 0 || r.Pings.Answered < r.Pings.Sent*99/100 {
		t.Errorf("near the memory limit: %+v", r)
	}
	d.Stop(t)
}

// radiusDocuments are a tenant that asks a RADIUS server in far.
const radiusDocuments = `kind: Tenant
name: tenants/acme
authentication: {backend: RADIUS}
---
kind: RadiusServer
name: tenants/acme/radiusServers/one
address: ` + lab.FarHost + `
authPort: 1812
secrets: [` + radiusSecret + `]
timeout: 0.3s
tries: 2
deadTime: 1s
purposes: [AUTHENTICATION]
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.64.0.0/24]
---
kind: Profile
name: tenants/acme/profiles/default
authMethods: [PAP]
allowPlaintext: true
pool: tenants/acme/pools/main
---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [L2TP]
tenants: [tenants/acme]
defaultTenant: tenants/acme
`

// TestRadiusGone: while its server is gone a tenant's log-ins are refused for that reason, the fault is named, and sessions stand;
// when it is back, so are the log-ins, with nobody's help.
func TestRadiusGone(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, radiusDocuments)
	d.Start(t)
	login := func() lab.Report { return l.Login(t, "L2TP", "1", "--auth", "PAP", "--timeout", "8s") }
	server := startRadius(t, l)
	hold := l.StartLoad(t, "hold", "--protocol", "L2TP", "--auth", "PAP", "--count", "1", "--duration", "1m")
	lab.Eventually(t, 10*time.Second, "a session", func() bool { return d.Instance(t).Sessions == 1 })

	must(t, server.Close())
	if r := login(); r.OK != 0 {
		t.Errorf("a log-in without the server: %+v", r)
	}
	const subject = "tenants/acme/radiusServers/one"
	lab.Eventually(t, 5*time.Second, "the fault stands", func() bool { return stands(t, d, "RADIUS", subject) })
	server = startRadius(t, l)
	defer server.Close()
	took := lab.Eventually(t, 10*time.Second, "the fault is over", func() bool { return !stands(t, d, "RADIUS", subject) })
	t.Logf("the server is back: the fault is over after %v", took.Round(time.Millisecond))
	if r := login(); r.OK != 1 {
		t.Errorf("a log-in with the server back: %+v", r)
	}
	hold.Interrupt()
	if r := hold.Wait(t); r.Lost != 0 {
		t.Errorf("the standing session: %+v", r)
	}
	d.Stop(t)
}

// TestNamesGone: the name of a server can't be looked up, for the machine's resolver has gone.
func TestNamesGone(t *testing.T) {
	l := lab.New(t)
	d := l.NewDaemon(t, strings.Replace(radiusDocuments, "address: "+lab.FarHost, "address: radius.lab.invalid", 1))
	d.Start(t)
	if r := l.Login(t, "L2TP", "1", "--auth", "PAP", "--timeout", "8s"); r.OK != 0 {
		t.Errorf("a log-in without names: %+v", r)
	}
	const subject = "tenants/acme/radiusServers/one"
	lab.Eventually(t, 10*time.Second, "the fault stands", func() bool { return stands(t, d, "NAMES", subject) })
	// The operator's way around it.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	server := startRadius(t, l)
	defer server.Close()
	if _, err := d.TryCtl(ctx, "radius-server", "update", "one", "--tenant", "acme", "--address", lab.FarHost); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, "the fault is over", func() bool { return !stands(t, d, "NAMES", subject) })
	if r := l.Login(t, "L2TP", "1", "--auth", "PAP"); r.OK != 1 {
		t.Errorf("a log-in with an address: %+v", r)
	}
	d.Stop(t)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
