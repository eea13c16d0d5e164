package transport

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/tenant"
)

// TestMain fails the package if a test's Group left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := goroutines()
	for begin := time.Now(); left != "" && time.Since(begin) < time.Second; left = goroutines() {
		time.Sleep(time.Millisecond) // one that has said that it is done may still be on its way out
	}
	if left != "" && code == 0 {
		os.Stderr.WriteString("goroutines left behind:\n" + left + "\n") //nolint:errcheck // it fails anyway
		code = 1
	}
	os.Exit(code)
}

// goroutines returns the stacks of the goroutines that run this package's code, tests excepted.
func goroutines() string {
	buf := make([]byte, 1<<20)
	var left []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "transport.(*") && !strings.Contains(g, "testing.tRunner") {
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

// waitFor waits for goroutines to bring about what cond says.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
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
	send func(b ...[]byte) // back to where it came from
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
	conn.SetReadBuffer(4 << 20) //nolint:errcheck // the default may do
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
				t.Errorf("the transport sent no RADIUS packet: %v", err)
				return
			}
			handle(query{n: n, raw: raw, p: p, from: from, send: func(all ...[]byte) {
				for _, b := range all {
					conn.WriteToUDPAddrPort(b, from) //nolint:errcheck // the transport may be gone
				}
			}})
		}
	}()
	t.Cleanup(f.stop)
	return f
}

func (f *fake) stop() {
	f.conn.Close() //nolint:errcheck // a test may have closed it
	<-f.done
}

func (f *fake) addr() string { return f.conn.LocalAddr().String() }
func (f *fake) port() int    { return f.conn.LocalAddr().(*net.UDPAddr).Port }

// silent is a port where nobody reads.
func silent(t *testing.T) *fake { return startFake(t, func(query) {}) }

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

var (
	accept = answerOf{code: radius.CodeAccessAccept}
	reject = answerOf{code: radius.CodeAccessReject}
	ack    = answerOf{code: radius.CodeAccountingResponse, unsigned: true}
)

// good answers q as a server should, with the reply attributes attrs.
func good(q query, attrs ...byte) []byte {
	switch q.p.Code {
	case radius.CodeAccountingRequest:
		return answerOf{code: radius.CodeAccountingResponse, unsigned: true, attrs: attrs}.to(q)
	default:
		return answerOf{code: radius.CodeAccessAccept, attrs: attrs}.to(q)
	}
}

func (a answerOf) to(q query) []byte {
	request := q.raw
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

// serverAt is a server "one" whose ports are both the fake's.
func serverAt(f *fake) ServerConfig {
	return ServerConfig{
		Name: "one", Address: "127.0.0.1", AuthPort: f.port(), AcctPort: f.port(),
		Secrets: []tenant.Secret{tenant.Secret(secret)}, Timeout: 10 * time.Second, Tries: 3, NASIdentifier: "nas-1",
	}
}

// start returns a Group of one server, the fake. change may be nil.
func start(t *testing.T, f *fake, change func(*ServerConfig)) *Group {
	t.Helper()
	sc := serverAt(f)
	if change != nil {
		change(&sc)
	}
	return startGroup(t, sc)
}

func startGroup(t *testing.T, servers ...ServerConfig) *Group {
	t.Helper()
	g, err := New(Config{Servers: servers, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// login is an Access-Request with a User-Name and what the target says.
func login(user string) Request {
	return Request{Purpose: Access, Code: radius.CodeAccessRequest, Build: func(t Target) (*radius.Packet, error) {
		m := &radius.Packet{}
		m.Add(1, radius.Attribute(user))
		if t.NASIdentifier != "" {
			m.Add(32, radius.Attribute(t.NASIdentifier))
		}
		if t.LocalAddr.Is4() {
			m.Add(4, t.LocalAddr.AsSlice())
		}
		return m, nil
	}}
}

// record is an Accounting-Request of that session.
func record(session string) Request {
	return Request{Purpose: Accounting, Code: radius.CodeAccountingRequest, Build: func(Target) (*radius.Packet, error) {
		m := &radius.Packet{}
		m.Add(44, radius.Attribute(session))
		return m, nil
	}}
}

// ask exchanges with a bound that only a hang reaches.
func ask(t *testing.T, g *Group, r Request) (Reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return g.Exchange(ctx, r)
}

// mustAnswer fails the test unless r is answered.
func mustAnswer(t *testing.T, g *Group, r Request) Reply {
	t.Helper()
	reply, err := ask(t, g, r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// mustFail fails the test unless nobody answered, for the reason given, with a detail that has each of words.
func mustFail(t *testing.T, g *Group, r Request, reason tenant.Reason, words ...string) {
	t.Helper()
	noAnswerTo(t, g, r, reason, words...) //nolint:errcheck // was looked at
}

// noAnswerTo is mustFail for those who look at the error further.
func noAnswerTo(t *testing.T, g *Group, r Request, reason tenant.Reason, words ...string) error {
	t.Helper()
	reply, err := ask(t, g, r)
	var none *NoAnswer
	if !errors.As(err, &none) || none.Reason != reason {
		t.Fatalf("reply % x, %v, want no answer and %s", reply.Packet, err, reason)
	}
	for _, w := range words {
		if !strings.Contains(none.Detail, w) {
			t.Errorf("detail %q lacks %q", none.Detail, w)
		}
	}
	return err
}

// port returns the counters of a server's port.
func portStats(g *Group, server int, p Purpose) Stats {
	for _, h := range g.Health()[server].Ports {
		for _, is := range h.Purposes {
			if is == p {
				return h.Stats
			}
		}
	}
	return Stats{}
}

func stateOf(g *Group, server int) State { return g.Health()[server].State }
