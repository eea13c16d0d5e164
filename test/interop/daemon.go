//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// Where the daemon's API listens, in its own namespace.
const (
	restAddress    = "127.0.0.1:8443"
	grpcAddress    = "127.0.0.1:9443"
	metricsAddress = "127.0.0.1:9090"
)

// Build builds the daemon, ctl and loadgen of this checkout into the folder dir.
func Build(dir string) error {
	cmd := exec.Command("go", "build", "-o", dir+"/", "concentrator/cmd/concentrator", "concentrator/cmd/ctl", "concentrator/cmd/loadgen")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Daemon is a running concentrator in a part of the lab, with a state of its own.
type Daemon struct {
	Dir  string // holds config.yaml, apply.yaml, log and the folder state
	bin  string
	proc *process
	rest *http.Client
	ns   string
}

// NewDaemon lays out the files of a daemon: the configuration and the documents that it shall apply, which come from the
// template testdata/APPLY. Start starts it. bin is where Build put the programs.
func (l *Lab) NewDaemon(name, part, bin, apply string) (*Daemon, error) {
	d := &Daemon{Dir: filepath.Join(l.Dir, name), bin: bin, ns: l.NS(part)}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	tmpl, err := template.New(apply).Funcs(template.FuncMap{"quote": strconv.Quote}).ParseFiles(filepath.Join("testdata", apply))
	if err != nil {
		return nil, err
	}
	var documents bytes.Buffer
	if err := tmpl.Execute(&documents, map[string]any{
		"Net1": l.NS("net1"), "Net2": l.NS("net2"),
		"RadiusAddress": innerHost, "RadiusSecret": radiusSecret, "RadiusPort": radiusPort, "RadiusOldPort": radiusOldPort,
		"ForeignSecret": foreignSecret, "AccRadius": accRadius, "AccRadius2": accRadius2, "AccSlow": accSlow, "AccAddress": accAddress,
		"PKI": l.PKI, "Fifty": l.fifty(), "FiftyAddress": fiftyAddress,
	}); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`state_dir: %[1]s/state
api:
  grpc: %[2]s
  rest: %[3]s
  metrics: %[4]s
  socket: %[1]s/api.sock
log:
  level: debug
  format: json
`, d.Dir, grpcAddress, restAddress, metricsAddress)
	for file, text := range map[string]string{"config.yaml": config, "apply.yaml": documents.String()} {
		if err := os.WriteFile(filepath.Join(d.Dir, file), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	d.rest = &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DialContext:     dialIn(d.ns),
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate was made at first start
			MaxIdleConns:    2,
		},
	}
	return d, nil
}

// Start starts the daemon on the state that is there, and returns when it says that it is ready.
func (d *Daemon) Start() error {
	var err error
	d.proc, err = startProcess(filepath.Join(d.Dir, "log"), d.serve()...)
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	ready := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := d.get(ctx, "https://"+restAddress+"/readyz", "")
		return err == nil
	}
	if err := d.proc.wait(ready, 20*time.Second); err != nil {
		_, _ = d.proc.stop(syscall.SIGKILL, time.Second)
		return fmt.Errorf("the daemon: %w", err)
	}
	return nil
}

// serve is the daemon's command line.
func (d *Daemon) serve() []string {
	return inside(d.ns, filepath.Join(d.bin, "concentrator"), "serve",
		"--config", filepath.Join(d.Dir, "config.yaml"), "--apply", filepath.Join(d.Dir, "apply.yaml"))
}

// Stop ends the daemon as an operator does. It must say goodbye to its clients and end by itself, without an error.
func (d *Daemon) Stop() error {
	state, err := d.proc.stop(syscall.SIGTERM, 15*time.Second)
	if err != nil {
		return fmt.Errorf("the daemon: %w", err)
	}
	if !state.Success() {
		return fmt.Errorf("the daemon ended with %v\n%s", state, tail(d.proc.log, 20))
	}
	return nil
}

// PID is the daemon's process ID.
func (d *Daemon) PID() int { return d.proc.cmd.Process.Pid }

// Log is all that the daemon has logged.
func (d *Daemon) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(d.proc.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ctlCommand prepares `ctl args…` by the daemon's socket.
func (d *Daemon) ctlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "ctl"), args...)
	// Nothing of the environment may change what ctl does.
	cmd.Env = []string{"CONC_SOCKET=" + filepath.Join(d.Dir, "api.sock"), "HOME=" + d.Dir, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// Ctl runs ctl and returns what it printed to stdout.
func (d *Daemon) Ctl(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := d.ctlCommand(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// REST gets a path of the REST API with the administrator's token, which the daemon made at first start.
func (d *Daemon) REST(ctx context.Context, path string) ([]byte, error) {
	token, err := os.ReadFile(filepath.Join(d.Dir, "state", "admin.token"))
	if err != nil {
		return nil, fmt.Errorf("the administrator's token: %w", err)
	}
	return d.get(ctx, "https://"+restAddress+path, strings.TrimSpace(string(token)))
}

// Metrics gets the daemon's metrics in Prometheus' text format.
func (d *Daemon) Metrics(ctx context.Context) (string, error) {
	text, err := d.get(ctx, "http://"+metricsAddress+"/metrics", "")
	return string(text), err
}

func (d *Daemon) get(ctx context.Context, url, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.rest.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s: %s", url, resp.Status, body)
	}
	return body, nil
}
