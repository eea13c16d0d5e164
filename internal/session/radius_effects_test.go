package session

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/dataplane/policy"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Vendors and attributes of theirs besides those of radius_test.go.
const (
	ascend, wispr, mikrotik = 529, 14122, 14988

	attrServiceType, attrFramedProtocol, attrFramedNetmask = 6, 7, 9
	attrFilterID, attrFramedMTU, attrFramedRoute           = 11, 12, 22
	attrState, attrClass, attrTerminationAction            = 24, 25, 29
	attrPortLimit, attrEAPMessage                          = 62, 79
	attrInterimInterval, attrFramedPool                    = 85, 88
)

// effect is what one attribute of a server's reply does to a session, as its client, the plane, accounting or the
// operator see it. Each is tried with the attribute and without it.
type effect struct {
	attribute, packet string // as docs/radius.md has them
	about             string // which of several effects
	world             func(w *world)
	client            func() simppp.Config // nil: Windows
	answer            func(q *radiusQuery, with bool) []byte
	sees              func(w *world, c *client) string // nil: how the login ended
	want              string
	// alone says that the reply without the attribute is no other case, or would only show that nothing ends.
	alone bool
}

// accepting lets alice in by MS-CHAPv2, with more attributes.
func accepting(attrs ...[]byte) func(*radiusQuery, bool) []byte {
	return func(q *radiusQuery, with bool) []byte {
		if !with {
			return acceptMSCHAP(q)
		}
		return acceptMSCHAP(q, attrs...)
	}
}

// rejecting rejects, with more attributes.
func rejecting(attrs ...[]byte) func(*radiusQuery, bool) []byte {
	return func(_ *radiusQuery, with bool) []byte {
		if !with {
			return join(accessReject)
		}
		return join(accessReject, attrs...)
	}
}

func text(typ byte, s string) []byte { return attr(typ, []byte(s)...) }

func number(typ byte, n uint32) []byte { return attr(typ, binary.BigEndian.AppendUint32(nil, n)...) }

// vsa is a vendor's attribute in the form of RFC 2865 section 5.26.
func vsa(vendor uint32, typ byte, value ...byte) []byte {
	return attr(attrVendor, append(binary.BigEndian.AppendUint32(nil, vendor), attr(typ, value...)...)...)
}

func vsaNumber(vendor uint32, typ byte, n uint32) []byte {
	return vsa(vendor, typ, binary.BigEndian.AppendUint32(nil, n)...)
}

// howItEnded waits until the client is in or out, and says which. One that was refused hangs up: else the server would wait
// a second for repetitions of its goodbye.
func howItEnded(w *world, c *client) string {
	w.t.Helper()
	w.until("the client is in or out", func() bool { return c.isOpen() && c.fc.isOpen() || c.ended() })
	if c.isOpen() && c.fc.isOpen() {
		w.wantOpen(c)
		return letIn
	}
	if len(c.refusals()) > 0 {
		c.stop()
	}
	w.until("the session is gone, and its log-in told", func() bool {
		return w.m.byCallID(c.fc.id) == nil && len(w.m.Logins(LoginFilter{})) > 0
	})
	a := w.m.Logins(LoginFilter{})[0]
	return fmt.Sprintf("%s %s %s", a.Outcome, a.Stage, a.Reason)
}

// What there is to see of a session.

func (w *world) accountOf(*client) accounting.Session {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	for _, a := range w.ledger.open {
		return a
	}
	return accounting.Session{}
}

