//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const eapServer, eapPSK = "198.51.100.20", "psk of eap"

// TestEAP has pppd log in by EAP, which the concentrator passes on to FreeRADIUS, over RADIUS/TLS: with MPPE keys that come
// of the EAP method, and inside IPsec by certificate.
func TestEAP(t *testing.T) {
	pki := world.lab.PKI
	inIPsec := overIPsec(eapServer, eapPSK, gcmECP)
	inIPsec.User, inIPsec.Password, inIPsec.Auth = "alice.example", "", AuthEAP
	for _, c := range []struct {
		name    string
		dial    Dial
		address netip.Addr
		cipher  string // as the API shows it
		said    string // by pppd
	}{
		{
			name:    "EAP-MSCHAPv2, PPTP with MPPE-128",
			dial:    Dial{Server: eapServer, User: "emma", Password: "eap-5", Auth: AuthEAP, Cipher: CipherMPPE128},
			address: netip.MustParseAddr("10.73.0.55"), cipher: "MPPE-128", said: "EAP Request id=",
		},
		{name: "EAP-TLS, L2TP/IPsec", dial: inIPsec, cipher: gcmECP.cipher, said: "EAP-TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := borrow(t, 1)[0]
			for file, text := range map[string]string{
				"eap-ca.pem": pki.RSA.Certificate, "eap-cert.pem": pki.Alice.Certificate, "eap-key.pem": pki.Alice.PrivateKey,
			} {
				if err := os.WriteFile(filepath.Join(g.Dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g.Must(t, fmt.Sprintf("date -s @%d >/dev/null", time.Now().Unix())) // certificates have a time; other tests set it back
			if c.dial.Password == "" {
				c.dial.Extra = "ca /lab/eap-ca.pem\ncert /lab/eap-cert.pem\nkey /lab/eap-key.pem"
			}
			link := dial(t, g, c.dial)
			t.Logf("up after %v", link.Took)
			if link.Auth != AuthEAP {
				t.Errorf("agreed on %q, want EAP", link.Auth)
			}
			if c.address.IsValid() && link.Local != c.address {
				t.Errorf("address %s, want %s", link.Local, c.address)
			}
			if log := link.Log(t); !strings.Contains(log, c.said) {
				t.Errorf("pppd never said %q:\n%s", c.said, log)
			}
			s := world.daemon.OpenSession(t, "eap", link)
			if s.User != c.dial.User || s.AuthMethod != "EAP" || s.Cipher != c.cipher {
				t.Errorf("ctl session list shows %+v", s)
			}
			link.Route(t, innerHost)
			if p := link.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
				t.Errorf("%+v", p)
			}
			link.HangUp(t)
			world.daemon.SessionGone(t, s, 3*time.Second)
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		r := refused(t, borrow(t, 1)[0], Dial{Server: eapServer, User: "emma", Password: "not-hers", Auth: AuthEAP, Cipher: CipherMPPE128})
		if r.Status != 19 {
			t.Errorf("pppd ended with %d, want 19, a refused login", r.Status)
		}
	})
}

// TestPEAP has simulated clients log in by PEAP, which pppd does not speak: the tunnel and the keys that come of it are
// FreeRADIUS's.
func TestPEAP(t *testing.T) {
	t.Parallel()
	if r := StartGen(t, "login", "u%d", "--server", eapServer, "--auth", "PEAP", "--count", "4").Wait(t); r.OK != 4 {
		t.Errorf("%v", r)
	}
	r := StartGen(t, "login", "u%d", "--server", eapServer, "--auth", "PEAP", "--password", "not-theirs").Wait(t)
	if r.OK != 0 || r.Failed["WRONG_CREDENTIALS"] != 1 {
		t.Errorf("with a wrong password: %v", r)
	}
}

// TestRadiusAttributes lets a client in with everything that an Access-Accept can ask for, and feels for each that it is
// so; then FreeRADIUS changes the live session, and ends it.
func TestRadiusAttributes(t *testing.T) {
	t.Parallel()
	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: radiusServer, User: "full", Password: "full-6", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "radius", link)
	link.Route(t, innerHost)
	link.Route(t, innerGateway)

	// What came of the Access-Accept.
	if link.Local.String() != "10.66.0.200" {
		t.Errorf("Framed-IP-Address: got %s", link.Local)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.99.0.77")}; !slices.Equal(link.DNS, want) {
		t.Errorf("MS-Primary-DNS-Server: got %v", link.DNS)
	}
	g.Must(t, "ip addr add 172.30.5.1/32 dev lo")
	t.Cleanup(func() { g.Must(t, "ip addr del 172.30.5.1/32 dev lo") })
	if p := world.lab.PingFrom(t, "lan", "172.30.5.1", 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("Framed-Route: a host behind the client answers %+v", p)
	}
	if p := link.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("Filter-Id: what it permits: %+v", p)
	}
	if p := link.Ping(t, innerGateway, 3, 50*time.Millisecond); p.Received > 0 {
		t.Errorf("Filter-Id: what it denies: %+v", p)
	}
	if got := link.DownloadRate(t); got > 2*1.1 || got < 2*0.6 {
		t.Errorf("WISPr-Bandwidth-Max-Down of 2 Mbit/s: %.1f Mbit/s", got)
	}
	if denied := world.daemon.OpenSession(t, "radius", link).Drops["acl"]; denied < 3 {
		t.Errorf("ctl session list shows %d packets dropped by the ACL, want 3 at least", denied)
	}
	if s.MTU != 1300 {
		t.Errorf("Framed-MTU: the session's is %d", s.MTU)
	}

	// What FreeRADIUS changes.
	id := segment(s.Name, 3)
	change := fmt.Sprintf("Acct-Session-Id=%q,WISPr-Bandwidth-Max-Down=8000000,Filter-Id=open", id)
	if out := world.lab.Send(t, "lan", innerHost+":3798", "coa", radiusSecret, change); !strings.Contains(out, "CoA-ACK") {
		t.Errorf("CoA through FreeRADIUS: %s", out)
	}
	eventually(t, time.Second, func() string {
		if now := world.daemon.OpenSession(t, "radius", link); now.RateLimit.DownBps != 8_000_000 {
			return fmt.Sprintf("the session still has %+v", now.RateLimit)
		}
		return ""
	})
	if p := link.Ping(t, innerGateway, 3, 50*time.Millisecond); p.Received < 3 {
		t.Errorf("CoA with Filter-Id: what was denied: %+v", p)
	}
	if got := link.DownloadRate(t); got > 8*1.1 || got < 2*1.5 {
		t.Errorf("CoA to 8 Mbit/s: %.1f Mbit/s", got)
	}
	for _, c := range []struct{ name, part, to, secret, attributes, want string }{
		{"no such session", "lan", innerGateway + ":3799", radiusSecret, `Acct-Session-Id="nobody"`, "Session-Context-Not-Found"},
		{"no such ACL", "lan", innerGateway + ":3799", radiusSecret, fmt.Sprintf("Acct-Session-Id=%q,Filter-Id=absent,WISPr-Bandwidth-Max-Down=1", id), "NAK"},
		{"another tenant's server", "lan", innerGateway + ":3799", foreignSecret, fmt.Sprintf("Acct-Session-Id=%q", id), "Session-Context-Not-Found"},
		{"another secret", "lan", innerGateway + ":3799", "guess", fmt.Sprintf("Acct-Session-Id=%q", id), "No reply"},
		{"a source that may not", "atk", "198.51.100.3:3799", radiusSecret, fmt.Sprintf("Acct-Session-Id=%q", id), "No reply"},
	} {
		kind := "disconnect"
		if strings.Contains(c.attributes, "Filter-Id") {
			kind = "coa"
		}
		if out := world.lab.Send(t, c.part, c.to, kind, c.secret, c.attributes); !strings.Contains(out, c.want) {
			t.Errorf("%s: want %q of %s", c.name, c.want, out)
		}
	}
	if now := world.daemon.OpenSession(t, "radius", link); now.RateLimit.DownBps != 8_000_000 {
		t.Errorf("a refused change has changed the rate to %d", now.RateLimit.DownBps)
	}

	// What FreeRADIUS ends, and was told.
	if out := world.lab.Send(t, "lan", innerHost+":3798", "disconnect", radiusSecret, fmt.Sprintf("Acct-Session-Id=%q", id)); !strings.Contains(out, "Disconnect-ACK") {
		t.Errorf("Disconnect through FreeRADIUS: %s", out)
	}
	link.Gone(t, 3*time.Second)
	world.daemon.SessionGone(t, s, 3*time.Second)
	records := accountsOf(t, world.radius, id, 2)
	start, stop := records[0], records[len(records)-1]
	if start.Get("Acct-Status-Type") != "Start" || stop.Get("Acct-Status-Type") != "Stop" || stop.Get("Acct-Terminate-Cause") != "Admin-Reset" {
		t.Errorf("accounting says %v and %v", start, stop)
	}
	if got := stop["Class"]; !slices.Equal(got, []string{"0x676f6c64", "0x73696c766572"}) {
		t.Errorf("Class in the Stop: %q", got)
	}
}

