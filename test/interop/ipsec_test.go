//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proposals as ipsec.conf spells them, and as charon's log and the API spell what came of them.
var (
	cbcSHA1 = suite{
		ike: "aes256-sha1-modp2048", esp: "aes256-sha1",
		gotIKE: "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048", gotESP: "AES_CBC_256/HMAC_SHA1_96", cipher: "AES-256-CBC-SHA1",
	}
	gcmECP = suite{
		ike: "aes128-sha256-ecp256", esp: "aes128gcm16",
		gotIKE: "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256", gotESP: "AES_GCM_16_128", cipher: "AES-128-GCM",
	}
)

// suite is a choice of algorithms.
type suite struct {
	ike, esp       string // as asked for
	gotIKE, gotESP string // as strongSwan says that they are
	cipher         string // as the API says
}

// overIPsec makes the dial of a client that proves itself to IPsec by a pre-shared key.
func overIPsec(server, psk string, s suite) Dial {
	return Dial{
		Server: server, User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2,
		L2TP: &L2TP{IPsec: &IPsec{PSK: psk, IKE: s.ike, ESP: s.esp}},
	}
}

// byCertificate makes the dial of a client that proves itself by certificate.
func byCertificate(server string, own, ca *Identity, s suite) Dial {
	d := overIPsec(server, "", s)
	d.L2TP.IPsec.Own, d.L2TP.IPsec.CA = own, ca
	return d
}

// Where L2TP/IPsec is to be had, and the keys of testdata/apply.yaml.
const (
	acmeServer, acmePSK   = "198.51.100.1", "psk of acme 1"
	plainServer           = "198.51.100.2"
	radiusServer          = "198.51.100.3"
	sharedServer          = "198.51.100.8"
	onePSK, twoPSK        = "psk of one", "psk of two"
	briefServer, briefPSK = "198.51.100.10", "psk of brief"
	briefSecret           = "secret of brief"
)

// tunnelCase is one way by L2TP, and what must come of it.
type tunnelCase struct {
	name   string
	dial   Dial
	nat    bool // the client is behind a NAT
	suite  suite
	tenant string
	user   string // as the API shows it; "alice" where it is left out
	host   func() *Host
	once   bool // moves bulkSize once only: its SAs live too short for more
}

// TestL2TPIPsec lets real clients in by each way that IPsec offers.
func TestL2TPIPsec(t *testing.T) {
	pki := world.lab.PKI
	for _, c := range []tunnelCase{
		{name: "PSK, raw ESP, AES-CBC-SHA1, modp2048", dial: overIPsec(acmeServer, acmePSK, cbcSHA1), suite: cbcSHA1, tenant: "acme"},
		{name: "PSK, NAT, AES-GCM, ecp256", dial: overIPsec(acmeServer, acmePSK, gcmECP), nat: true, suite: gcmECP, tenant: "acme"},
		{name: "RSA certificate", dial: byCertificate(acmeServer, pki.Alice, pki.RSA, cbcSHA1), suite: cbcSHA1, tenant: "acme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkTunnel(t, borrow(t, 1)[0], c, 1)
		})
	}
}

// checkTunnel logs a client in, compares what both ends say, moves n times bulkSize each way, and hangs up.
func checkTunnel(t *testing.T, g *Guest, c tunnelCase, n int) {
	if c.once {
		n = 1
	}
	if c.nat {
		g.GoBehind(t, g.index, PrivateAddr(g.index))
	}
	link := dial(t, g, c.dial)
	t.Logf("up after %v", link.Took)
	s := checkESP(t, link, c)

	host := world.lan
	if c.host != nil {
		host = c.host()
	}
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
		t.Fatalf("%+v; the API shows %+v", p, world.daemon.OpenSession(t, c.tenant, link))
	}
	if name := link.HostName(t); name != host.Name {
		t.Errorf("the host at %s says it is %q, want %q", innerHost, name, host.Name)
	}
	before := 0
	if link.ESP != nil {
		before = link.ESPPackets(t)
	}
	down, up := link.DownloadTimes(t, host, n), link.UploadTimes(t, host, n)
	t.Logf("%.1f Mbit/s down, %.1f Mbit/s up", down, up)
	if link.ESP != nil {
		// Both ways, by packets of at most 1400 octets.
		if moved, least := link.ESPPackets(t)-before, 2*n*bulkSize/1400; moved < least {
			t.Errorf("ESP moved %d packets, want at least the %d that were transferred", moved, least)
		}
	}
	now := world.daemon.OpenSession(t, c.tenant, link)
	if now.Name != s.Name || uint64(now.InBytes) < uint64(n*bulkSize) || uint64(now.OutBytes) < uint64(n*bulkSize) {
		t.Errorf("after %d octets each way the API shows %+v", n*bulkSize, now)
	}
	t.Logf("drops: %v", now.Drops)
	checkChecksums(t, host, g)
	checkGoodbye(t, link, s)
}