func seesAddress(_ *world, c *client) string { return c.network().Address.String() }
func seesDNS(_ *world, c *client) string     { return fmt.Sprint(c.network().DNS) }
func seesWINS(_ *world, c *client) string    { return fmt.Sprint(c.network().WINS) }
func seesRoutes(_ *world, c *client) string  { return fmt.Sprint(c.fc.attached().Routes) }
func seesMTU(_ *world, c *client) string     { return strconv.Itoa(c.fc.attached().MTU) }
func seesDetail(w *world, _ *client) string  { return w.m.Logins(LoginFilter{})[0].Detail }
func seesCipher(w *world, _ *client) string  { return w.session(acme).Cipher }
func seesUser(w *world, c *client) string    { return w.accountOf(c).User }
func seesDomain(w *world, c *client) string  { return w.accountOf(c).Domain }
func seesClass(w *world, c *client) string   { return fmt.Sprintf("%q", w.accountOf(c).Class) }
func seesInterim(w *world, c *client) string { return w.accountOf(c).InterimInterval.String() }

func seesMessage(_ *world, c *client) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.message
}

func seesRate(_ *world, c *client) string {
	s := c.fc.attached()
	return fmt.Sprintf("%d up, %d down", s.UpBps, s.DownBps)
}

// seesFilter is which list the session is under, and whether a UDP packet of the client's may pass.
func seesFilter(w *world, c *client) string {
	udp := policy.IPv4{HeaderLen: 20, TotalLen: 28, Protocol: 17}
	rules := c.fc.attached().ACL
	return fmt.Sprintf("%q, pass %v", w.session(acme).ACL, rules == nil || rules.Permit(true, make([]byte, 28), &udp))
}

// seesKeys is whether both ends encrypt with the same keys.
func seesKeys(_ *world, c *client) string {
	encrypt, decrypt := c.fc.keys()
	return fmt.Sprintf("%d bits, to the client %v, from the client %v", encrypt.Bits, encrypt == c.recv, decrypt == c.send)
}

// seesRefusals is what the client was told, when it is out.
func seesRefusals(w *world, c *client) string {
	howItEnded(w, c)
	return fmt.Sprintf("%q", c.refusals())
}

// seesEnd waits until the session's time is over, which is a second at least.
func seesEnd(w *world, c *client) string {
	began := w.accountOf(c).Started
	w.until("the session has ended", func() bool { return w.m.byCallID(c.fc.id) == nil })
	if d := time.Since(began); d < time.Second {
		return "too soon: " + d.String()
	}
	return strings.Join(w.ledger.of("stop"), " ")
}

// seesSecond is how a second login of the same user ends.
func seesSecond(w *world, _ *client) string {
	return howItEnded(w, w.dial(simppp.Windows(alice, password)))
}

// profile changes the default profile.
func profile(f func(p *store.Profile)) func(*world) {
	return func(w *world) { alter(w, acme+"/profiles/default", f) }
}

// plaintext lets clients in without encryption, by one method.
func plaintext(method tenant.AuthMethod) func(*world) {
	return profile(func(p *store.Profile) {
		p.AuthMethods, p.AllowPlaintext, p.MPPE.Policy = []tenant.AuthMethod{method}, true, tenant.MPPEDisabled
	})
}

// limited has a rate limit in the profile, so that one of a server replaces it.
var limited = profile(func(p *store.Profile) { p.RateLimit = tenant.RateLimit{UpBps: 256_000, DownBps: 512_000} })

// twoPools adds a second pool, which the profile does not name.
func twoPools(w *world) {
	create(w, &store.Pool{Meta: named(acme + "/pools/other"), Ranges: []string{"10.9.0.0/29"}})
	alter(w, acme+"/profiles/default", func(p *store.Profile) { p.Pool = acmePool })
}

// twoACLs adds the list "quiet", under which nothing comes from the client, and puts the profile under another, "loud".
func twoACLs(w *world) {
	w.addACL(acme + "/acls/quiet")
	create(w, &store.ACL{Meta: named(acme + "/acls/loud"), Rules: []tenant.ACLRule{
		{Action: tenant.ACLPermit, Direction: tenant.ACLUp, Protocol: "any"},
	}})
	alter(w, acme+"/profiles/default", func(p *store.Profile) { p.ACL = acme + "/acls/loud" })
}

