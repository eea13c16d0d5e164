package load

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

func TestSources(t *testing.T) {
	for _, c := range []struct {
		network     string
		count       int
		first, last string
	}{
		{"10.9.0.0/24", 254, "10.9.0.1", "10.9.0.254"},
		{"10.9.0.7/24", 254, "10.9.0.1", "10.9.0.254"},
		{"10.9.0.4/31", 2, "10.9.0.4", "10.9.0.5"},
		{"10.9.0.4/32", 1, "10.9.0.4", "10.9.0.4"},
		{"10.0.0.0/8", maxClients + 1, "10.0.0.1", "10.0.234.97"},
	} {
		got, err := Sources(netip.MustParsePrefix(c.network))
		if err != nil || len(got) != c.count || got[0].String() != c.first || got[len(got)-1].String() != c.last {
			t.Errorf("%s: %d, %v to %v, %v", c.network, len(got), got[0], got[len(got)-1], err)
		}
	}
	for _, bad := range []string{"2001:db8::/64", "0.0.0.0/0"} {
		if _, err := Sources(netip.MustParsePrefix(bad)); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestNames(t *testing.T) {
	if p, err := Protocols("pptp, L2TP_IPSEC"); err != nil || len(p) != 2 || p[1] != tenant.ProtocolL2TPIPsec {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := Protocols("MIX"); err != nil || len(p) != 3 {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := Protocols("PPTP,SSTP"); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "SSTP") {
		t.Errorf("%v", err)
	}
	if g, err := Group("ModP2048"); err != nil || g != wireike.GroupMODP2048 {
		t.Errorf("%v, %v", g, err)
	}
	if c, err := Cipher("AES-128-GCM"); err != nil || c.Transform != wireike.ESPAESGCM16 || c.KeyBits != 128 || c.Auth != wireike.ESPAuthNone {
		t.Errorf("%+v, %v", c, err)
	}
	for _, err := range []error{
		func() error { _, err := Group("modp768"); return err }(),
		func() error { _, err := Cipher("ROT-13"); return err }(),
		func() error { _, _, err := Auth("EAP"); return err }(),
	} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "is none of") {
			t.Errorf("%v", err)
		}
	}
	if s := numbered("u%d@%d.example", 12); s != "u12@12.example" {
		t.Error(s)
	}
}

func TestCheck(t *testing.T) {
	good := Config{
		Server: netip.MustParseAddr("192.0.2.1"), Protocols: []tenant.Protocol{tenant.ProtocolL2TPIPsec}, PSK: tenant.Secret("k"), NATT: true,
	}
	if err := good.check(1000); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		want   string
		count  int
		change func(c *Config)
	}{
		{"is no IPv4 address", 1, func(c *Config) { c.Server = netip.MustParseAddr("2001:db8::1") }},
		{"no protocol", 1, func(c *Config) { c.Protocols = nil }},
		{"0 clients", 0, func(*Config) {}},
		{"needs a pre-shared key", 1, func(c *Config) { c.PSK = nil }},
		{"as many source addresses, not 1", 2, func(c *Config) { c.NATT, c.Sources = false, []netip.Addr{netip.MustParseAddr("192.0.2.2")} }},
		{"without any, NAT traversal does it", 2, func(c *Config) { c.NATT = false }},
	} {
		cfg := good
		c.change(&cfg)
		if err := cfg.check(c.count); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestPrivate: no two clients say that they have the same address, nor one that is a network's own.
func TestPrivate(t *testing.T) {
	seen := map[netip.Addr]int{}
	for i := range maxClients {
		a := private(i)
		if j, twice := seen[a]; twice || !netip.MustParsePrefix("192.168.0.0/16").Contains(a) {
			t.Fatalf("clients %d and %d: %v", i, j, a)
		}
		seen[a] = i
	}
}

func TestCPU(t *testing.T) {
	began := OwnCPU()
	for n := 0; OwnCPU()-began < 30*time.Millisecond; n++ {
		if n > 1e9 {
			t.Fatal("no time passes")
		}
	}
	own, err := ProcessCPU(os.Getpid())
	if err != nil || own < OwnCPU()-100*time.Millisecond || own > OwnCPU()+100*time.Millisecond {
		t.Errorf("%v by getrusage, %v by /proc, %v", OwnCPU(), own, err)
	}
	if _, err := ProcessCPU(1 << 30); err == nil {
		t.Error("a process that is not there")
	}
}
