//go:build interop

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// What the daemon's RADIUS servers are told, and FreeRADIUS too.
const (
	radiusSecret  = "interop-radius-secret"
	foreignSecret = "another-tenants-secret"
	radiusPort    = 1812 // replies with Message-Authenticator
	radiusOldPort = 1912 // replies without
)

// Radius is a FreeRADIUS server. Its users are in testdata/freeradius/users.
type Radius struct {
	Part, Address string // where it is
	Client        string // the address of the daemon that may ask it

	lab  *Lab
	dir  string
	proc *process
}

// NewRadius lays out the files of a FreeRADIUS server in a part of the lab, for a daemon at the address client.
func (l *Lab) NewRadius(name, part, address, client string) (*Radius, error) {
	r := &Radius{Part: part, Address: address, Client: client, lab: l, dir: filepath.Join(l.Dir, name)}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{
		"key.pem": l.PKI.ServerRSA.PrivateKey, "cert.pem": l.PKI.ServerRSA.Certificate, "ca.pem": l.PKI.RSA.Certificate,
	} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"radiusd.conf", "users"} {
		tmpl, err := template.ParseFiles(filepath.Join("testdata", "freeradius", name))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, map[string]string{
			"Dir": r.dir, "Address": address, "Client": client, "Secret": radiusSecret,
		}); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), b.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Start starts the server and returns when it answers.
func (r *Radius) Start() error {
	log := filepath.Join(r.dir, "log")
	_ = os.Remove(log) // of an earlier start
	var err error
	r.proc, err = startProcess(log, inside(r.lab.NS(r.Part), "freeradius", "-f", "-d", r.dir, "-n", "radiusd", "-l", "stdout")...)
	if err != nil {
		return fmt.Errorf("start FreeRADIUS: %w", err)
	}
	ready := func() bool {
		text, _ := os.ReadFile(log)
		return bytes.Contains(text, []byte("Ready to process requests"))
	}
	if err := r.proc.wait(ready, 15*time.Second); err != nil {
		r.Stop()
		return fmt.Errorf("FreeRADIUS: %w", err)
	}
	return nil
}

// Signal sends the server a signal: SIGSTOP makes it as silent as a dead one, whose machine still answers ARP.
func (r *Radius) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := r.proc.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Attributes of one record of a FreeRADIUS detail file, each with its values in order.
type Attributes map[string][]string

// Get is an attribute's first value without quotes; "" if it is not there.
func (a Attributes) Get(name string) string {
	if len(a[name]) == 0 {
		return ""
	}
	return strings.Trim(a[name][0], `"`)
}

// Accounts are the accounting records that the server has acknowledged, in order.
func (r *Radius) Accounts(t testing.TB) (records []Attributes) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "accounts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for record := range strings.SplitSeq(string(text), "\n\n") {
		a := Attributes{}
		for line := range strings.Lines(record) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
				a[name] = append(a[name], value)
			}
		}
		if len(a) > 0 {
			records = append(records, a)
		}
	}
	return records
}

// Send has radclient send a request with these attributes from a part of the lab, and returns what it printed: the
// answer's code and attributes. kind is what radclient calls it: coa, disconnect.
func (l *Lab) Send(t testing.TB, part, to, kind, secret, attributes string) string {
	t.Helper()
	args := inside(l.NS(part), "radclient", "-x", "-r", "1", "-t", "3", to, kind, secret)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(attributes)
	out, err := cmd.CombinedOutput() // it fails where the answer is a NAK, or none
	if len(out) == 0 {
		t.Fatalf("radclient printed nothing: %v", err)
	}
	return string(out)
}

// Requests is what it wrote down of the Access-Requests on radiusPort, one attribute a line.
func (r *Radius) Requests(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "requests"))
	if err != nil {
		t.Fatalf("FreeRADIUS has seen no request: %v", err)
	}
	return string(text)
}

// Stop ends the server.
func (r *Radius) Stop() { _, _ = r.proc.stop(syscall.SIGTERM, 5*time.Second) }