// strengths lets the server choose MPPE's key length.
var strengths = profile(func(p *store.Profile) { p.MPPE.KeyBits = []int{128, 40} })

// weakWindows takes 40 bits too.
func weakWindows() simppp.Config {
	c := simppp.Windows(alice, password)
	c.MPPE |= mppe40
	return c
}

const mppe40 = 0x20 // RFC 3078 section 2

// partly accepts with the attributes of acceptMSCHAP, but for the one of Microsoft's with the number typ, which only
// comes with the effect.
func partly(typ byte) func(*radiusQuery, bool) []byte {
	return func(q *radiusQuery, with bool) []byte {
		a := acceptMSCHAP(q)
		if with {
			return a
		}
		out := a[:1:1]
		for rest := a[1:]; len(rest) > 0; rest = rest[rest[1]:] {
			if rest[0] != attrVendor || rest[6] != typ {
				out = append(out, rest[:rest[1]]...)
			}
		}
		return out
	}
}

const (
	letIn      = "in"
	rejectedBy = "REFUSED AUTHENTICATION RADIUS_REJECT"
)

// acceptEffects are the attributes of an Access-Accept, in the order of docs/radius.md.
var acceptEffects = []effect{
	{attribute: "User-Name", answer: accepting(text(attrUserName, "Alice of Accounts")), sees: seesUser, want: "Alice of Accounts"},
	{attribute: "Service-Type", about: "Framed", answer: accepting(number(attrServiceType, 2)), want: letIn, alone: true},
	{attribute: "Service-Type", about: "Login", answer: accepting(number(attrServiceType, 1)), want: rejectedBy},
	{attribute: "Framed-Protocol", about: "PPP", answer: accepting(number(attrFramedProtocol, 1)), want: letIn, alone: true},
	{attribute: "Framed-Protocol", about: "SLIP", answer: accepting(number(attrFramedProtocol, 2)), want: rejectedBy},
	{attribute: "Framed-IP-Address", answer: accepting(attr(attrFramedIP, 10, 99, 0, 5)), sees: seesAddress, want: "10.99.0.5"},
	{
		attribute: "Framed-IP-Address", about: "in a pool", answer: accepting(attr(attrFramedIP, 10, 7, 0, 4)),
		sees: seesAddress, want: "10.7.0.4",
	},
	{
		attribute: "Framed-IP-Address", about: "the NAS chooses", answer: accepting(attr(attrFramedIP, 255, 255, 255, 254)),
		sees: seesAddress, want: "10.7.0.2", alone: true,
	},
	{
		attribute: "Framed-IP-Address", about: "the user chooses", answer: accepting(attr(attrFramedIP, 255, 255, 255, 255)),
		sees: seesAddress, want: "10.7.0.2", alone: true,
	},
	{
		attribute: "Framed-IP-Address", about: "no host's address", answer: accepting(attr(attrFramedIP, 224, 0, 0, 1)),
		sees: func(w *world, c *client) string { return seesAddress(w, c) + ": " + seesDetail(w, c) },
		want: "10.7.0.2: Framed-IP-Address 224.0.0.1 is no host's address: one of the pool is given",
	},
	{
		attribute: "Framed-IP-Address", about: "ours", answer: accepting(attr(attrFramedIP, 10, 7, 0, 1)),
		want: "REFUSED ADDRESS POOL_EXHAUSTED",
	},
	{
		attribute: "Framed-IP-Netmask", answer: accepting(attr(attrFramedNetmask, 255, 255, 255, 0)), sees: seesDetail,
		want: "Framed-IP-Netmask 255.255.255.0 is not applied: a network behind the client is a Framed-Route",
	},
	{
		attribute: "Framed-IP-Netmask", about: "PPP's", answer: accepting(attr(attrFramedNetmask, 255, 255, 255, 255)),
		sees: seesDetail, alone: true,
	},
	{attribute: "Framed-Pool", world: twoPools, answer: accepting(text(attrFramedPool, "other")), sees: seesAddress, want: "10.9.0.2"},
	{
		attribute: "Framed-Pool", about: "unknown", answer: accepting(text(attrFramedPool, "none")),
		want: "REFUSED ADDRESS POOL_EXHAUSTED",
	},
	{
		attribute: "Framed-Route",
		answer:    accepting(text(attrFramedRoute, "10.50.0.0/16 0.0.0.0 1"), text(attrFramedRoute, "10.51.1.0/24")),
		sees:      seesRoutes, want: "[10.50.0.0/16 10.51.1.0/24]",
	},
	{attribute: "Framed-MTU", answer: accepting(number(attrFramedMTU, 1300)), sees: seesMTU, want: "1300"},
	{
		attribute: "Filter-Id", world: twoACLs, answer: accepting(text(attrFilterID, "quiet")), sees: seesFilter,
		want: `"tenants/acme/acls/quiet", pass false`,
	},
	{
		attribute: "Filter-Id", about: "the last", world: twoACLs, sees: seesFilter,
		answer: accepting(text(attrFilterID, "none"), text(attrFilterID, "quiet")), want: `"tenants/acme/acls/quiet", pass false`,
	},
	{
		attribute: "Filter-Id", about: "unknown", answer: accepting(text(attrFilterID, "none")),
		want: "REFUSED AUTHENTICATION PROTOCOL_ERROR",
	},
	{
		attribute: "Reply-Message", answer: accepting(text(attrReplyMessage, "hello"), text(attrReplyMessage, "there")),
		sees: seesMessage, want: "hello there",
	},
	{
		attribute: "Class", answer: accepting(text(attrClass, "two"), attr(attrClass, 0, 1), text(attrClass, "a")),
		sees: seesClass, want: `["two" "\x00\x01" "a"]`,
	},
	{
		attribute: "Session-Timeout", answer: accepting(number(attrSessionTimeout, 1)), sees: seesEnd,
		want: "stop alice 0 SESSION_TIMEOUT", alone: true,
	},
	{
		attribute: "WISPr-Session-Terminate-Time", sees: seesEnd, want: "stop alice 0 SESSION_TIMEOUT", alone: true,
		answer: func(q *radiusQuery, _ bool) []byte {
			end := time.Now().Add(2500 * time.Millisecond).UTC().Format("2006-01-02T15:04:05Z")
			return acceptMSCHAP(q, number(attrSessionTimeout, 3600), vsa(wispr, 9, []byte(end)...))
		},
	},
	{
		attribute: "WISPr-Session-Terminate-Time", about: "past", want: rejectedBy,
		answer: accepting(vsa(wispr, 9, []byte("2020-02-02T20:20:20+01:00")...)),
	},
	{
		attribute: "Idle-Timeout", answer: accepting(number(attrIdleTimeout, 1)), sees: seesEnd,
		want: "stop alice 0 IDLE_TIMEOUT", alone: true,
	},
	{
		attribute: "Termination-Action", answer: accepting(number(attrTerminationAction, 1)), sees: seesDetail,
		want: "Termination-Action RADIUS-Request is not applied: the session ends",
	},
	{
		attribute: "Port-Limit", about: "more than the tenant's", answer: accepting(number(attrPortLimit, 2)), sees: seesSecond, want: letIn,
		world: func(w *world) {
			alter(w, acme, func(t *store.Tenant) {
				t.Limits.MaxSessionsPerUser, t.Limits.DuplicatePolicy = 1, tenant.DuplicateDeny
			})
		},
	},
	{
		attribute: "Port-Limit", about: "less", answer: accepting(number(attrPortLimit, 1)), sees: seesSecond,
		want: "REFUSED AUTHENTICATION USER_LIMIT",
		world: func(w *world) {
			alter(w, acme, func(t *store.Tenant) { t.Limits.DuplicatePolicy = tenant.DuplicateDeny })
		},
	},
	{attribute: "Acct-Interim-Interval", answer: accepting(number(attrInterimInterval, 300)), sees: seesInterim, want: "5m0s"},
	{
		attribute: "Acct-Interim-Interval", about: "too short", answer: accepting(number(attrInterimInterval, 5)),
		sees: func(w *world, c *client) string { return seesInterim(w, c) + ": " + seesDetail(w, c) },
		want: "1m0s: Acct-Interim-Interval 5s is too short, 1m0s is applied",
	},
	{
		attribute: "Mikrotik-Rate-Limit", world: limited, sees: seesRate, want: "64000 up, 2000000 down",
		answer: accepting(vsaNumber(wispr, 7, 9000), vsaNumber(ascend, 255, 9000), vsa(mikrotik, 8, []byte("64k/2M")...)),
	},
	{
		attribute: "Mikrotik-Rate-Limit", about: "both", world: limited, answer: accepting(vsa(mikrotik, 8, []byte("1M")...)),
		sees: seesRate, want: "1000000 up, 1000000 down",
	},
	{
		attribute: "Ascend-Data-Rate", world: limited, answer: accepting(vsaNumber(ascend, 197, 90000)), sees: seesRate,
		want: "90000 up, 90000 down",
	},
	{
		attribute: "Ascend-Data-Rate", about: "twice", world: limited, sees: seesRate, want: "90000 up, 10000 down",
		answer: accepting(vsaNumber(ascend, 197, 10000), vsaNumber(ascend, 197, 90000)),
	},
	{
		attribute: "Ascend-Xmit-Rate", world: limited, answer: accepting(vsaNumber(ascend, 255, 80000)), sees: seesRate,
		want: "256000 up, 80000 down",
	},
	{
		attribute: "Ascend-Xmit-Rate", about: "and Ascend-Data-Rate", world: limited, sees: seesRate, want: "90000 up, 80000 down",
		answer: accepting(vsaNumber(ascend, 197, 90000), vsaNumber(ascend, 255, 80000)),
	},
	{
		attribute: "WISPr-Bandwidth-Max-Up", world: limited, answer: accepting(vsaNumber(wispr, 7, 70000)), sees: seesRate,
		want: "70000 up, 512000 down",
	},
	{
		attribute: "WISPr-Bandwidth-Max-Up", about: "no limit", world: limited, answer: accepting(vsaNumber(wispr, 7, 0)),
		sees: seesRate, want: "0 up, 512000 down",
	},
	{
		attribute: "WISPr-Bandwidth-Max-Down", world: limited, answer: accepting(vsaNumber(wispr, 8, 70000)), sees: seesRate,
		want: "256000 up, 70000 down",
	},
	{
		attribute: "MS-MPPE-Encryption-Policy", answer: accepting(msAttr(7, 0, 0, 0, 2)), want: "REFUSED CCP MPPE_REQUIRED",
		world:  profile(func(p *store.Profile) { p.AllowPlaintext, p.MPPE.Policy = true, tenant.MPPEOptional }),
		client: func() simppp.Config { return simppp.MacOS(alice, password) },
	},
	{
		attribute: "MS-MPPE-Encryption-Types", world: strengths, client: weakWindows, answer: accepting(msAttr(8, 0, 0, 0, 2)),
		sees: seesCipher, want: "MPPE-40",
	},
	{
		attribute: "MS-MPPE-Encryption-Types", about: "none that the profile has", answer: accepting(msAttr(8, 0, 0, 0, 2)),
		want: "REFUSED CCP MPPE_REQUIRED",
	},
	{
		attribute: "MS-MPPE-Send-Key", answer: partly(msSendKey), sees: seesKeys,
		want: "128 bits, to the client true, from the client true",
	},
	{
		attribute: "MS-MPPE-Recv-Key", answer: partly(msRecvKey), sees: seesKeys,
		want: "128 bits, to the client true, from the client true",
	},
	{attribute: "MS-CHAP2-Success", answer: partly(msCHAP2Success), want: letIn},
	{attribute: "MS-Primary-DNS-Server", answer: accepting(msAttr(28, 9, 9, 9, 9)), sees: seesDNS, want: "[9.9.9.9]"},
	{
		attribute: "MS-Secondary-DNS-Server", answer: accepting(msAttr(29, 9, 9, 9, 1), msAttr(28, 9, 9, 9, 9)),
		sees: seesDNS, want: "[9.9.9.9 9.9.9.1]",
	},
	{
		attribute: "MS-Primary-NBNS-Server", answer: accepting(msAttr(30, 9, 9, 9, 3)), sees: seesWINS, want: "[9.9.9.3]",
		world: profile(func(p *store.Profile) { p.WINSServers = []netip.Addr{netip.MustParseAddr("192.0.2.99")} }),
	},
	{
		attribute: "MS-Secondary-NBNS-Server", answer: accepting(msAttr(31, 9, 9, 9, 4), msAttr(30, 9, 9, 9, 3)),
		sees: seesWINS, want: "[9.9.9.3 9.9.9.4]",
	},
	{attribute: "MS-CHAP-Domain", answer: accepting(msAttr(10, []byte("\x07CORP")...)), sees: seesDomain, want: "CORP"},
}

