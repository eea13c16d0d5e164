package session

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
)

// Codes and attributes of RFC 5176, and what its requests know a session by.
const (
	disconnectRequest, coaRequest = 40, 43

	attrNASAddress, attrNASPort, attrNASIdentifier        = 4, 5, 32
	attrCalledStation, attrCallingStation, attrProxyState = 30, 31, 33
	attrSessionID, attrTerminateCause, attrEventTimestamp = 44, 49, 55
	attrNASPortType, attrNASIPv6Address, attrErrorCause   = 61, 95, 101
)

// dynamicWorld is a world with alice in, whose RADIUS server may send CoA- and Disconnect-Requests.
type dynamicWorld struct {
	*world
	c *client

	mu    sync.Mutex
	asked *radiusQuery // the login: what the server knows of the session
}

// known is an attribute of the session, as the Access-Request had it.
func (w *dynamicWorld) known(typ byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return attr(typ, w.asked.plain[typ]...)
}

func inDynamic(t *testing.T, test func(w *dynamicWorld)) {
	w := &dynamicWorld{world: newWorldOf(t, false, 100, func(c Config) *Manager {
		c.CoA = netip.MustParseAddrPort("127.0.0.1:3799")
		return New(c)
	})}
	w.furnish()
	limited(w.world)
	twoACLs(w.world)
	startRadius(w.world, func(q *radiusQuery) []byte {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = q
		return acceptMSCHAP(q, attr(attrClass, 'c'))
	})
	w.start()
	w.c = w.world.dial(simppp.Windows(alice, password))
	if got := howItEnded(w.world, w.c); got != letIn {
		t.Fatal(got)
	}
	test(w)
}

// coaAddress is where requests go.
func (m *Manager) coaAddress() net.Addr {
	m.passing.Lock()
	defer m.passing.Unlock()
	if c := m.coaSockets[""]; c != nil {
		return c.LocalAddr()
	}
	return nil
}