// accountsOf waits until the server has got n records of a session, the last of them a Stop, and returns all of them.
func accountsOf(t *testing.T, r *Radius, id string, n int) (records []Attributes) {
	t.Helper()
	eventually(t, 5*time.Second, func() string {
		records = slices.DeleteFunc(r.Accounts(t), func(a Attributes) bool { return a.Get("Acct-Session-Id") != id })
		if len(records) < n || records[len(records)-1].Get("Acct-Status-Type") != "Stop" {
			return fmt.Sprintf("the server has got %v of session %s", records, id)
		}
		return ""
	})
	return records
}

// TestAccountingCounters compares what a Stop says with what the kernel counted on the tenant's TUN device. Pings are
// counted, which no offload joins.
func TestAccountingCounters(t *testing.T) {
	t.Parallel()
	const address = "10.66.0.201"
	srv := world.lab.NS("srv")
	nft := func(text string) string {
		t.Helper()
		args := inside(srv, "nft", text)
		return output(t, args...)
	}
	nft("add table netdev counted; add chain netdev counted up { type filter hook ingress device radius0 priority 0; };" +
		"add chain netdev counted down { type filter hook egress device radius0 priority 0; };" +
		"add rule netdev counted up ip saddr " + address + " counter; add rule netdev counted down ip daddr " + address + " counter")
	t.Cleanup(func() { nft("delete table netdev counted") })

	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: radiusServer, User: "counted", Password: "counted-7", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "radius", link)
	if link.Local.String() != address {
		t.Fatalf("address %s", link.Local)
	}
	link.Route(t, innerHost)
	g.Must(t, "ping -q -c 400 -i 0.002 -s 1200 "+innerHost+" >/dev/null || :")
	link.HangUp(t)
	records := accountsOf(t, world.radius, segment(s.Name, 3), 2)
	stop := records[len(records)-1]
	for _, way := range []struct{ chain, octets, packets string }{
		{"up", "Acct-Input-Octets", "Acct-Input-Packets"}, {"down", "Acct-Output-Octets", "Acct-Output-Packets"},
	} {
		var packets, octets uint64
		text := nft("list chain netdev counted " + way.chain)
		i := strings.Index(text, "counter packets ")
		if i < 0 {
			t.Fatalf("nft counts nothing: %s", text)
		}
		if _, err := fmt.Sscanf(text[i:], "counter packets %d bytes %d", &packets, &octets); err != nil {
			t.Fatal(err)
		}
		if packets < 350 {
			t.Errorf("%s: only %d packets passed", way.chain, packets)
		}
		sameNumber(t, way.packets, stop, packets, 10)
		sameNumber(t, way.octets, stop, octets, octets/1000+10*1228)
	}
	if stop.Get("Acct-Terminate-Cause") != "User-Request" {
		t.Errorf("the client hung up, the Stop says %q", stop.Get("Acct-Terminate-Cause"))
	}
}