// rejectEffects are the attributes of an Access-Reject.
var rejectEffects = []effect{
	{
		attribute: "Reply-Message", answer: rejecting(text(attrReplyMessage, "go away")), sees: seesRefusals, want: `["go away"]`,
	},
	{
		attribute: "MS-CHAP-Error", about: "disabled", want: `["closed"] REFUSED AUTHENTICATION USER_DISABLED`,
		answer: rejecting(msAttr(msCHAPError, []byte("E=647 R=0 V=3 M=closed")...)),
		sees:   func(w *world, c *client) string { return seesRefusals(w, c) + " " + howItEnded(w, c) },
	},
	{
		attribute: "MS-CHAP-Error", about: "expired", want: "REFUSED AUTHENTICATION USER_EXPIRED",
		answer: rejecting(msAttr(msCHAPError, []byte("E=648 R=0 V=3")...)),
	},
	{
		attribute: "MS-CHAP-Error", about: "may try again", want: letIn,
		client: func() simppp.Config { return trying(simppp.Windows(alice, ""), "wrong", password) },
		answer: func(q *radiusQuery, with bool) []byte {
			if a := acceptMSCHAP(q); a[0] == accessAccept || with { // acceptMSCHAP rejects with R=1
				return a
			}
			return join(accessReject)
		},
	},
}

