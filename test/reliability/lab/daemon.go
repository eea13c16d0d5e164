package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/dataplane/netns"
)

// PSK and Password are those of Documents: of nobody, for the life of a namespace.
const (
	PSK      = "lab-key-0123456789"
	Password = "lab-password"
)

// Documents are a tenant acme on all addresses by all protocols, and its user "lab", who may be in as often as he likes.
const Documents = `kind: Tenant
name: tenants/acme
ipsec: {psks: [{id: main, secret: ` + PSK + `}]}
limits: {maxSessions: 1000, halfOpenPerSource: 0}
---
kind: Pool
name: tenants/acme/pools/main
ranges: [10.64.0.0/21]
---
kind: Profile
name: tenants/acme/profiles/default
authMethods: [MSCHAPV2]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/acme/pools/main
---
kind: User
name: tenants/acme/users/lab
password: ` + Password + `
---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [PPTP, L2TP_IPSEC, L2TP]
tenants: [tenants/acme]
defaultTenant: tenants/acme
`

// errNotReady is what is wrong with a daemon that answers and is not ready.
var errNotReady = errors.New("a condition does not hold")

// Daemon is a running concentrator in a part of the lab, with a state of its own.
type Daemon struct {
	Dir string // holds config.yaml, apply.yaml, api.sock, the file log and the folder state
	// Through are words before the daemon's own: a program that becomes it, as setpriv does.
	Through []string
	lab     *Lab
	part    string
	env     []string
	cmd     *exec.Cmd
	gone    chan struct{} // closed when the process is
}

// NewDaemon lays out a daemon in the part srv: its file, to which lines of YAML may be added, and its documents. Start starts it.
func (l *Lab) NewDaemon(t testing.TB, documents string, config ...string) *Daemon {
	t.Helper()
	d := &Daemon{Dir: filepath.Join(l.Dir, "daemon"), lab: l, part: "srv"}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("state_dir: %[1]s/state\napi: {socket: %[1]s/api.sock}\nlog: {level: info, format: json}\n", d.Dir)
	d.Write(t, "config.yaml", text+strings.Join(append(config, ""), "\n"))
	d.Write(t, "apply.yaml", documents)
	return d
}

// Setenv adds NAME=value to the daemon's environment, from its next start on.
func (d *Daemon) Setenv(name, value string) { d.env = append(d.env, name+"="+value) }

// Write writes one of its files anew: config.yaml or apply.yaml, for the next start.
func (d *Daemon) Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon on the state that is there and returns when it is ready. It is killed at the end of the test.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	if err := d.Begin(t); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// Begin starts the process and does not wait until it is ready.
func (d *Daemon) Begin(t testing.TB) error {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(d.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	words := append(slices.Clone(d.Through), filepath.Join(Bin(t), "concentrator"), "serve",
		"--config", filepath.Join(d.Dir, "config.yaml"), "--apply", filepath.Join(d.Dir, "apply.yaml"))
	line := d.lab.inside(d.part, words[0], words[1:]...)
	d.cmd = exec.Command(line[0], line[1:]...)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.Env = out, out, append(os.Environ(), d.env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	cmd, gone := d.cmd, make(chan struct{})
	d.gone = gone
	go func() {
		_ = cmd.Wait() // ProcessState keeps what it says
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	return nil
}

// Ready waits until the daemon says that it is ready.
func (d *Daemon) Ready(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		out, err := d.TryCtl(ctx, "instance", "list", "-o", "json")
		cancel()
		var all struct{ Instances []Instance }
		if err == nil && json.Unmarshal(out, &all) == nil && len(all.Instances) == 1 && all.Instances[0].Ready() {
			return nil
		}
		select {
		case <-d.gone:
			return fmt.Errorf("the daemon has ended: %v\n%s", d.cmd.ProcessState, d.Tail(20))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v: %w\n%s", limit, cmp.Or(err, errNotReady), d.Tail(20))
		}
	}
}

// Kill ends it as a power cut would, and waits for the end.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill()
	<-d.gone
}

// Stop ends it as an operator does: it must say goodbye to its clients and end by itself, without an error.
func (d *Daemon) Stop(t testing.TB) {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.gone:
	case <-time.After(15 * time.Second):
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // it leaves in its log where it was stuck
		<-time.After(time.Second)
		t.Fatalf("the daemon does not end\n%s", d.Tail(40))
	}
	if !d.cmd.ProcessState.Success() {
		t.Errorf("the daemon ended with %v\n%s", d.cmd.ProcessState, d.Tail(20))
	}
}

