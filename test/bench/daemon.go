package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxSessions is how many sessions the daemon is asked to carry.
const maxSessions = 1000

// daemon is a running concentrator, the built program, with a user for each of maxSessions clients.
type daemon struct {
	lab  *lab
	part string // of the lab, where it runs
	dir  string // holds its configuration, state and log
	cmd  *exec.Cmd
	rest *http.Client
	done chan error
}

// documents are what the daemon serves: all protocols on every address, and no limit for a source, because all clients have
// few. The users follow.
const documents = `kind: Tenant
name: tenants/bench
ipsec: {psks: [{id: main, secret: ` + benchPSK + `}]}
limits: {maxSessions: 1000, halfOpenPerSource: 0}
---
kind: Pool
name: tenants/bench/pools/main
ranges: [10.64.0.0/21]
---
kind: Profile
name: tenants/bench/profiles/default
authMethods: [MSCHAPV2]
allowPlaintext: true
mppe: {policy: OPTIONAL, keyBits: [128]}
pool: tenants/bench/pools/main
---
kind: Listener
name: listeners/main
address: 0.0.0.0
protocols: [PPTP, L2TP_IPSEC, L2TP]
tenants: [tenants/bench]
defaultTenant: tenants/bench
`

// benchPSK is a secret of nobody: the daemon lives in a namespace of ours for some minutes.
const benchPSK = "bench-key-0123"

// Where the daemon's API listens, in its own namespace.
const (
	restAddress    = "127.0.0.1:8443"
	metricsAddress = "127.0.0.1:9090"
)

// buildPrograms builds the daemon and loadgen into dir.
func buildPrograms(ctx context.Context, dir string) error {
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", "concentrator/cmd/concentrator", "concentrator/cmd/loadgen")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// startDaemon starts the daemon that is in the folder programs in a part of the lab; dir is for all else of its.
func startDaemon(ctx context.Context, l *lab, part, programs, dir string) (*daemon, error) {
	d := &daemon{lab: l, part: part, dir: dir, done: make(chan error, 1)}
	var docs strings.Builder
	docs.WriteString(documents)
	for i := 1; i <= maxSessions; i++ {
		fmt.Fprintf(&docs, "---\nkind: User\nname: tenants/bench/users/u%d\npassword: pw%d\n", i, i)
	}
	config := fmt.Sprintf(`state_dir: %[1]s/state
api: {grpc: 127.0.0.1:9443, rest: %[2]s, metrics: %[3]s, socket: %[1]s/api.sock}
log: {level: warn, format: text}
`, dir, restAddress, metricsAddress)
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "apply.yaml"), []byte(docs.String()), 0o600),
	); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command("nsenter", l.enter(part), filepath.Join(programs, "concentrator"), "serve",
		"--config", filepath.Join(dir, "config.yaml"), "--apply", filepath.Join(dir, "apply.yaml"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	d.rest = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext:     d.dial,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate was made at first start
	}}
	return d, d.ready(ctx)
}

// dial connects to an address in the daemon's namespace.
func (d *daemon) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = d.lab.do(d.part, func() error {
		c, err = (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (d *daemon) ready(ctx context.Context) error {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-d.done:
			d.done <- err
			return fmt.Errorf("the daemon ended: %w: %s", err, d.log())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if _, err := d.get("https://" + restAddress + "/readyz"); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the daemon is not ready after a minute: %s", d.log())
}

func (d *daemon) get(url string) (string, error) {
	resp, err := d.rest.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}

// sum adds up one of the daemon's metrics over all its labels.
func (d *daemon) sum(metric string) (float64, error) {
	text, err := d.get("http://" + metricsAddress + "/metrics")
	if err != nil {
		return 0, err
	}
	return sumMetric(text, metric)
}

// sumMetric adds up a metric in Prometheus' text format.
func sumMetric(text, metric string) (sum float64, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(name, "{"); base != metric {
			continue
		}
		if at := strings.LastIndexByte(value, ' '); at >= 0 { // labels may hold blanks
			value = value[at+1:]
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", metric, err)
		}
		sum += v
	}
	return sum, nil
}

// log is the end of what the daemon has said.
func (d *daemon) log() string {
	text, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// resident is the daemon's memory in octets.
func (d *daemon) resident() (uint64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", d.pid()))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the daemon has no memory")
}

// stop ends the daemon as an operator does.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case err := <-d.done:
		return err
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		return errors.Join(errors.New("the daemon did not end within 20 s"), <-d.done)
	}
}