// effects are those of all replies. What is not applied is shown to the operator.
func effects() []effect {
	all := slices.Concat(within("Accept", acceptEffects), within("Reject", rejectEffects), within("Challenge", challengeEffects),
		signedEffects(), eapEffects())
	for _, row := range docsRows() {
		if why, ok := strings.CutPrefix(row.means, "not applied: "); ok {
			all = append(all, effect{
				attribute: row.name, packet: "Accept", answer: accepting(row.sample()), sees: seesDetail,
				want: row.name + " is not applied: " + why, alone: true,
			})
		}
	}
	return all
}

func within(packet string, rows []effect) []effect {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].packet = packet
	}
	return rows
}

// signedEffects are Message-Authenticator in each reply: without one it does not count.
func signedEffects() (rows []effect) {
	for _, r := range []struct{ packet, want string }{{"Accept", letIn}, {"Reject", rejectedBy}, {"Challenge", rejectedBy}} {
		code := map[string]byte{"Accept": accessAccept, "Reject": accessReject, "Challenge": accessChallenge}[r.packet]
		rows = append(rows, effect{
			attribute: "Message-Authenticator", packet: r.packet, want: r.want, world: plaintext(tenant.AuthPAP),
			client: func() simppp.Config { return simppp.MacOS(alice, password) },
			answer: func(*radiusQuery, bool) []byte { return join(code) },
		})
	}
	return rows
}