// checkESP checks that the client has what its case is named after, and that the API says the same.
func checkESP(t *testing.T, link *Link, c tunnelCase) Session {
	t.Helper()
	g := link.Guest
	protocol, cipher := "L2TP", "NONE"
	if link.ESP != nil {
		protocol, cipher = "L2TP_IPSEC", c.suite.cipher
		if want := (ESP{IKE: c.suite.gotIKE, ESP: c.suite.gotESP, UDP: c.nat}); *link.ESP != want {
			t.Errorf("strongSwan agreed on %+v, want %+v", *link.ESP, want)
		}
	}
	if link.Auth != c.dial.Auth {
		t.Errorf("agreed on %q, want %q", link.Auth, c.dial.Auth)
	}
	user := c.user
	if user == "" {
		user = "alice"
	}
	s := world.daemon.OpenSession(t, c.tenant, link)
	type shown struct {
		user, protocol, state, cipher, profile string
		nat                                    bool
	}
	got := shown{s.User, s.Protocol, s.State, s.Cipher, s.Profile, s.NatDetected}
	want := shown{user, protocol, "OPEN", cipher, "tenants/" + c.tenant + "/profiles/default", c.nat}
	if got != want {
		t.Errorf("ctl session list shows %+v, want %+v", got, want)
	}
	if !strings.HasPrefix(s.ClientAddress, g.Addr.String()+":") && s.ClientAddress != g.Addr.String() {
		t.Errorf("client address %s, want %s", s.ClientAddress, g.Addr)
	}
	if login := world.daemon.LastLogin(t, g); login.Outcome != "ACCEPTED" || login.User != user || segment(login.Name, 1) != c.tenant || login.Protocol != protocol {
		t.Errorf("ctl login list shows %+v, want an accepted login of %s in %s", login, user, c.tenant)
	}
	return s
}

// checkGoodbye hangs up and checks that nothing of the session is left.
func checkGoodbye(t *testing.T, link *Link, s Session) {
	t.Helper()
	link.HangUp(t)
	if log := link.Log(t); !strings.Contains(log, "rcvd [LCP TermAck") {
		t.Errorf("nobody answered pppd's goodbye:\n%s", log[max(0, len(log)-800):])
	}
	if log := link.logs("xl2tpd"); !strings.Contains(log, "(Goodbye!)") {
		t.Errorf("xl2tpd did not say goodbye:\n%s", log)
	}
	world.daemon.SessionGone(t, s, 3*time.Second)
	checkNothingLeft(t, link.Guest)
}

// lingering counts, by address, the peers of machines that died: dead peer detection ends them about a minute later.
var lingering = struct {
	sync.Mutex
	peers map[netip.Addr]int
}{peers: map[netip.Addr]int{}}

// checkNothingLeft checks that the daemon has no session and no peer of the client's address any more, but for those that
// linger. Of peers only the log tells.
func checkNothingLeft(t *testing.T, g *Guest) {
	t.Helper()
	eventually(t, 3*time.Second, func() string {
		came, went := 0, 0
		for line := range strings.Lines(world.daemon.Log(t)) {
			if !strings.Contains(line, `"peer":"`+g.Addr.String()+":") {
				continue
			}
			switch {
			case strings.Contains(line, `"msg":"peer"`):
				came++
			case strings.Contains(line, `"msg":"peer gone"`), strings.Contains(line, `"msg":"client has moved"`):
				went++
			}
		}
		lingering.Lock()
		died := lingering.peers[g.Addr]
		lingering.Unlock()
		if came-went > died {
			return fmt.Sprintf("%d peers came from %s, and %d are gone", came, g.Addr, went)
		}
		for _, s := range world.daemon.Sessions(t, "") {
			if strings.HasPrefix(s.ClientAddress, g.Addr.String()+":") || s.ClientAddress == g.Addr.String() {
				return fmt.Sprintf("the client has a session: %+v", s)
			}
		}
		return ""
	})
}

// TestTwoClientsBehindOneNAT has two in at once by one outer address.
func TestTwoClientsBehindOneNAT(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	checkTogether(t, guests, func(i int) (nat int, own netip.Addr) { return guests[0].index, PrivateAddr(guests[i].index) })
}

// TestSameAddressBehindTwoNATs has two in at once whose inner outer addresses, which IKE and L2TP tell, are one and the
// same.
func TestSameAddressBehindTwoNATs(t *testing.T) {
	t.Parallel()
	guests := borrow(t, 2)
	checkTogether(t, guests, func(i int) (nat int, own netip.Addr) {
		return guests[i].index, netip.MustParseAddr(privatePrefix + "50")
	})
}