// sameNumber checks an attribute that is a number.
func sameNumber(t *testing.T, name string, a Attributes, want, allowance uint64) {
	t.Helper()
	var got uint64
	if _, err := fmt.Sscan(a.Get(name), &got); err != nil {
		t.Fatalf("%s of %v: %v", name, a, err)
	}
	if max(got, want)-min(got, want) > allowance {
		t.Errorf("%s is %d, the kernel counted %d", name, got, want)
	}
}

// TestRadiusTools asks ctl what an operator would: does the server work, and why was this login decided so?
func TestRadiusTools(t *testing.T) {
	t.Parallel()
	ctl := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		cmd := world.daemon.ctlCommand(t.Context(), args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // a refused test is an exit status; what it prints says more
		return out.String()
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"without a user", []string{"radius/radiusServers/main"}, []string{"RIGHT", "SIGNED"}},
		{"with a user", []string{"radius/radiusServers/main", "--user", "rob", "--password", "pooled-2"}, []string{"RIGHT", "SIGNED"}},
		{"one refused", []string{"radius/radiusServers/main", "--user", "banned", "--password", "banned-4"}, []string{"RADIUS_REJECT", "your account is closed"}},
		{"one that does not sign", []string{"radold/radiusServers/main", "--user", "rob", "--password", "pooled-2"}, []string{"UNSIGNED"}},
		{"a wrong secret", []string{"acme/radiusServers/portal"}, []string{"UNKNOWN"}},
		{"over TLS", []string{"eap/radiusServers/main"}, []string{"RIGHT"}},
	} {
		c.args[0] = "tenants/" + c.args[0]
		out := ctl(append([]string{"radius-server", "test"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: ctl radius-server test does not say %q:\n%s", c.name, want, out)
			}
		}
		if strings.Contains(out, "pooled-2") || strings.Contains(out, radiusSecret) {
			t.Errorf("%s: a secret is shown:\n%s", c.name, out)
		}
	}

	g := borrow(t, 1)[0]
	link := dial(t, g, Dial{Server: "198.51.100.4", User: "rob", Password: "pooled-2", Auth: AuthPAP})
	s := world.daemon.OpenSession(t, "radplain", link)
	link.HangUp(t)
	world.daemon.SessionGone(t, s, 3*time.Second)
	out := ctl("login", "explain", "rob", "--tenant", "radplain")
	for _, want := range []string{"ACCEPTED", "tenants/radplain/radiusServers/main", "User-Name", "User-Password", "Calling-Station-Id", g.Addr.String()} {
		if !strings.Contains(out, want) {
			t.Errorf("ctl login explain does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "pooled-2") {
		t.Errorf("ctl login explain shows the password:\n%s", out)
	}
}

// TestLocalAccounting: where no RADIUS server takes the accounting, a file does.
func TestLocalAccounting(t *testing.T) {
	t.Parallel()
	link := dial(t, borrow(t, 1)[0], Dial{Server: acmeServer, User: "bob", Password: "builder-2", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128})
	s := world.daemon.OpenSession(t, "acme", link)
	link.HangUp(t)
	world.daemon.SessionGone(t, s, 3*time.Second)
	type record struct{ Status, Session, User string }
	eventually(t, 5*time.Second, func() string {
		var got []string
		text := readAll(t, filepath.Join(world.daemon.Dir, "state", "accounting.log"))
		for line := range strings.Lines(text) {
			if strings.Contains(line, segment(s.Name, 3)) {
				var r record
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("accounting.log: %v: %s", err, line)
				}
				got = append(got, strings.ToUpper(r.Status)+" "+r.User)
			}
		}
		if !slices.Equal(got, []string{"START bob", "STOP bob"}) {
			return fmt.Sprintf("accounting.log has %q of the session, want its beginning and its end", got)
		}
		return ""
	})
}