// see makes a world with the effect or without it, and says what there is to see.
func (e *effect) see(t *testing.T, with bool) (got string) {
	t.Run(map[bool]string{true: "with", false: "without"}[with], func(t *testing.T) {
		inReality(t, func(t *testing.T, w *world) {
			w.furnish()
			if e.world != nil {
				e.world(w)
			}
			f := startRadius(w, func(q *radiusQuery) []byte { return e.answer(q, with) })
			if e.attribute == "Message-Authenticator" {
				f.unsigned.Store(!with)
			}
			w.start()
			cfg := simppp.Windows(alice, password)
			if e.client != nil {
				cfg = e.client()
			}
			c := w.dial(cfg)
			got = howItEnded(w, c)
			if e.sees != nil && (e.packet != "Accept" || got == letIn) {
				got = e.sees(w, c)
			}
		})
	})
	return got
}

// TestRadiusEffects tries each attribute by what it does to a session.
func TestRadiusEffects(t *testing.T) {
	for _, e := range effects() {
		t.Run(strings.TrimSuffix(e.packet+"/"+e.attribute+"/"+e.about, "/"), func(t *testing.T) {
			if got := e.see(t, true); got != e.want {
				t.Errorf("seen %q, want %q", got, e.want)
			}
			if e.alone {
				return
			}
			if got := e.see(t, false); got == e.want {
				t.Errorf("seen %q without it, too: the test shows nothing", got)
			}
		})
	}
}