// checkTogether logs two clients in, one after the other, and moves traffic of both at the same time.
func checkTogether(t *testing.T, guests []*Guest, place func(i int) (nat int, own netip.Addr)) {
	links, sessions := make([]*Link, len(guests)), make([]Session, len(guests))
	for i, g := range guests {
		nat, own := place(i)
		g.GoBehind(t, nat, own)
		d := overIPsec(acmeServer, acmePSK, cbcSHA1)
		if i == 1 {
			d.User, d.Password = "bob", "builder-2"
		}
		links[i] = dial(t, g, d)
		sessions[i] = world.daemon.OpenSession(t, "acme", links[i])
		if !links[i].ESP.UDP || !sessions[i].NatDetected || sessions[i].User != d.User {
			t.Errorf("%s: %+v, %+v; want ESP in UDP, and a NAT", g.Name, links[i].ESP, sessions[i])
		}
	}
	if sessions[0].ClientAddress == sessions[1].ClientAddress {
		t.Errorf("both clients come from %s", sessions[0].ClientAddress)
	}
	// Not by parallel subtests: they would wait for their turn behind tests that wait for the guests that these have.
	done := make(chan error, len(links))
	for _, l := range links {
		l.Route(t, innerHost)
		go func() {
			down, err1 := l.download(t.Context(), world.lan, 1)
			up, err2 := l.upload(t.Context(), world.lan, 1)
			t.Logf("%s: %.1f Mbit/s down, %.1f Mbit/s up", l.Guest.Name, down, up)
			done <- errors.Join(err1, err2)
		}()
	}
	for range links {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, l := range links {
		if p := l.Ping(t, innerHost, 20, 20*time.Millisecond); p.Received < 20 {
			t.Errorf("%s: %+v", l.Guest.Name, p)
		}
	}
	for i, l := range links {
		if now := world.daemon.OpenSession(t, "acme", l); now.Name != sessions[i].Name {
			t.Errorf("the session of %s is now %s, was %s", l.Guest.Name, now.Name, sessions[i].Name)
		}
	}
	// One goes, and the other notices nothing.
	links[0].HangUp(t)
	world.daemon.SessionGone(t, sessions[0], 3*time.Second)
	if p := links[1].Ping(t, innerHost, 10, 20*time.Millisecond); p.Received < 10 {
		t.Errorf("after the other's goodbye: %+v", p)
	}
	checkGoodbye(t, links[1], sessions[1])
}

// TestRebornByESP cuts a client's power and boots it again, as TestPowerCut does, by L2TP/IPsec. It runs alone, because it
// is about time.
func TestRebornByESP(t *testing.T) {
	checkReborn(t, overIPsec(acmeServer, acmePSK, cbcSHA1), "acme", false)
}

// rebornWithin is how long a client that boots again may take from the start of its machine to the first ping.
const rebornWithin = 10 * time.Second

// usualBoot is how long a guest's boot may take of that. A machine that others use as well may need several times as much,
// which is not the daemon's.
const usualBoot = 3 * time.Second

// beyondUsual is how much of a boot that is.
func beyondUsual(boot time.Duration) time.Duration { return max(0, boot-usualBoot) }

// checkReborn cuts a client's power and boots it at once, with the same address, ports and tunnel ID. It is in again within
// rebornWithin, though the daemon does not know yet that its old session is dead; and then the old one ends.
func checkReborn(t *testing.T, d Dial, tenant string, nat bool) {
	g := borrow(t, 1)[0]
	if nat {
		g.GoBehind(t, g.index, PrivateAddr(g.index))
	}
	d.L2TP.FixedID = true
	old := dial(t, g, d)
	old.Route(t, innerHost)
	if p := old.Ping(t, innerHost, 3, 50*time.Millisecond); p.Received < 3 {
		t.Fatalf("before the power cut: %+v", p)
	}
	before := world.daemon.OpenSession(t, tenant, old)

	g.PowerCut()
	start := time.Now()
	if err := g.Boot(); err != nil {
		t.Fatal(err)
	}
	// Its link must be up: a first message that is lost on it costs the client 4 s, and is not the daemon's.
	g.Must(t, "ping -q -c 1 -i 0.2 -w 5 "+d.Server+" >/dev/null")
	booted := time.Since(start)
	link := dial(t, g, d)
	link.Route(t, innerHost)
	pings := link.Ping(t, innerHost, 1, 200*time.Millisecond)
	back := time.Since(start)
	t.Logf("booted after %v, back in after %v; the call took %v", booted, back, link.Took)
	if pings.Received < 1 {
		t.Error("no ping came back")
	}
	if most := rebornWithin + beyondUsual(booted); back > most {
		t.Errorf("back in after %v, want at most %v", back, most)
	}
	if a, b := old.TunnelID(t), link.TunnelID(t); a != b {
		t.Errorf("the tunnel IDs are %s and %s: this test is about one and the same", a, b)
	}
	now := world.daemon.OpenSession(t, tenant, link)
	if now.Name == before.Name || now.ClientAddress != before.ClientAddress {
		t.Errorf("the sessions are %+v and %+v, want two of one address and port", before, now)
	}
	world.daemon.SessionGone(t, before, 3*time.Second)
	// The peer itself stays for a minute: the SAs of the machine that died are its, too, and only dead peer detection ends them.
	lingering.Lock()
	lingering.peers[g.Addr]++
	lingering.Unlock()
	link.HangUp(t)
	world.daemon.SessionGone(t, now, 3*time.Second)
}
