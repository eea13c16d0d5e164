package coa

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

// TestMain fails the package if a test's Server left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := serverGoroutines()
	for begin := time.Now(); left != "" && time.Since(begin) < time.Second; left = serverGoroutines() {
		time.Sleep(time.Millisecond) // one that has said that it is done may still be on its way out
	}
	if left != "" && code == 0 {
		os.Stderr.WriteString("goroutines left behind:\n" + left + "\n") //nolint:errcheck // it fails anyway
		code = 1
	}
	os.Exit(code)
}

func serverGoroutines() string {
	buf := make([]byte, 1<<20)
	var left []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "coa.(*Server)") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

const (
	secret = "testing123"
	server = "tenants/acme/radiusServers/one"
)

var quiet = slog.New(slog.DiscardHandler)

// Attribute types, by their numbers in the RFCs.
const (
	userName         = 1
	nasIPAddress     = 4
	nasPort          = 5
	serviceType      = 6
	framedIPAddress  = 8
	filterID         = 11
	state            = 24
	class            = 25
	vendorSpecific   = 26
	sessionTimeout   = 27
	calledStationID  = 30
	callingStationID = 31
	nasIdentifier    = 32
	proxyState       = 33
	acctSessionID    = 44
	eventTimestamp   = 55
	macType          = 80
	nasIPv6Address   = 95
	errorCause       = 101
)

// host is a Host of fixed sessions. It remembers what it was asked to do.
type host struct {
	sessions map[string][]Session // by tenant

	mu     sync.Mutex
	done   []string                  // "disconnect s-1", "change s-1 acl=guests"
	fail   map[string]error          // by what is done
	during func(ctx context.Context) // called before anything is done
	events chan string               // gets what is done; nil: nobody is told
	asked  int                       // calls of Sessions
}

func (h *host) Sessions(id string) []Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return slices.Clone(h.sessions[id])
}

func (h *host) Disconnect(ctx context.Context, id string) error { return h.do(ctx, "disconnect "+id) }

func (h *host) Change(ctx context.Context, id string, c authz.Change) error {
	what := "change " + id
	for _, rate := range []*uint64{c.UpBps, c.DownBps} {
		if rate != nil {
			what += fmt.Sprintf(" rate=%d", *rate)
		}
	}
	if c.SessionTimeout != nil {
		what += " timeout=" + c.SessionTimeout.String()
	}
	if c.ACL != nil {
		what += " acl=" + *c.ACL
	}
	if c.Class != nil {
		what += " class=" + string(bytes.Join(*c.Class, []byte(",")))
	}
	return h.do(ctx, what)
}

func (h *host) do(ctx context.Context, what string) error {
	if h.during != nil {
		h.during(ctx)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fail[what]; err != nil {
		return err
	}
	h.done = append(h.done, what)
	if h.events != nil {
		h.events <- what
	}
	return nil
}

// did returns what was done since the last call.
func (h *host) did() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := h.done
	h.done = nil
	return done
}

// aHost has two sessions of alice's and one of bob's with acme, and one of alice's with umbrella.
func aHost() *host {
	session := func(id, user, address, calling string, port uint32) Session {
		return Session{
			ID: id, User: user, Address: netip.MustParseAddr(address), CallingStation: calling, CalledStation: "192.0.2.1",
			NASPort: port, Class: [][]byte{[]byte("gold"), []byte(user)},
		}
	}
	return &host{sessions: map[string][]Session{
		"acme": {
			session("s-1", "alice", "10.9.0.1", "198.51.100.1", 1),
			session("s-2", "alice", "10.9.0.2", "198.51.100.2", 2),
			session("s-3", "bob", "10.9.0.3", "2001:db8::3", 3),
		},
		"umbrella": {session("u-1", "alice", "10.9.0.1", "198.51.100.9", 4)},
	}}
}

