//go:build interop && interop_long

package flood

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/tenant"
	"concentrator/test/reliability/lab"
)

//go:embed guest
var guestScripts embed.FS

// Where the real client is: in a guest on a tap of the part home, which is a router.
const (
	home         = "home"
	realServer   = "198.18.1.1" // the daemon's, for the real client
	homeAt       = "198.18.1.2"
	realGateway  = "198.18.2.1"
	realClientAt = "198.18.2.2"
	realNetwork  = "198.18.2.0/24"
	wanderers    = "10.202.0.0/16" // of the real client, each used once
)

// How much is measured.
const (
	realSamples = 7                // log-ins by each protocol without a flood
	realAgain   = 3                // when they were slow in a flood, afterwards
	realLeast   = 3                // in each flood
	realTime    = 8 * time.Second  // of each flood, and as much more as those take
	realMost    = 25 * time.Second // of each flood
	swell       = time.Second      // from a flood's begin until log-ins are measured
	realTimes   = 2                // of the usual time a log-in may take: this is all
)

// TestRealClientsInFloods: under each flood unmodified clients (pppd with pptp-linux, and with strongSwan and xl2tpd) log in within
// twice their usual time.
func TestRealClientsInFloods(t *testing.T) {
	w := newWorld(t)
	c := newRealClient(t, w)
	c.measure(1, time.Time{}) // nothing is warm, and nobody known
	usual := c.calm(t, realSamples)
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) { c.flood(t, f, usual) })
	}
	c.calm(t, realLeast)
}

// calm measures without a flood.
func (c *realClient) calm(t *testing.T, rounds int) *logins {
	t.Helper()
	lab.Eventually(t, recovery, "no fault stands", func() bool { return len(c.world.faults(t)) == 0 })
	l := c.measure(rounds, time.Time{})
	for _, p := range protocols {
		if err := l.failed[kind{protocol: p}]; err != nil {
			t.Fatalf("without a flood: %v\n%s", err, c.tail("logins", "syslog"))
		}
	}
	t.Log("without a flood: " + l.tell())
	return l
}

// flood logs in while a flood comes, and judges how long that takes.
func (c *realClient) flood(t *testing.T, f flood, usual *logins) {
	lab.Eventually(t, recovery, "no fault stands", func() bool { return len(c.world.faults(t)) == 0 })
	l := c.during(t, f.begin(t, c.world))
	t.Log(l.tell())
	if slow(l, usual) != nil {
		// The machine itself may be slower than when it was measured, by the work of others.
		usual = c.calm(t, realAgain)
	}
	if err := slow(l, usual); err != nil {
		t.Errorf("%v\n%s", err, c.tail("logins", "syslog"))
	}
}

// during logs in while a flood comes.
func (c *realClient) during(t *testing.T, send flooder) *logins {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), realMost)
	defer cancel()
	var (
		sent int
		err  error
		done = make(chan struct{})
	)
	began := time.Now()
	go func() {
		defer close(done)
		sent, err = send(ctx)
	}()
	time.Sleep(swell)
	l := c.measure(realLeast, began.Add(realTime))
	if ctx.Err() != nil {
		t.Errorf("%d log-ins by each protocol take more than the %v that the flood may last", realLeast, realMost)
	}
	if time.Since(began) < realMost/2 {
		c.try(l, true) // is told only
	}
	cancel()
	<-done
	if err != nil || sent == 0 {
		t.Errorf("the flood, %d sent: %v", sent, err)
	}
	return l
}

// slow says which log-ins, but for those from new addresses, have failed or taken more than twice the usual time.
func slow(l, usual *logins) error {
	var errs []error
	for _, p := range protocols {
		k := kind{protocol: p}
		if took, most := l.median(k), realTimes*usual.median(k); took > most {
			errs = append(errs, fmt.Errorf("%v: %w: %v, may be %v", k, errSlow, took, most))
		}
		errs = append(errs, l.failed[k])
	}
	return errors.Join(errs...)
}

var errSlow = errors.New("log-ins are slow")

