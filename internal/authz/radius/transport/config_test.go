package transport

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

func TestConfig(t *testing.T) {
	p := newParties(t)
	good := ServerConfig{Name: "one", Address: "192.0.2.9", Secrets: []tenant.Secret{tenant.Secret("x")}}
	overTLS := func(c *ServerConfig) { c.Transport, c.TLS.CACertificates = TLS, []string{p.ca.pem} }
	for _, tt := range []struct {
		name   string
		change func(*ServerConfig)
		want   string // in the error; empty: none
	}{
		{"defaults", func(*ServerConfig) {}, ""},
		{"no name", func(c *ServerConfig) { c.Name = "" }, "name"},
		{"no address", func(c *ServerConfig) { c.Address = "" }, "address"},
		{"port", func(c *ServerConfig) { c.AuthPort = 65536 }, "authPort"},
		{"negative port", func(c *ServerConfig) { c.AuthPort = -1 }, "authPort"},
		{"accounting port", func(c *ServerConfig) { c.AcctPort = 65536 }, "acctPort"},
		{"negative timeout", func(c *ServerConfig) { c.Timeout = -time.Second }, "timeout"},
		{"timeout", func(c *ServerConfig) { c.Timeout = time.Hour }, "timeout"},
		{"tries", func(c *ServerConfig) { c.Tries = 11 }, "tries"},
		{"negative tries", func(c *ServerConfig) { c.Tries = -1 }, "tries"},
		{"weight", func(c *ServerConfig) { c.Weight = 65536 }, "weight"},
		{"negative weight", func(c *ServerConfig) { c.Weight = -1 }, "weight"},
		{"outstanding", func(c *ServerConfig) { c.MaxOutstanding = 2049 }, "maxOutstanding"},
		{"most outstanding", func(c *ServerConfig) { c.MaxOutstanding = 2048 }, ""},
		{"negative outstanding", func(c *ServerConfig) { c.MaxOutstanding = -1 }, "maxOutstanding"},
		{"dead time", func(c *ServerConfig) { c.DeadTime = 2 * time.Hour }, "deadTime"},
		{"negative dead time", func(c *ServerConfig) { c.DeadTime = -1 }, "deadTime"},
		{"no secret", func(c *ServerConfig) { c.Secrets = nil }, "secrets"},
		{"empty secret", func(c *ServerConfig) { c.Secrets = append(c.Secrets, nil) }, "secrets[1]"},
		{"secrets", func(c *ServerConfig) { c.Secrets = make([]tenant.Secret, 9) }, "secrets"},
		{"mode", func(c *ServerConfig) { c.MessageAuthenticator = "MAYBE" }, "messageAuthenticator"},
		{"identifier", func(c *ServerConfig) { c.NASIdentifier = strings.Repeat("x", 254) }, "254"},
		{"families", func(c *ServerConfig) { c.SourceAddress = netip.MustParseAddr("2001:db8::1") }, "sourceAddress"},
		{"purpose", func(c *ServerConfig) { c.Purposes = []Purpose{2} }, "purposes[0]"},
		{"purpose twice", func(c *ServerConfig) { c.Purposes = []Purpose{Access, Access} }, "purposes[1]"},
		{"transport", func(c *ServerConfig) { c.Transport = "DTLS" }, "transport"},
		{"TLS", overTLS, ""},
		{"TLS without a secret", func(c *ServerConfig) { overTLS(c); c.Secrets = nil }, ""},
		{"no certificate", func(c *ServerConfig) { overTLS(c); c.TLS.CACertificates = []string{p.ca.pem, "x"} }, "tls.caCertificates[1]"},
		{"chain without key", func(c *ServerConfig) { overTLS(c); c.TLS.CertificateChain = p.client.chain }, "tls.privateKey"},
		{"key without chain", func(c *ServerConfig) { overTLS(c); c.TLS.CertificateKey = tenant.Secret("x") }, "tls.certificateChain"},
		{"key of another", func(c *ServerConfig) {
			overTLS(c)
			c.TLS.CertificateChain, c.TLS.CertificateKey = p.client.chain, tenant.Secret(p.server.key)
		}, "tls.certificateChain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := good
			tt.change(&sc)
			g, err := New(Config{Servers: []ServerConfig{sc}})
			if err == nil {
				g.Close()
			}
			if own := sc.Check(); (own == nil) != (err == nil) || own != nil && !strings.HasSuffix(err.Error(), own.Error()) {
				t.Errorf("Check says %v", own)
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Error("the error shows a key")
			}
		})
	}
	var many []ServerConfig
	for i := range maxServers + 1 {
		c := good
		c.Name = fmt.Sprint(i)
		many = append(many, c)
	}
	if _, err := New(Config{Servers: many}); err == nil {
		t.Error("too many servers are taken")
	}
}