// acme is the one Source of most tests; it sends over UDP from loopback.
func acme() Source {
	return Source{
		Tenant: "acme", Server: server, Secrets: []tenant.Secret{tenant.Secret(secret)},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
}

// start returns a Server with the sources, acme without any.
func start(t testing.TB, h *host, change func(*Config), sources ...Source) *Server {
	t.Helper()
	cfg := Config{Host: h, Log: quiet}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	if len(sources) == 0 {
		sources = []Source{acme()}
	}
	s.SetSources(sources)
	return s
}

// attr encodes one attribute.
func attr(typ byte, value ...byte) []byte { return append([]byte{typ, byte(2 + len(value))}, value...) }

func text(typ byte, value string) []byte { return attr(typ, []byte(value)...) }

func number(typ byte, n uint32) []byte { return attr(typ, binary.BigEndian.AppendUint32(nil, n)...) }

func stamp(at time.Time) []byte { return number(eventTimestamp, uint32(at.Unix())) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// asking describes a request. Its signatures are computed here, by the letter of RFC 5176 sections 2.3 and 3.4, not by the code
// under test.
type asking struct {
	code   byte // 0: 40, a Disconnect-Request
	id     byte
	attrs  []byte // already encoded
	secret string // empty: secret

	signed  bool // has a Message-Authenticator, behind the other attributes
	wrongMA bool
	wrongRA bool
	length  int // added to Length
	padding []byte
}

func disconnect(attrs ...[]byte) asking { return asking{attrs: join(attrs...)} }

func change(attrs ...[]byte) asking { return asking{code: 43, attrs: join(attrs...)} }

func (a asking) build() []byte {
	if a.code == 0 {
		a.code = 40
	}
	if a.secret == "" {
		a.secret = secret
	}
	b := append([]byte{a.code, a.id, 0, 0}, make([]byte, 16)...)
	b = append(b, a.attrs...)
	at := 0
	if a.signed {
		at = len(b) + 2
		b = append(b, attr(macType, make([]byte, 16)...)...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if a.signed {
		h := hmac.New(md5.New, []byte(a.secret))
		h.Write(b)
		copy(b[at:], h.Sum(nil))
		if a.wrongMA {
			b[at] ^= 1
		}
	}
	h := md5.New()
	h.Write(b)
	h.Write([]byte(a.secret))
	copy(b[4:], h.Sum(nil))
	if a.wrongRA {
		b[4] ^= 1
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+a.length))
	return append(b, a.padding...)
}

// answered is a reply, verified.
type answered struct {
	code  byte
	cause uint32 // 0: none
	attrs []byte // without the Message-Authenticator in front, and without the Error-Cause
}

// open verifies a reply to request by the letter of the RFCs.
func open(t testing.TB, request, b []byte, secret string) (a answered) {
	t.Helper()
	const first = 20 + 2 // where the value of the Message-Authenticator begins
	if len(b) < first+16 || len(b) > 4096 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		t.Fatalf("a reply of %d octets: %x", len(b), b)
	}
	if b[1] != request[1] || b[20] != macType || b[21] != 18 {
		t.Fatalf("reply %x to %x: other identifier, or the Message-Authenticator is not the first attribute", b, request)
	}
	b, got := bytes.Clone(b), bytes.Clone(b)
	copy(b[4:20], request[4:20])
	h := md5.New()
	h.Write(b)
	h.Write([]byte(secret))
	if !bytes.Equal(h.Sum(nil), got[4:20]) {
		t.Errorf("the Response Authenticator is wrong")
	}
	clear(b[first : first+16])
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write(b)
	if !bytes.Equal(mac.Sum(nil), got[first:first+16]) {
		t.Errorf("the Message-Authenticator is wrong")
	}
	a = answered{code: b[0], attrs: b[first+16:]}
	if len(a.attrs) >= 6 && a.attrs[0] == errorCause {
		a.cause, a.attrs = binary.BigEndian.Uint32(a.attrs[2:]), a.attrs[6:]
	}
	return a
}

// handle gives a request to s as from UDP, waits until nothing is under way, and returns the reply, nil for silence.
func handle(t testing.TB, s *Server, from string, b []byte) []byte {
	t.Helper()
	return await(t, s, func(reply func([]byte) error) {
		s.receive(b, origin{from: netip.MustParseAddrPort(from)}, reply)
	})
}

func await(t testing.TB, s *Server, give func(reply func([]byte) error)) (got []byte) {
	t.Helper()
	var mu sync.Mutex
	give(func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if got != nil {
			t.Errorf("a second reply: %x", b)
		}
		got = b
		return nil
	})
	s.wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	return got
}
