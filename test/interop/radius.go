//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// What the daemon's RADIUS servers are told, and FreeRADIUS too.
const (
	radiusSecret  = "interop-radius-secret"
	radiusPort    = 1812 // replies with Message-Authenticator
	radiusOldPort = 1912 // replies without
)

// Radius is a FreeRADIUS server on innerHost. Its users are in testdata/freeradius/users.
type Radius struct {
	dir  string
	proc *process
}

// StartRadius starts FreeRADIUS beside the host "lan" and returns when it answers.
func (l *Lab) StartRadius() (*Radius, error) {
	r := &Radius{dir: filepath.Join(l.Dir, "freeradius")}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"radiusd.conf", "users"} {
		tmpl, err := template.ParseFiles(filepath.Join("testdata", "freeradius", name))
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, map[string]string{
			"Dir": r.dir, "Address": innerHost, "Client": innerGateway, "Secret": radiusSecret,
		}); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), b.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(r.dir, "log")
	var err error
	r.proc, err = startProcess(log, inside(l.NS("lan"), "freeradius", "-f", "-d", r.dir, "-n", "radiusd", "-l", "stdout")...)
	if err != nil {
		return nil, fmt.Errorf("start FreeRADIUS: %w", err)
	}
	ready := func() bool {
		text, _ := os.ReadFile(log)
		return bytes.Contains(text, []byte("Ready to process requests"))
	}
	if err := r.proc.wait(ready, 15*time.Second); err != nil {
		r.Stop()
		return nil, fmt.Errorf("FreeRADIUS: %w", err)
	}
	return r, nil
}

// Requests is what FreeRADIUS wrote down of the Access-Requests on radiusPort, one attribute a line.
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
