//go:build interop

package interop

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// loginCase is one way to be let in, and what must come of it.
type loginCase struct {
	name    string
	dial    Dial
	tenant  string
	user    string // as the API shows it
	cipher  string // as the API shows it
	method  string // as the API shows it
	pool    netip.Prefix
	address netip.Addr // set: exactly this one
	dns     []netip.Addr
	asked   []string // lines that FreeRADIUS must have seen
}

var logins = []loginCase{
	{
		name:   "LOCAL MS-CHAPv2 MPPE-128",
		dial:   Dial{Server: "198.51.100.1", User: "alice", Password: "wonder-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
		tenant: "acme", user: "alice", cipher: "MPPE-128", method: "MSCHAPV2",
		pool: netip.MustParsePrefix("10.64.0.0/24"),
		dns:  []netip.Addr{netip.MustParseAddr("10.99.0.53"), netip.MustParseAddr("10.99.0.54")},
	},
	{
		name:   "RADIUS MS-CHAPv2 MPPE-128",
		dial:   Dial{Server: "198.51.100.3", User: "rita", Password: "framed-1", Auth: AuthMSCHAPv2, Cipher: CipherMPPE128},
		tenant: "radius", user: "rita", cipher: "MPPE-128", method: "MSCHAPV2",
		pool: netip.MustParsePrefix("10.66.0.0/24"), address: netip.MustParseAddr("10.66.0.77"), // Framed-IP-Address
		dns: []netip.Addr{netip.MustParseAddr("10.99.0.53")},
		asked: []string{
			`User-Name = "rita"`, "Service-Type = Framed-User", "Framed-Protocol = PPP", "NAS-Port-Type = Virtual",
			`Called-Station-Id = "198.51.100.3"`, "Message-Authenticator = 0x",
		},
	},
	{
		name:   "LOCAL CHAP-MD5 in the clear",
		dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "wonder-1", Auth: AuthCHAP},
		tenant: "plain", user: "alice", cipher: "NONE", method: "CHAP",
		pool: netip.MustParsePrefix("10.65.0.0/24"),
		dns:  []netip.Addr{netip.MustParseAddr("10.99.0.53")},
	},
	{
		name:   "LOCAL PAP in the clear",
		dial:   Dial{Server: "198.51.100.2", User: "alice", Password: "wonder-1", Auth: AuthPAP},
		tenant: "plain", user: "alice", cipher: "NONE", method: "PAP",
		pool: netip.MustParsePrefix("10.65.0.0/24"),
		dns:  []netip.Addr{netip.MustParseAddr("10.99.0.53")},
	},
}

// TestLogin lets real clients in, moves real traffic, and compares what both ends say about it.
func TestLogin(t *testing.T) {
	for _, c := range logins {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkLogin(t, borrow(t, 1)[0], c)
		})
	}
}

