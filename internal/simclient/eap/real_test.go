package eap

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	wire "concentrator/internal/wire/eap"
)

const goodPassword = "wonder-1"

func login(methods ...byte) Config {
	return Config{Methods: methods, Name: "alice", Passwords: []string{goodPassword}}
}

// wantKeys compares the Peer's keys with those in the Accept; a server's receive key is a client's send key.
func wantKeys(t *testing.T, p *Peer, n *nas) {
	t.Helper()
	k, err := p.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if len(n.recv) < 16 || !bytes.Equal(n.recv[:16], k.Send[:]) || !bytes.Equal(n.send[:16], k.Recv[:]) {
		t.Errorf("the server sends with %x and receives with %x, the peer with %x and %x", n.send, n.recv, k.Send, k.Recv)
	}
	if both := append(bytes.Clone(n.recv), n.send...); !bytes.HasPrefix(k.MSK, both) || len(k.MSK) != mskLen {
		t.Errorf("MSK %x, server %x", k.MSK, both)
	}
}

// TestFreeRADIUS logs in to the real thing by every method.
func TestFreeRADIUS(t *testing.T) {
	for _, v := range []struct {
		name    string
		options eapOptions
		version uint16
		mtu     int
	}{
		{"TLS 1.2", eapOptions{favourite: "mschapv2", minTLS: "1.2", maxTLS: "1.2"}, tls.VersionTLS12, 1400},
		{"TLS 1.3", eapOptions{favourite: "md5", minTLS: "1.2", maxTLS: "1.3"}, tls.VersionTLS13, 1400},
		{
			"small fragments",
			eapOptions{favourite: "tls", minTLS: "1.2", maxTLS: "1.2", fragment: 250, padding: 3000},
			tls.VersionTLS12, 250,
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			fr := startFreeRADIUS(t, v.options)
			padding := v.options.padding
			ours := TLS{
				Certificate: fr.ca.issue("alice", x509.ExtKeyUsageClientAuth, padding), Roots: fr.ca.pool(),
				ServerName: "radius.example.net",
			}
			with := func(c Config, change func(*Config)) Config {
				c.MTU = v.mtu
				c.TLS = ours
				if change != nil {
					change(&c)
				}
				return c
			}
			for _, c := range []struct {
				name string
				cfg  Config
				keys bool
			}{
				{"MD5", with(login(wire.TypeMD5), nil), false},
				{"MSCHAPv2", with(login(wire.TypeMSCHAPv2), nil), true},
				{"MSCHAPv2 with a domain", with(login(wire.TypeMSCHAPv2), func(c *Config) { c.Name = `ACME\alice` }), true},
				{"TLS", with(login(wire.TypeTLS), nil), true},
				{"TLS without a name to check", with(login(wire.TypeTLS), func(c *Config) { c.TLS.ServerName = "" }), true},
				{"PEAP", with(login(wire.TypePEAP), func(c *Config) { c.TLS.Certificate = nil }), true},
				{"PEAP, hidden", with(login(wire.TypePEAP), func(c *Config) { c.Identity = "anonymous" }), true},
				{"PEAP, and its password only", with(login(wire.TypePEAP), func(c *Config) { c.TLS = TLS{} }), true},
				{"several", with(login(wire.TypePEAP, wire.TypeMD5), nil), true},
			} {
				t.Run(c.name, func(t *testing.T) {
					p, r, n := fr.login(t, c.cfg, nil)
					if !r.Done {
						t.Fatalf("%+v", r)
					}
					if !c.keys {
						if k, err := p.Keys(); k != nil || err != nil {
							t.Errorf("keys %v, %v", k, err)
						}
						return
					}
					if p.Type() != wire.TypeMD5 {
						wantKeys(t, p, n)
					}
					if m, ok := p.method.(interface{ version() uint16 }); ok && m.version() != v.version {
						t.Errorf("TLS %x, want %x", m.version(), v.version)
					}
				})
			}

			stranger := newAuthority(t, "stranger")
			for _, c := range []struct {
				name string
				cfg  Config
				want string
			}{
				{"MSCHAPv2, wrong password", with(login(wire.TypeMSCHAPv2), func(c *Config) { c.Passwords = []string{"x"} }), "refused"},
				{"MD5, wrong password", with(login(wire.TypeMD5), func(c *Config) { c.Passwords = nil }), "refused"},
				{"unknown user", with(login(wire.TypeMSCHAPv2), func(c *Config) { c.Name = "bob" }), "refused"},
				{"PEAP, wrong password", with(login(wire.TypePEAP), func(c *Config) { c.Passwords = []string{"x"} }), "refused"},
				{
					"TLS, a stranger's certificate", with(login(wire.TypeTLS), func(c *Config) {
						c.TLS.Certificate = stranger.issue("alice", x509.ExtKeyUsageClientAuth, 0)
					}), "refused",
				},
				{"TLS, no certificate", with(login(wire.TypeTLS), func(c *Config) { c.TLS.Certificate = nil }), "refused"},
				{
					"TLS, a strange server", with(login(wire.TypeTLS), func(c *Config) { c.TLS.Roots = stranger.pool() }),
					"unknown authority",
				},
				{
					"PEAP, a strange server", with(login(wire.TypePEAP), func(c *Config) { c.TLS.Roots = stranger.pool() }),
					"unknown authority",
				},
				{
					"PEAP, another server", with(login(wire.TypePEAP), func(c *Config) { c.TLS.ServerName = "other.example.net" }),
					"other.example.net",
				},
				{"no method in common", with(login(), nil), "refused"},
			} {
				t.Run(c.name, func(t *testing.T) {
					_, r, _ := fr.login(t, c.cfg, nil)
					if r.Err == nil || !strings.Contains(r.Err.Error(), c.want) {
						t.Errorf("%v, want %q", r.Err, c.want)
					}
				})
			}
		})
	}
}

// TestFreeRADIUSRetry: with send_error, FreeRADIUS says why it refuses, and lets the peer try again.
func TestFreeRADIUSRetry(t *testing.T) {
	fr := startFreeRADIUS(t, eapOptions{favourite: "mschapv2", minTLS: "1.2", maxTLS: "1.2", mschapv2: "send_error = yes"})
	for _, c := range []struct {
		name      string
		passwords []string
		done      bool
		refusals  int
	}{
		{"right at last", []string{"x", goodPassword}, true, 1},
		{"wrong", []string{"x"}, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := login(wire.TypeMSCHAPv2)
			cfg.Passwords = c.passwords
			var refused []*Refusal
			p, r, n := fr.login(t, cfg, func(r Result) {
				if r.Refused != nil {
					refused = append(refused, r.Refused)
				}
			})
			if r.Done != c.done || len(refused) != c.refusals || refused[0].Code != 691 ||
				refused[0].Message != "Authentication rejected" {
				t.Fatalf("%+v, %+v", r, refused)
			}
			if c.done {
				wantKeys(t, p, n)
				return
			}
			var e *Refusal
			if !errors.As(r.Err, &e) || e != refused[0] {
				t.Errorf("error %v", r.Err)
			}
		})
	}
}

func (m *tlsMethod) version() uint16 { return m.tun.conn.ConnectionState().Version }
