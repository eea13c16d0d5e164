//go:build interop

package interop

import (
	"testing"
	"time"
)

// TestTwoTenants has two clients in at once, in two tenants with the same addresses: pools, inside host and all. Each
// reaches its own tenant's host and nothing of the other's.
func TestTwoTenants(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	one := dial(t, guests[0], Dial{Server: "198.51.100.8", User: "carol", Password: "carrots-3", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	two := dial(t, guests[1], Dial{Server: "198.51.100.8", User: "carol@two.example", Password: "carrots-3", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	if one.Local != two.Local {
		t.Errorf("two users with the same static address have %s and %s", one.Local, two.Local)
	}
	checkHosts := func() {
		t.Helper()
		for _, side := range []struct {
			link *Link
			host *Host
		}{{one, world.far1}, {two, world.far2}} {
			side.link.Route(t, innerHost)
			if name := side.link.HostName(t); name != side.host.Name {
				t.Errorf("%s reaches the host of %q, want that of %q", side.link.Guest.Name, name, side.host.Name)
			}
		}
	}
	checkHosts()
	if s := world.daemon.OpenSession(t, "two", two); s.User != "carol" {
		t.Errorf("the user of tenant two is %q, want carol without her realm", s.User)
	}
	two.HangUp(t)

	// Now with different addresses, so that each has the other's to try.
	two = dial(t, guests[1], Dial{Server: "198.51.100.8", User: "bob@two.example", Password: "builder-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	if two.Local.String() != "10.71.0.77" {
		t.Errorf("address %s, want the static 10.71.0.77", two.Local)
	}
	checkHosts()
	one.Route(t, two.Local.String())
	two.Route(t, one.Local.String())
	fromHost := func(part string, target *Link) Pings {
		return world.lab.PingFrom(t, part, target.Local.String(), 3, 50*time.Millisecond)
	}
	for _, c := range []struct {
		who   string
		pings Pings
		want  int
	}{
		{"tenant one's client the other's", one.Ping(t, two.Local.String(), 3, 50*time.Millisecond), 0},
		{"tenant two's client the other's", two.Ping(t, one.Local.String(), 3, 50*time.Millisecond), 0},
		{"tenant one's host its client", fromHost("far1", one), 3},
		{"tenant two's host its client", fromHost("far2", two), 3},
		{"tenant one's host the other's client", fromHost("far1", two), 0},
		{"tenant two's host the other's client", fromHost("far2", one), 0},
	} {
		if c.pings.Received < c.want || c.want == 0 && c.pings.Received > 0 {
			t.Errorf("%s: %+v, want %d replies", c.who, c.pings, c.want)
		}
	}
}
