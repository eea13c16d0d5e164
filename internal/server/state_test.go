package server

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"concentrator/internal/store/storetest"
)

func TestAdminToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, tokenFile)
	first, err := adminToken(dir)
	must(t)(first, err)
	again, err := adminToken(dir)
	if err != nil || again != first || len(first) < 40 {
		t.Errorf("%q, then %q, %v", first, again, err)
	}
	if other, _ := adminToken(t.TempDir()); other == first {
		t.Error("two directories have one token")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t)(nil, os.Chmod(path, 0o640))
	if _, err := adminToken(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token that others can read: %v", err)
	}
	must(t)(nil, os.WriteFile(path, []byte("short\n"), 0o600))
	must(t)(nil, os.Chmod(path, 0o600))
	if _, err := adminToken(dir); err == nil || !strings.Contains(err.Error(), "holds no token") {
		t.Errorf("a short token: %v", err)
	}
	if _, err := adminToken(filepath.Join(dir, "missing")); err == nil {
		t.Error("a token in no directory")
	}
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	hosts := certHosts("192.0.2.9:9443", "0.0.0.0:8443", "vpn.example:1", "")
	first, err := certificate(dir, TLS{}, hosts)
	must(t)(first, err)
	for _, h := range []string{"localhost", "127.0.0.1", "192.0.2.9", "vpn.example"} {
		if err := first.Leaf.VerifyHostname(h); err != nil {
			t.Error(err)
		}
	}
	if len(first.Leaf.IPAddresses) != 3 {
		t.Errorf("addresses %v", first.Leaf.IPAddresses)
	}
	again, err := certificate(dir, TLS{}, nil)
	if err != nil || !bytes.Equal(again.Certificate[0], first.Certificate[0]) {
		t.Errorf("the certificate changed: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	if p := fingerprint(first); len(p) != 32*3-1 || strings.ToUpper(p) != p || strings.Count(p, ":") != 31 {
		t.Errorf("fingerprint %q", p)
	}

	// A crash between the key and the certificate heals at the next start.
	must(t)(nil, os.Remove(filepath.Join(dir, certFile)))
	healed, err := certificate(dir, TLS{}, nil)
	if err != nil || bytes.Equal(healed.Certificate[0], first.Certificate[0]) {
		t.Errorf("after the loss of the certificate: %v", err)
	}
	must(t)(nil, os.WriteFile(filepath.Join(dir, keyFile), []byte("broken"), 0o600))
	if _, err := certificate(dir, TLS{}, nil); err == nil || !strings.Contains(err.Error(), "remove") {
		t.Errorf("a broken key: %v", err)
	}

	other := t.TempDir()
	must(t)(certificate(other, TLS{}, nil))
	given, err := certificate(dir, TLS{Cert: filepath.Join(other, certFile), Key: filepath.Join(other, keyFile)}, nil)
	must(t)(given, err)
	if _, err := certificate(dir, TLS{Cert: filepath.Join(other, certFile)}, nil); err == nil || !strings.Contains(err.Error(), "api.tls") {
		t.Errorf("a certificate without a key: %v", err)
	}
	if _, err := tlsConfig(tls.Certificate{}, filepath.Join(dir, keyFile)); err == nil || !strings.Contains(err.Error(), "api.tls.client_ca") {
		t.Errorf("a CA file that is none: %v", err)
	}
}

func TestNewFails(t *testing.T) {
	taken := start(t)
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"address taken":   {Config{StateDir: t.TempDir(), GRPC: taken.GRPCAddr().String()}, "api.grpc"},
		"bad address":     {Config{StateDir: t.TempDir(), REST: "nowhere"}, "api.rest"},
		"no state folder": {Config{StateDir: filepath.Join(t.TempDir(), "none")}, "admin.token"},
		"bad socket":      {Config{StateDir: t.TempDir(), Socket: filepath.Join(t.TempDir(), strings.Repeat("x", 200))}, "api.socket"},
	} {
		c.config.Store, c.config.Live = storetest.Open(t), &fakeLive{}
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that was never served can be shut down, twice.
func TestShutdownWithoutServe(t *testing.T) {
	f := &fixture{dir: t.TempDir(), log: &logBuffer{}}
	s, err := New(Config{Store: storetest.Open(t), Live: &fakeLive{}, StateDir: f.dir, Log: testLog(f.log)})
	must(t)(s, err)
	for range 2 {
		must(t)(nil, s.Shutdown(t.Context()))
	}
	if s.GRPCAddr() != nil || s.RESTAddr() != nil {
		t.Error("addresses of what is not served")
	}
	done := make(chan error)
	go func() { done <- s.Serve(t.Context()) }()
	select {
	case err := <-done:
		must(t)(nil, err)
	case <-time.After(10 * time.Second):
		t.Error("Serve after Shutdown does not return")
	}
}