func TestDefaults(t *testing.T) {
	c := ServerConfig{Name: "one", Address: "radius.example", Secrets: []tenant.Secret{tenant.Secret("x")}}
	s, err := c.check()
	if err != nil {
		t.Fatal(err)
	}
	if s.AuthPort != 1812 || s.AcctPort != 1813 || s.Timeout != 3*time.Second || s.Tries != 3 || s.Weight != 1 ||
		s.MessageAuthenticator != ModeRequire || s.MaxOutstanding != 256 || s.DeadTime != 30*time.Second || len(s.Purposes) != 2 ||
		s.Transport != UDP || s.tls != nil || !s.named {
		t.Errorf("defaults %+v", s)
	}
	c.Transport, c.Secrets = TLS, nil
	if s, err = c.check(); err != nil {
		t.Fatal(err)
	}
	if s.AuthPort != 2083 || s.AcctPort != 2083 || s.MessageAuthenticator != ModeAuto || string(s.Secrets[0]) != "radsec" ||
		s.tls.ServerName != "radius.example" || s.tls.MinVersion != 0x0303 || s.tls.RootCAs != nil {
		t.Errorf("defaults with TLS %+v", s)
	}
}

func TestShorten(t *testing.T) {
	for _, random := range []float64{0, 0.25, 0.5, 0.999999} {
		got := shorten(3*time.Second, random)
		if got > 3*time.Second || got < 2400*time.Millisecond {
			t.Errorf("shorten(3s, %v) = %s, want 2.4 s to 3 s", random, got)
		}
	}
	if shorten(time.Second, 0) == shorten(time.Second, 0.5) {
		t.Error("there is no jitter")
	}
}

func TestBackoff(t *testing.T) {
	var got []time.Duration
	for d := time.Duration(0); len(got) < 11; {
		d = backoff(d)
		got = append(got, d)
	}
	if got[0] != 100*time.Millisecond || got[1] != 200*time.Millisecond || got[8] != 25600*time.Millisecond || got[10] != 30*time.Second {
		t.Errorf("pauses %v", got)
	}
}

// Places are given in the order in which they were asked for, and come back whatever happens.
func TestGate(t *testing.T) {
	var g gate
	g.setLimit(2)
	a, b := g.enter(), g.enter()
	c, d, e := g.enter(), g.enter(), g.enter()
	if a != nil || b != nil || c == nil || d == nil || e == nil {
		t.Fatal("not exactly two are let in")
	}
	isIn := func(ticket chan struct{}) bool {
		select {
		case <-ticket:
			return true
		default:
			return false
		}
	}
	g.leave(d) // gives up
	g.leave(a)
	if !isIn(c) || isIn(d) || isIn(e) {
		t.Fatal("the first of those who wait is not the one to be let in")
	}
	if f := g.enter(); f == nil {
		t.Fatal("a new one gets in before those who wait")
	} else {
		g.leave(f)
	}
	g.leave(c)
	if inside, waiting := g.load(); inside != 2 || waiting != 0 || !isIn(e) {
		t.Fatalf("%d inside, %d wait", inside, waiting)
	}
	f := g.enter()
	g.setLimit(3)
	if !isIn(f) {
		t.Error("a higher limit lets nobody in")
	}
	g.setLimit(1)
	g.leave(b)
	g.leave(e)
	h := g.enter()
	g.leave(f)
	if inside, waiting := g.load(); inside != 1 || waiting != 0 || !isIn(h) {
		t.Errorf("%d inside, %d wait", inside, waiting)
	}
}