// Alive says whether the process runs.
func (d *Daemon) Alive() bool {
	select {
	case <-d.gone:
		return false
	default:
		return true
	}
}

// PID is the daemon's process ID.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Log is all that it has logged, of all its runs.
func (d *Daemon) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Tail is the end of its log.
func (d *Daemon) Tail(lines int) string {
	text, _ := os.ReadFile(filepath.Join(d.Dir, "log"))
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// TryCtl runs ctl and returns what it printed to stdout.
func (d *Daemon) TryCtl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "ctl"), args...)
	cmd.Env = []string{"CONC_SOCKET=" + filepath.Join(d.Dir, "api.sock"), "HOME=" + d.Dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("ctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

// Ctl runs ctl, which must do what it is told, and returns what it printed to stdout.
func (d *Daemon) Ctl(t testing.TB, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := d.TryCtl(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// List reads the list of a noun as JSON into out.
func (d *Daemon) List(t testing.TB, out any, noun string, flags ...string) {
	t.Helper()
	text := d.Ctl(t, append([]string{noun, "list", "-o", "json"}, flags...)...)
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("ctl %s list: %v\n%s", noun, err, text)
	}
}

// Instance is what the API says of the instance.
type Instance struct {
	Sessions   int
	Conditions []struct {
		Type, Detail string
		OK           bool
	}
	Faults []Fault
	Shards []struct{ Drops map[string]string }
}

// Fault is one that stands.
type Fault struct{ Type, Subject, Detail string }

// Ready says whether all conditions hold.
func (i Instance) Ready() bool {
	for _, c := range i.Conditions {
		if !c.OK {
			return false
		}
	}
	return len(i.Conditions) > 0
}

// Instance asks for the instance.
func (d *Daemon) Instance(t testing.TB) Instance {
	t.Helper()
	var all struct{ Instances []Instance }
	d.List(t, &all, "instance")
	if len(all.Instances) != 1 {
		t.Fatalf("instances: %+v", all)
	}
	return all.Instances[0]
}

// Eventually waits until ok is true, and fails the test after the limit, with what was waited for.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}

// Resident is the process's resident memory in octets.
func (d *Daemon) Resident(t testing.TB) int {
	t.Helper()
	return d.status(t, "VmRSS:") << 10
}

// Threads is how many threads the process has.
func (d *Daemon) Threads(t testing.TB) int {
	t.Helper()
	return d.status(t, "Threads:")
}

func (d *Daemon) status(t testing.TB, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), key)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatalf("%s of process %d: %v", key, d.PID(), err)
	}
	return n
}

// Descriptors is how many descriptors the process has open.
func (d *Daemon) Descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Metrics reads the page of metrics; the value of a series is that of the line which begins with it.
func (d *Daemon) Metrics(t testing.TB) map[string]float64 {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			h, err := netns.Open(d.lab.NS(d.part))
			if err != nil {
				return nil, err
			}
			defer func() { _ = h.Close() }()
			err = h.Do(func() error {
				c, err = (&net.Dialer{}).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}
	r, err := client.Get("http://127.0.0.1:9090/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %s, %v", r.Status, err)
	}
	all := make(map[string]float64)
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
				all[line[:i]] = v
			}
		}
	}
	return all
}