// docsRow is a row of the table of docs/radius.md, which is that of the code.
type docsRow struct {
	name, number, value, means string
	reads                      []string // the packets that it is read from
}

// docsRows reads the table.
func docsRows() (rows []docsRow) {
	b, err := os.ReadFile("../../docs/radius.md")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if _, _, ok := parseNumber(cells[1]); !ok {
			continue
		}
		row := docsRow{name: cells[0], number: cells[1], value: cells[2], means: cells[5]}
		for p := range strings.SplitSeq(cells[4], ", ") {
			if p != "" {
				row.reads = append(row.reads, strings.TrimSuffix(p, " (key)"))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// parseNumber reads "25" or "311/26".
func parseNumber(s string) (vendor uint32, typ byte, ok bool) {
	v, n, found := strings.Cut(s, "/")
	if !found {
		v, n = "0", s
	}
	a, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	b, err := strconv.ParseUint(n, 10, 8)
	return uint32(a), byte(b), err == nil
}

// sample is the attribute with some value of its kind.
func (r docsRow) sample() []byte {
	value := map[string][]byte{"integer": {0, 0, 0, 1}, "IPv4 address": {192, 0, 2, 1}, "IPv6 address": make([]byte, 16)}[r.value]
	if value == nil {
		value = []byte("sample")
	}
	vendor, typ, _ := parseNumber(r.number)
	if vendor == 0 {
		return attr(typ, value...)
	}
	return vsa(vendor, typ, value...)
}

// TestRadiusEffectsComplete: what the table says is read from a packet has a row above, and the other way round.
func TestRadiusEffectsComplete(t *testing.T) {
	tried := make(map[string]bool)
	for _, e := range effects() {
		tried[e.attribute+" in "+e.packet] = true
	}
	for _, o := range orders {
		for _, p := range o.packets {
			tried[o.attribute+" in "+p] = true
		}
	}
	rows, reads := docsRows(), 0
	for _, row := range rows {
		for _, p := range row.reads {
			reads++
			key := row.name + " in " + p
			if !tried[key] {
				t.Errorf("%s has no row", key)
			}
			delete(tried, key)
		}
	}
	for key := range tried {
		t.Errorf("%s has a row, but docs/radius.md does not say that it is read", key)
	}
	if len(rows) < 80 || reads < 100 {
		t.Errorf("%d attributes and %d readings: the test does not see the table", len(rows), reads)
	}
}