// request signs a CoA- or Disconnect-Request, RFC 5176 section 2.3. Attributes that have a Message-Authenticator keep theirs.
func request(code byte, attrs ...[]byte) []byte {
	var id [1]byte
	_, _ = rand.Read(id[:]) // never fails
	b := append([]byte{code, id[0]}, make([]byte, 18)...)
	signed := !slices.ContainsFunc(attrs, func(a []byte) bool { return a[0] == attrMessageAuthenticator })
	if signed {
		b = append(b, attr(attrMessageAuthenticator, make([]byte, 16)...)...)
	}
	b = append(b, slices.Concat(attrs...)...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if signed {
		mac := hmac.New(md5.New, []byte(radiusSecret))
		mac.Write(b)
		copy(b[22:38], mac.Sum(nil))
	}
	sum := md5.Sum(append(slices.Clone(b), radiusSecret...))
	copy(b[4:20], sum[:])
	return b
}

// order sends a request and says how it was answered: "ACK", "NAK 401" or "silence", and what of the request came back.
func (w *dynamicWorld) order(code byte, attrs ...[]byte) string {
	w.t.Helper()
	w.until("the CoA socket is open", func() bool { return w.m.coaAddress() != nil })
	conn, err := net.Dial("udp", w.m.coaAddress().String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	q := request(code, attrs...)
	if _, err := conn.Write(q); err != nil {
		w.t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(w.patience(attrs))); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		return "silence"
	}
	b = b[:n]
	// The Response Authenticator and the Message-Authenticator, RFC 5176 section 2.3 and RFC 3579 section 3.2.
	got := slices.Clone(b[4:20])
	copy(b[4:20], q[4:20])
	if sum := md5.Sum(append(slices.Clone(b), radiusSecret...)); !slices.Equal(sum[:], got) || b[1] != q[1] {
		w.t.Errorf("the reply %x is not signed", b)
	}
	mac := hmac.New(md5.New, []byte(radiusSecret))
	if b[20] != attrMessageAuthenticator {
		w.t.Fatalf("the reply %x does not begin with a Message-Authenticator", b)
	}
	given := slices.Clone(b[22:38])
	clear(b[22:38])
	mac.Write(b)
	if !hmac.Equal(mac.Sum(nil), given) {
		w.t.Errorf("the Message-Authenticator of %x is wrong", b)
	}
	out := map[byte]string{code + 1: "ACK", code + 2: "NAK"}[b[0]]
	for rest := b[38:]; len(rest) > 0; rest = rest[rest[1]:] {
		if v := rest[2:rest[1]]; rest[0] == attrErrorCause {
			out += fmt.Sprintf(" %d", binary.BigEndian.Uint32(v))
		} else {
			out += fmt.Sprintf(" %d=%s", rest[0], v)
		}
	}
	return out
}

// patience is short for a request that is to meet silence.
func (w *dynamicWorld) patience(attrs [][]byte) time.Duration {
	for _, a := range attrs {
		if a[0] == attrMessageAuthenticator || a[0] == attrEventTimestamp && time.Since(time.Unix(int64(binary.BigEndian.Uint32(a[2:])), 0)) > time.Minute {
			return 300 * time.Millisecond
		}
	}
	return 10 * time.Second
}

// orderEffect is what one attribute of a CoA- or Disconnect-Request does.
type orderEffect struct {
	attribute string
	packets   []string // as docs/radius.md has them
	about     string
	// key says that the attribute says which session is meant; else Acct-Session-Id does.
	key  bool
	give func(w *dynamicWorld) [][]byte
	// answer is how the request is answered; empty: "ACK".
	answer string
	// wrong is what else the attribute could say, and then nothing is done, for the reason of no.
	wrong func(w *dynamicWorld) [][]byte
	no    string
	sees  func(w *world, c *client) string // of a CoA-Request: what has changed
	want  string
	ends  bool // it ends the session
}

// these gives the same attributes each time.
func these(attrs ...[]byte) func(*dynamicWorld) [][]byte {
	return func(*dynamicWorld) [][]byte { return attrs }
}

// as gives the attribute as the login had it.
func as(typ byte) func(*dynamicWorld) [][]byte {
	return func(w *dynamicWorld) [][]byte { return [][]byte{w.known(typ)} }
}

var (
	both    = []string{"CoA", "Disconnect"}
	coaOnly = []string{"CoA"}
)

// orders are the attributes of CoA- and Disconnect-Requests, in the order of docs/radius.md.
var orders = []orderEffect{
	{attribute: "User-Name", packets: both, key: true, give: as(attrUserName), wrong: these(text(attrUserName, "bob")), no: "NAK 503"},
	{attribute: "State", packets: both, give: these(text(attrState, "s")), answer: "ACK 24=s"},
	{
		attribute: "Message-Authenticator", packets: both, give: these(),
		wrong: these(attr(attrMessageAuthenticator, make([]byte, 16)...)), no: "silence",
	},
	{
		attribute: "Service-Type", packets: coaOnly, give: these(number(attrServiceType, 2)),
		wrong: these(number(attrServiceType, 1)), no: "NAK 405",
	},
	{
		attribute: "Framed-Protocol", packets: coaOnly, give: these(number(attrFramedProtocol, 1)),
		wrong: these(number(attrFramedProtocol, 2)), no: "NAK 407",
	},
	{
		attribute: "NAS-Identifier", packets: both, give: these(text(attrNASIdentifier, "vpn")),
		wrong: these(text(attrNASIdentifier, "other")), no: "NAK 403",
	},
	{
		attribute: "NAS-IP-Address", packets: both, give: these(attr(attrNASAddress, 127, 0, 0, 1)),
		wrong: these(attr(attrNASAddress, 127)), no: "NAK 404",
	},
	{
		attribute: "NAS-IPv6-Address", packets: both, give: these(attr(attrNASIPv6Address, make([]byte, 16)...)),
		wrong: these(attr(attrNASIPv6Address, 127, 0, 0, 1)), no: "NAK 404",
	},
	{attribute: "NAS-Port", packets: both, key: true, give: as(attrNASPort), wrong: these(number(attrNASPort, 99999)), no: "NAK 503"},
	{attribute: "NAS-Port-Type", packets: both, give: these(number(attrNASPortType, 5))},
	{
		attribute: "Calling-Station-Id", packets: both, key: true, give: as(attrCallingStation),
		wrong: these(text(attrCallingStation, "192.0.2.7")), no: "NAK 503",
	},
	{
		attribute: "Called-Station-Id", packets: both, key: true, give: as(attrCalledStation),
		wrong: these(text(attrCalledStation, "192.0.2.7")), no: "NAK 503",
	},
	{
		attribute: "Acct-Session-Id", packets: both, key: true, give: as(attrSessionID),
		wrong: these(text(attrSessionID, "another")), no: "NAK 503",
	},
	{
		attribute: "Event-Timestamp", packets: both, wrong: these(number(attrEventTimestamp, 1_700_000_000)), no: "silence",
		give: func(*dynamicWorld) [][]byte { return [][]byte{number(attrEventTimestamp, uint32(time.Now().Unix()))} },
	},
	{
		attribute: "Proxy-State", packets: both, give: these(text(attrProxyState, "b"), text(attrProxyState, "a")),
		answer: "ACK 33=b 33=a",
	},
	{
		attribute: "Framed-IP-Address", packets: both, key: true, wrong: these(attr(attrFramedIP, 10, 7, 0, 99)), no: "NAK 503",
		give: func(w *dynamicWorld) [][]byte {
			return [][]byte{attr(attrFramedIP, w.c.network().Address.AsSlice()...)}
		},
	},
	{
		attribute: "Framed-Route", packets: coaOnly, give: these(text(attrFramedRoute, "10.50.0.0/16"), text(attrFramedRoute, "10.51.0.0/16")),
		sees: seesRoutes, want: "[10.50.0.0/16 10.51.0.0/16]", wrong: these(text(attrFramedRoute, "nowhere")), no: "NAK 407",
	},
	{
		attribute: "Filter-Id", packets: coaOnly, give: these(text(attrFilterID, "quiet")), sees: seesFilter,
		want: `"tenants/acme/acls/quiet", pass false`, wrong: these(text(attrFilterID, "none")), no: "NAK 407",
	},
	{attribute: "Reply-Message", packets: both, give: these(text(attrReplyMessage, "hello"))},
	{
		attribute: "Class", packets: coaOnly, give: these(text(attrClass, "x"), text(attrClass, "y")),
		sees: seesClass, want: `["x" "y"]`,
	},
	{attribute: "Class", packets: []string{"Disconnect"}, give: these(text(attrClass, "x"))}, // TestRadiusLastClass
	{
		attribute: "Session-Timeout", packets: coaOnly, give: these(number(attrSessionTimeout, 1)), ends: true,
		sees: seesStop, want: "stop alice 0 SESSION_TIMEOUT", wrong: these(attr(attrSessionTimeout, 1)), no: "NAK 404",
	},
	{
		attribute: "Idle-Timeout", packets: coaOnly, give: these(number(attrIdleTimeout, 1)), ends: true,
		sees: seesStop, want: "stop alice 0 IDLE_TIMEOUT", wrong: these(attr(attrIdleTimeout, 1)), no: "NAK 404",
	},
	{
		attribute: "Acct-Interim-Interval", packets: coaOnly, give: these(number(attrInterimInterval, 300)),
		sees: seesInterim, want: "5m0s", wrong: these(number(attrInterimInterval, 300), number(attrInterimInterval, 600)), no: "NAK 404",
	},
	{
		attribute: "Mikrotik-Rate-Limit", packets: coaOnly, give: these(vsa(mikrotik, 8, []byte("64k/2M")...)),
		sees: seesRate, want: "64000 up, 2000000 down", wrong: these(vsa(mikrotik, 8, []byte("fast")...)), no: "NAK 407",
	},
	{
		attribute: "Ascend-Data-Rate", packets: coaOnly, give: these(vsaNumber(ascend, 197, 90000)),
		sees: seesRate, want: "90000 up, 90000 down", wrong: these(vsa(ascend, 197, 1)), no: "NAK 404",
	},
	{
		attribute: "Ascend-Xmit-Rate", packets: coaOnly, give: these(vsaNumber(ascend, 255, 80000)),
		sees: seesRate, want: "256000 up, 80000 down", wrong: these(vsa(ascend, 255, 1)), no: "NAK 404",
	},
	{
		attribute: "WISPr-Bandwidth-Max-Up", packets: coaOnly, give: these(vsaNumber(wispr, 7, 70000)),
		sees: seesRate, want: "70000 up, 512000 down", wrong: these(vsa(wispr, 7, 1)), no: "NAK 404",
	},
	{
		attribute: "WISPr-Bandwidth-Max-Down", packets: coaOnly, give: these(vsaNumber(wispr, 8, 70000)),
		sees: seesRate, want: "256000 up, 70000 down", wrong: these(vsa(wispr, 8, 1)), no: "NAK 404",
	},
	{attribute: "Acct-Terminate-Cause", packets: both, give: these(number(attrTerminateCause, 6))},
}

// seesStop waits for the end of the account.
func seesStop(w *world, c *client) string {
	w.until("the session has ended", func() bool { return w.m.byCallID(c.fc.id) == nil })
	return strings.Join(w.ledger.of("stop"), " ")
}

// TestRadiusOrders tries each attribute of CoA- and Disconnect-Requests by what it does to a live session.
func TestRadiusOrders(t *testing.T) {
	for _, o := range orders {
		for _, p := range o.packets {
			t.Run(strings.TrimSuffix(p+"/"+o.attribute+"/"+o.about, "/"), func(t *testing.T) {
				inDynamic(t, func(w *dynamicWorld) { o.try(w, p == "Disconnect") })
			})
		}
	}
}

func (o *orderEffect) try(w *dynamicWorld, disconnect bool) {
	code, plain := byte(coaRequest), seesRate(w.world, w.c)
	var more [][]byte
	if disconnect {
		code = disconnectRequest
	}
	if !o.key {
		more = append(more, w.known(attrSessionID))
	}
	changes := o.sees != nil && !disconnect
	if !changes && !disconnect { // the attribute changes nothing, so something else must be changed
		more = append(more, vsaNumber(wispr, 7, 99000))
	}
	sees, want := o.sees, o.want
	if !changes {
		sees, want = seesRate, "99000 up, 512000 down"
	}
	if !o.ends && sees(w.world, w.c) == want {
		w.t.Errorf("seen %q before: the test shows nothing", want)
	}
	if o.wrong != nil {
		// All or nothing: the rate beside it is not changed either.
		attrs := slices.Concat(more, o.wrong(w))
		if changes && !strings.Contains(o.attribute, "Rate") && !strings.Contains(o.attribute, "Bandwidth") {
			attrs = append(attrs, vsaNumber(wispr, 7, 99000))
		}
		if got := w.order(code, attrs...); got != o.no {
			w.t.Errorf("a wrong value was answered with %q, want %q", got, o.no)
		}
		if got := seesRate(w.world, w.c); got != plain || w.m.byCallID(w.c.fc.id) == nil {
			w.t.Errorf("a refused request has changed the session: %s", got)
		}
	}
	answer := o.answer
	if answer == "" {
		answer = "ACK"
	}
	if got := w.order(code, slices.Concat(more, o.give(w))...); got != answer {
		w.t.Fatalf("answered with %q, want %q", got, answer)
	}
	if disconnect {
		w.until("the client is out", w.c.ended)
		if got := seesStop(w.world, w.c); got != "stop alice 0 COA_DISCONNECT" {
			w.t.Errorf("accounting was told %q", got)
		}
		return
	}
	if got := sees(w.world, w.c); got != want {
		w.t.Errorf("seen %q, want %q", got, want)
	}
}

// TestRadiusLastClass: the Class of a Disconnect-Request is the account's before its Stop.
func TestRadiusLastClass(t *testing.T) {
	inDynamic(t, func(w *dynamicWorld) {
		if got := w.order(disconnectRequest, w.known(attrSessionID), text(attrClass, "x")); got != "ACK" {
			t.Fatal(got)
		}
		seesStop(w.world, w.c)
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		log := slices.DeleteFunc(slices.Clone(w.ledger.log), func(s string) bool { return !strings.Contains(s, alice) })
		if want := []string{
			"start acme/alice 10.7.0.2 MSCHAPV2", `update alice class ["x"] interim 0s`, "stop alice 0 COA_DISCONNECT",
		}; !slices.Equal(log, want) {
			t.Errorf("accounting was told %q, want %q", log, want)
		}
	})
}

// TestRadiusOrderUnknown: an attribute that nobody knows makes the whole request fail.
func TestRadiusOrderUnknown(t *testing.T) {
	inDynamic(t, func(w *dynamicWorld) {
		for what, unknown := range map[string][]byte{"of ours": text(87, "port"), "of a vendor": vsa(wispr, 99, 1)} {
			if got := w.order(coaRequest, w.known(attrSessionID), vsaNumber(wispr, 7, 99000), unknown); got != "NAK 401" {
				t.Errorf("%s: answered with %q", what, got)
			}
		}
		if got := seesRate(w.world, w.c); got != "256000 up, 512000 down" {
			t.Errorf("a refused request has changed the session: %s", got)
		}
	})
}