// tell says in a line how long they took.
func (l *logins) tell() string {
	var all []string
	for _, k := range kinds {
		if len(l.took[k]) > 0 {
			all = append(all, fmt.Sprintf("%v %v of %v", k, l.median(k), l.took[k]))
		}
		if err := l.failed[k]; err != nil {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, "; ")
}

// measure logs in and out by each protocol in turn, rounds times at least and until the time has come.
func (c *realClient) measure(rounds int, until time.Time) *logins {
	l := &logins{took: map[kind][]time.Duration{}, failed: map[kind]error{}}
	for n := 0; n < rounds || time.Now().Before(until); n++ {
		c.try(l, false)
	}
	return l
}

// try logs in and out once by each protocol, from the client's address or from new ones.
func (c *realClient) try(l *logins, fresh bool) {
	for _, p := range protocols {
		k := kind{protocol: p, fresh: fresh}
		took, err := c.login(k)
		if err != nil {
			l.failed[k] = err
		}
		l.took[k] = append(l.took[k], took)
	}
}

// realClient is a Linux machine with VPN clients: a User-Mode Linux kernel, which lives as long as the test.
type realClient struct {
	world    *world
	dir      string   // /lab in the guest
	used     int      // of wanderers
	lost     error    // it has not answered; what comes later would be taken for another answer
	requests *os.File // its serial line
	answers  *os.File
	reader   *bufio.Reader
}

// precedence is the guest's on the CPUs over the flood, which has the same ones: a client has a machine of its own.
const precedence = "-10"

// Bounds of what the guest may take.
const (
	bootTime  = 60 * time.Second
	boots     = 3
	loginMost = 60 * time.Second // in and out, with all that it waits for
)

var errNotBooted = errors.New("the guest has no MPPE or no charon")

// newRealClient boots the guest. It ends with the test.
func newRealClient(t *testing.T, w *world) *realClient {
	t.Helper()
	w.lab.AddPart(t, home)
	w.lab.Cable(t, "srv", home, realServer, home, "outer", homeAt)
	for _, args := range [][]string{
		{"-n", w.lab.NS(home), "tuntap", "add", "dev", home, "mode", "tap"},
		{"-n", w.lab.NS(home), "address", "add", realGateway + "/24", "dev", home},
		{"-n", w.lab.NS(home), "link", "set", home, "up"},
		{"-n", w.lab.NS(home), "route", "add", "default", "via", realServer},
		{"-n", w.lab.NS(home), "route", "add", wanderers, "via", realClientAt},
		{"-n", w.lab.NS("srv"), "route", "add", realNetwork, "via", homeAt},
		{"-n", w.lab.NS("srv"), "route", "add", wanderers, "via", homeAt},
	} {
		lab.Run(t, "ip", args...)
	}
	c := &realClient{world: w, dir: filepath.Join(w.lab.Dir, "client")}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	env := fmt.Sprintf("SERVER=%s\nADDRESS=%s\nGATEWAY=%s\nPSK=%s\nLOGIN=lab\nPASSWORD=%s\n",
		realServer, realClientAt, realGateway, lab.PSK, lab.Password)
	files := map[string]string{"env": env}
	for _, name := range []string{"init", "client"} {
		text, err := guestScripts.ReadFile("guest/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Once in many boots the kernel has no SHA-1.
	for range boots {
		err := c.boot(t)
		if err == nil {
			return c
		}
		t.Logf("boot: %v", err)
	}
	t.Fatalf("the guest does not boot\n%s", c.tail("console", "client.log"))
	return nil
}

// boot starts the guest and returns when its clients are ready. It is ended with the test, if it has not failed before.
func (c *realClient) boot(t *testing.T) error {
	t.Helper()
	console, err := os.Create(filepath.Join(c.dir, "console"))
	if err != nil {
		return err
	}
	defer console.Close()
	in, requests, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	answers, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, requests.Close())
	}
	defer out.Close()
	guest := exec.Command("nice", "-n", precedence, "nsenter", "--net="+filepath.Join(netns.Dir, c.world.lab.NS(home)), "linux.uml",
		"mem=128M", "quiet", "con=null", "con0=null,fd:1", "ssl0=fd:3,fd:4", // ExtraFiles begin at 3
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init="+filepath.Join(c.dir, "init"),
		fmt.Sprintf("umid=flood-%d", os.Getpid()), "uml_dir="+c.dir+"/",
		"vec0:transport=tap,ifname="+home+",depth=128,gro=0,mac=02:00:5e:00:00:01", "lab="+c.dir)
	guest.Stdout, guest.Stderr, guest.ExtraFiles = console, console, []*os.File{in, out}
	// A process group of its own, so that its helper processes go with it. Not a session of its own: the kernel may give each the
	// same share (sched_autogroup), and precedence would be nothing.
	guest.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := guest.Start(); err != nil {
		return errors.Join(err, requests.Close(), answers.Close())
	}
	end := func() {
		_ = syscall.Kill(-guest.Process.Pid, syscall.SIGKILL)
		_ = guest.Wait() // its exit status says nothing: it ends by SIGKILL
		_ = errors.Join(requests.Close(), answers.Close())
	}
	c.requests, c.answers, c.reader = requests, answers, bufio.NewReader(answers)
	said, err := c.answer(bootTime)
	if err == nil && said != "ready" {
		err = fmt.Errorf("%w: it says %q", errNotBooted, said)
	}
	if err != nil {
		end()
		return err
	}
	t.Cleanup(end)
	return nil
}

// answer reads a line from the guest.
func (c *realClient) answer(limit time.Duration) (string, error) {
	if err := c.answers.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("wait for the guest: %w", err)
	}
	return strings.TrimSpace(line), nil
}

// programs are the guest's names of what it does for a protocol.
var programs = map[tenant.Protocol]string{tenant.ProtocolPPTP: "pptp", tenant.ProtocolL2TPIPsec: "l2tp"}

// login has the client log in and out, and says how long the former took by the guest's clock.
func (c *realClient) login(k kind) (took time.Duration, err error) {
	if c.lost != nil {
		return 0, c.lost
	}
	from := realClientAt
	if k.fresh {
		from = nth(netip.MustParsePrefix(wanderers), c.used).String()
		c.used++
	}
	if _, err := fmt.Fprintf(c.requests, "%s %s\n", programs[k.protocol], from); err != nil {
		return 0, err
	}
	line, err := c.answer(loginMost)
	if err != nil {
		c.lost = err
		return 0, err
	}
	var (
		status string
		ticks  int
	)
	if _, err := fmt.Sscan(line, &status, &ticks); err != nil {
		return 0, fmt.Errorf("the guest says %q: %w", line, err)
	}
	took = time.Duration(ticks) * 10 * time.Millisecond
	if status != "ok" {
		return took, fmt.Errorf("%v: the client says %q", k, line)
	}
	return took, nil
}

// tail is the end of some of the guest's files.
func (c *realClient) tail(names ...string) string {
	const most = 2000
	var all strings.Builder
	for _, name := range names {
		text, _ := os.ReadFile(filepath.Join(c.dir, name))
		fmt.Fprintf(&all, "%s:\n%s\n", name, text[max(0, len(text)-most):])
	}
	return all.String()
}