func checkLogin(t *testing.T, g *Guest, c loginCase) {
	link := dial(t, g, c.dial)
	t.Logf("up after %v", link.Took)

	// What the client was given.
	if link.Auth != c.dial.Auth || link.Cipher != c.dial.Cipher {
		t.Errorf("agreed on %q and %q, want %q and %q", link.Auth, link.Cipher, c.dial.Auth, c.dial.Cipher)
	}
	if !c.pool.Contains(link.Local) || !c.pool.Contains(link.Remote) || link.Local == link.Remote {
		t.Errorf("addresses %s and %s, want two of %s", link.Local, link.Remote, c.pool)
	}
	if c.address.IsValid() && link.Local != c.address {
		t.Errorf("address %s, want %s", link.Local, c.address)
	}
	if !slices.Equal(link.DNS, c.dns) {
		t.Errorf("DNS servers %v, want %v", link.DNS, c.dns)
	}
	if len(c.asked) > 0 {
		requests := world.radius.Requests(t)
		for _, line := range append([]string{`Calling-Station-Id = "` + g.Addr.String() + `"`}, c.asked...) {
			if !strings.Contains(requests, line) {
				t.Errorf("no Access-Request had %q:\n%s", line, requests)
			}
		}
	}

	// What the API shows.
	s := world.daemon.OpenSession(t, c.tenant, link)
	type shown struct{ user, protocol, state, address, cipher, method, profile string }
	got := shown{s.User, s.Protocol, s.State, s.Address, s.Cipher, s.AuthMethod, s.Profile}
	want := shown{c.user, "PPTP", "OPEN", link.Local.String(), c.cipher, c.method, "tenants/" + c.tenant + "/profiles/default"}
	if got != want {
		t.Errorf("ctl session list shows %+v, want %+v", got, want)
	}
	if !strings.HasPrefix(s.ClientAddress, g.Addr.String()+":") {
		t.Errorf("client address %s, want %s and a port", s.ClientAddress, g.Addr)
	}

	// Traffic, and who counted it how.
	link.Route(t, innerHost)
	if p := link.Ping(t, innerHost, 5, 50*time.Millisecond); p.Received < 5 {
		t.Fatalf("%+v; the API shows %+v", p, world.daemon.OpenSession(t, c.tenant, link))
	}
	if name := link.HostName(t); name != world.lan.Name {
		t.Errorf("the host at %s says it is %q, want %q", innerHost, name, world.lan.Name)
	}
	guest0, api0 := settled(t, link, c.tenant)
	down, up := link.Download(t, world.lan), link.Upload(t, world.lan)
	guest1, api1 := settled(t, link, c.tenant)
	t.Logf("%.1f Mbit/s down, %.1f Mbit/s up", down, up)
	guest := guest1.Sub(guest0)
	sameCount(t, "inBytes", uint64(api1.InBytes-api0.InBytes), guest.TxBytes, 10*1400)
	sameCount(t, "outBytes", uint64(api1.OutBytes-api0.OutBytes), guest.RxBytes, 10*1400)
	sameCount(t, "inPackets", uint64(api1.InPackets-api0.InPackets), guest.TxPackets, 10)
	sameCount(t, "outPackets", uint64(api1.OutPackets-api0.OutPackets), guest.RxPackets, 10)
	if guest.TxBytes < bulkSize || guest.RxBytes < bulkSize {
		t.Errorf("the guest counted %+v, less than was transferred", guest)
	}

	// Goodbye.
	if login := world.daemon.LastLogin(t, g); login.Outcome != "ACCEPTED" || login.User != c.user || segment(login.Name, 1) != c.tenant {
		t.Errorf("ctl login list shows %+v, want an accepted login of %s in %s", login, c.user, c.tenant)
	}
	link.HangUp(t)
	if log := link.Log(t); !strings.Contains(log, "rcvd [LCP TermAck") {
		t.Errorf("nobody answered pppd's goodbye:\n%s", log[max(0, len(log)-800):])
	}
	world.daemon.SessionGone(t, s, 3*time.Second)
}

// settled returns the link's counters at both ends at a moment when nothing moves.
func settled(t *testing.T, link *Link, tenant string) (guest Counters, api Session) {
	t.Helper()
	eventually(t, 10*time.Second, func() string {
		before := link.Counters(t)
		api = world.daemon.OpenSession(t, tenant, link)
		time.Sleep(200 * time.Millisecond) // for what is still on its way
		guest = link.Counters(t)
		after := world.daemon.OpenSession(t, tenant, link)
		if guest != before || after.InPackets != api.InPackets || after.OutPackets != api.OutPackets {
			return "the link does not come to rest"
		}
		return ""
	})
	return guest, api
}

// sameCount checks that the API's count is the guest's within 0.1 % and an allowance.
func sameCount(t *testing.T, what string, api, guest, allowance uint64) {
	t.Helper()
	difference := max(api, guest) - min(api, guest)
	if difference > guest/1000+allowance {
		t.Errorf("%s: the API counted %d, the guest %d", what, api, guest)
	}
}
