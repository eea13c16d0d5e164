//go:build interop && interop_long

package interop

import (
	"net/netip"
	"path"
	"strings"
	"testing"
	"time"
)

// TestLoginMatrix runs what TestLogin does over the other combinations that a stock client can ask for.
func TestLoginMatrix(t *testing.T) {
	plain, radplain := netip.MustParsePrefix("10.65.0.0/24"), netip.MustParsePrefix("10.67.0.0/24")
	dns := []netip.Addr{netip.MustParseAddr("10.99.0.53")}
	for _, c := range []loginCase{
		{
			name:   "LOCAL MS-CHAPv2 MPPE-40",
			dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE40},
			tenant: "plain", user: "alice", cipher: "MPPE-40", method: "MSCHAPV2", pool: plain, dns: dns,
		},
		{
			name:   "LOCAL MS-CHAPv2 MPPE-128 by choice",
			dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			tenant: "plain", user: "alice", cipher: "MPPE-128", method: "MSCHAPV2", pool: plain, dns: dns,
		},
		{
			name:   "LOCAL MS-CHAPv2 in the clear",
			dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2},
			tenant: "plain", user: "alice", cipher: "NONE", method: "MSCHAPV2", pool: plain, dns: dns,
		},
		{
			name:   "RADIUS MS-CHAPv2 MPPE-128, address from the pool",
			dial:   Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
			tenant: "radplain", user: "rob", cipher: "MPPE-128", method: "MSCHAPV2", pool: radplain,
		},
		{
			name:   "RADIUS CHAP-MD5 in the clear",
			dial:   Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthCHAP},
			tenant: "radplain", user: "rob", cipher: "NONE", method: "CHAP", pool: radplain, asked: []string{"CHAP-Password = 0x"},
		},
		{
			name:   "RADIUS PAP in the clear",
			dial:   Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthPAP},
			tenant: "radplain", user: "rob", cipher: "NONE", method: "PAP", pool: radplain, asked: []string{`User-Password = "pooled-2"`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkLogin(t, borrow(t, 1)[0], c)
		})
	}
}

// TestSessionTimeout holds a session to the Session-Timeout of 4 s that RADIUS gave.
func TestSessionTimeout(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.4", User: "brief", Password: "brief-3", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	session := world.daemon.OpenSession(t, "radplain", link)
	if took := link.Gone(t, 7*time.Second); took < 2*time.Second {
		t.Errorf("ended after %v, want 4 s", took)
	}
	eventually(t, 2*time.Second, func() string {
		for line := range strings.Lines(world.daemon.Log(t)) {
			if strings.Contains(line, path.Base(session.Name)) && strings.Contains(line, `"reason":"SESSION_TIMEOUT"`) {
				return ""
			}
		}
		return "no line of the daemon's log says SESSION_TIMEOUT for " + session.Name
	})
}

// TestTwoCallsOnOneConnection has two users of one machine in, whose pptp uses one control connection for both.
func TestTwoCallsOnOneConnection(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	alice := dial(t, g, Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	bob := dial(t, g, Dial{Server: "198.51.100.1", User: "bob", Password: "builder-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128, Unit: 1})
	first, second := world.daemon.OpenSession(t, "acme", alice), world.daemon.OpenSession(t, "acme", bob)
	if first.ClientAddress != second.ClientAddress {
		t.Errorf("the calls came from %s and %s, want one connection", first.ClientAddress, second.ClientAddress)
	}
	for _, link := range []*Link{alice, bob} {
		link.Route(t, innerHost)
		if p := link.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
			t.Errorf("%s: %+v", link.Asked.User, p)
		}
	}
	alice.HangUp(t)
	if p := bob.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
		t.Errorf("after the other call's end: %+v", p)
	}
}

// TestKilledClientWithDefaults notices a dead client within 80 s by the default echo, 3 times 20 s.
func TestKilledClientWithDefaults(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.3", User: "rob", Password: "pooled-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	name := world.daemon.OpenSession(t, "radius", link).Name
	g.PowerCut()
	t.Logf("gone after %v", eventually(t, 80*time.Second, func() string {
		for _, s := range world.daemon.Sessions(t, "radius") {
			if s.Name == name {
				return "the dead client's session is still there"
			}
		}
		return ""
	}))
}

// TestRestart stops the daemon under a session and starts it again on the state that is there: the client is told, and
// gets in again.
func TestRestart(t *testing.T) {
	g := borrow(t, 1)[0]
	alice := Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128}
	link := dial(t, g, alice)
	if err := world.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	link.Gone(t, 3*time.Second)
	if !strings.Contains(link.Log(t), "rcvd [LCP TermReq") {
		t.Errorf("the client was not told:\n%s", link.Log(t))
	}
	if err := world.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	link = dial(t, g, alice)
	link.Route(t, innerHost)
	if name := link.HostName(t); name != world.lan.Name {
		t.Errorf("after the restart the host says %q", name)
	}
}

// TestForgedGREOfOwnCall aims the whole flood of TestForgedGRE at the client's own call, in twice the time: each packet has
// to be looked at there.
func TestForgedGREOfOwnCall(t *testing.T) {
	checkFlood(t, 8*time.Second, func(_ int, own uint16) uint16 { return own })
}
