package radius

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

// TestMain fails the package if a test's Client left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := clientGoroutines()
	for begin := time.Now(); left != "" && time.Since(begin) < time.Second; left = clientGoroutines() {
		time.Sleep(time.Millisecond) // one that has said that it is done may still be on its way out
	}
	if left != "" && code == 0 {
		os.Stderr.WriteString("goroutines left behind:\n" + left + "\n") //nolint:errcheck // it fails anyway
		code = 1
	}
	os.Exit(code)
}

// clientGoroutines returns the stacks of the goroutines of the transport.
func clientGoroutines() string {
	buf := make([]byte, 1<<20)
	var left []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "radius/transport.") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

const secret = "testing123"

var quiet = slog.New(slog.DiscardHandler)

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// fake is a RADIUS server on loopback. handle is called for each datagram, on one goroutine; n counts from 1.
type fake struct {
	conn *net.UDPConn
	done chan struct{}
}

type query struct {
	n    int
	raw  []byte
	p    *radius.Packet
	from netip.AddrPort
	f    *fake
}

// send writes b to where the query came from.
func (q query) send(b ...[]byte) {
	for _, d := range b {
		q.f.conn.WriteToUDPAddrPort(d, q.from) //nolint:errcheck // the client may be gone
	}
}

func startFake(t *testing.T, handle func(q query)) *fake {
	t.Helper()
	return startFakeAt(t, "127.0.0.1:0", handle)
}

func startFakeAt(t *testing.T, at string, handle func(q query)) *fake {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		buf := make([]byte, 8192)
		for n := 1; ; n++ {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			raw := bytes.Clone(buf[:size])
			p, err := radius.Parse(raw, []byte(secret))
			if err != nil {
				t.Errorf("the client sent no RADIUS packet: %v", err)
				return
			}
			handle(query{n: n, raw: raw, p: p, from: from, f: f})
		}
	}()
	t.Cleanup(func() {
		noError(t, conn.Close())
		<-f.done
	})
	return f
}

func (f *fake) port() int { return f.conn.LocalAddr().(*net.UDPAddr).Port }

// answerOf describes a reply of the fake. Its signatures are computed here, by the letter of the RFCs, not by the code
// under test.
type answerOf struct {
	code     radius.Code
	attrs    []byte // already encoded
	secret   string // empty: secret
	unsigned bool   // no Message-Authenticator
	wrongMA  bool
	macs     int  // Message-Authenticators; 0: 1
	macLen   int  // octets of its value; 0: 16
	macLast  bool // behind the other attributes
	wrongRA  bool
	id       int // added to the identifier
	padding  []byte
	length   int // added to Length
	cut      int // octets cut off the end of the datagram
}

func (a answerOf) to(q query) []byte { return a.build(q.raw) }

func (a answerOf) build(request []byte) []byte {
	if a.secret == "" {
		a.secret = secret
	}
	if a.macs == 0 {
		a.macs = 1
	}
	if a.macLen == 0 {
		a.macLen = 16
	}
	b := []byte{byte(a.code), request[1] + byte(a.id), 0, 0}
	b = append(b, request[4:20]...)
	at := 0
	mac := func() {
		for range a.macs {
			at = len(b) + 2
			b = append(b, 80, byte(2+a.macLen))
			b = append(b, make([]byte, a.macLen)...)
		}
	}
	if !a.unsigned && !a.macLast {
		mac()
	}
	b = append(b, a.attrs...)
	if !a.unsigned && a.macLast {
		mac()
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if at != 0 {
		h := hmac.New(md5.New, []byte(a.secret))
		h.Write(b)
		sum := h.Sum(nil)
		if a.wrongMA {
			sum[15] ^= 1
		}
		copy(b[at:at+a.macLen], sum)
	}
	h := md5.New()
	h.Write(b)
	h.Write([]byte(a.secret))
	copy(b[4:20], h.Sum(nil))
	if a.wrongRA {
		b[19] ^= 1
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+a.length))
	b = append(b, a.padding...)
	return b[:len(b)-a.cut]
}

// attr encodes one attribute.
func attr(typ radius.Type, value ...byte) []byte {
	return append([]byte{byte(typ), byte(2 + len(value))}, value...)
}

// ms encodes one attribute of Microsoft's.
func ms(typ radius.Type, value ...byte) []byte { return vsa(vendorMicrosoft, typ, value...) }

// vsa encodes one attribute of a vendor's.
func vsa(vendor uint32, typ radius.Type, value ...byte) []byte {
	head := append(binary.BigEndian.AppendUint32(nil, vendor), byte(typ), byte(2+len(value)))
	return attr(rfc2865.VendorSpecific_Type, append(head, value...)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// start returns a Client for the fake, with a short timeout. change may be nil.
func start(t *testing.T, f *fake, change func(*transport.ServerConfig)) *Client {
	t.Helper()
	sc := transport.ServerConfig{
		Name: "one", Address: "127.0.0.1", AuthPort: f.port(), AcctPort: f.port(), Secrets: []tenant.Secret{tenant.Secret(secret)},
		Timeout: 10 * time.Second, Tries: 3, NASIdentifier: "nas-1", MaxOutstanding: 2048,
	}
	if change != nil {
		change(&sc)
	}
	return startAll(t, sc)
}

// startAll returns a Client for several servers.
func startAll(t *testing.T, servers ...transport.ServerConfig) *Client {
	t.Helper()
	c, err := New(Config{Tenant: "tenants/acme", Config: transport.Config{Servers: servers, Log: quiet}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// access returns the counters of the first server's port for logins, and what is under way there.
func access(c *Client) (transport.Stats, transport.Health) {
	h := c.Health()[0]
	for _, p := range h.Ports {
		if slices.Contains(p.Purposes, transport.Access) {
			return p.Stats, h
		}
	}
	return transport.Stats{}, h
}

func papRequest() authz.Request {
	return authz.Request{
		Caller: authz.Caller{
			Tenant: "acme", SessionID: "s-1", Protocol: tenant.ProtocolPPTP,
			ClientAddress: netip.MustParseAddr("198.51.100.7"), ListenerAddress: netip.MustParseAddr("192.0.2.1"), NASPort: 17,
		},
		User: "alice", PeerName: "alice", Method: tenant.AuthPAP, Password: tenant.Secret("wonder-1"),
	}
}

// ask authenticates with a bound that only a hang reaches.
func ask(t *testing.T, c *Client, r authz.Request) (authz.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c.Authenticate(ctx, r)
}

// mustAllow fails the test unless r is let in.
func mustAllow(t *testing.T, c *Client, r authz.Request) authz.Verdict {
	t.Helper()
	v, err := ask(t, c, r)
	if err != nil || v.Deny != "" {
		t.Fatalf("verdict %+v, %v, want an accept", v, err)
	}
	return v
}

// refusedFor fails the test unless nobody answered, for the reason given, with a detail that has each of words.
func refusedFor(t *testing.T, v authz.Verdict, err error, reason tenant.Reason, words ...string) {
	t.Helper()
	if err == nil || v.Deny != reason {
		t.Fatalf("verdict %+v, %v, want no answer and %s", v, err, reason)
	}
	for _, w := range words {
		if !strings.Contains(v.Detail, w) {
			t.Errorf("detail %q lacks %q", v.Detail, w)
		}
	}
}
