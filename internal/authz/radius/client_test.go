package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

var accept = answerOf{code: radius.CodeAccessAccept}

// Each reply is followed by a good one: what is dropped must be counted under its reason and must not end the login.
func TestDroppedReplies(t *testing.T) {
	framed := attr(rfc2865.FramedIPAddress_Type, 10, 0, 0, 66)
	for _, tt := range []struct {
		name  string
		reply answerOf
		want  Drop
	}{
		{"wrong identifier", answerOf{code: radius.CodeAccessAccept, id: 1}, DropLate},
		{"shorter than a header", answerOf{code: radius.CodeAccessAccept, cut: 20}, DropTruncated},
		{"empty datagram", answerOf{code: radius.CodeAccessAccept, cut: 38}, DropTruncated},
		{"last octet missing", answerOf{code: radius.CodeAccessAccept, cut: 1}, DropTruncated},
		{"Length below 20", answerOf{code: radius.CodeAccessAccept, length: -19}, DropTruncated},
		{"Length beyond the datagram", answerOf{code: radius.CodeAccessAccept, length: 1}, DropTruncated},
		{"Length of 65535", answerOf{code: radius.CodeAccessAccept, length: 65535 - 38}, DropTruncated},
		{"Access-Request", answerOf{code: radius.CodeAccessRequest}, DropCode},
		{"Accounting-Response", answerOf{code: radius.CodeAccountingResponse}, DropCode},
		{"code 0", answerOf{}, DropCode},
		{"attribute of length 0", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 0}}, DropAttributes},
		{"attribute of length 1", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 1, 2}}, DropAttributes},
		{"attribute beyond the end", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 3}}, DropAttributes},
		{"half an attribute", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8}}, DropAttributes},
		{"two Message-Authenticators", answerOf{code: radius.CodeAccessAccept, macs: 2}, DropManyAuthenticators},
		{"short Message-Authenticator", answerOf{code: radius.CodeAccessAccept, macLen: 15}, DropAuthenticatorLength},
		{"long Message-Authenticator", answerOf{code: radius.CodeAccessAccept, macLen: 17}, DropAuthenticatorLength},
		{"wrong Message-Authenticator", answerOf{code: radius.CodeAccessAccept, wrongMA: true}, DropMessageAuthenticator},
		{"wrong Response Authenticator", answerOf{code: radius.CodeAccessAccept, wrongRA: true}, DropResponseAuthenticator},
		{"other secret", answerOf{code: radius.CodeAccessAccept, secret: "testing124"}, DropResponseAuthenticator},
		{"no Message-Authenticator", answerOf{code: radius.CodeAccessAccept, unsigned: true}, DropNoMessageAuthenticator},
		{"reject without it", answerOf{code: radius.CodeAccessReject, unsigned: true}, DropNoMessageAuthenticator},
		{"reject, other secret", answerOf{code: radius.CodeAccessReject, secret: "x"}, DropResponseAuthenticator},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := answerOf{code: radius.CodeAccessAccept, attrs: framed}
			f := startFake(t, func(q query) { q.send(tt.reply.to(q), good.to(q)) })
			c := start(t, f, nil)
			v := mustAllow(t, c, papRequest())
			if v.Address != netip.MustParseAddr("10.0.0.66") {
				t.Errorf("the verdict %+v is not that of the good reply", v)
			}
			s := c.Stats()
			if s.Drops[tt.want] != 1 || s.Accepts != 1 || s.NoAnswers != 0 {
				t.Errorf("counters %+v, want one drop %s and one accept", s, tt.want)
			}
		})
	}
}

func TestAcceptableForms(t *testing.T) {
	framed := attr(rfc2865.FramedIPAddress_Type, 10, 0, 0, 66)
	longest := join(framed, bytes.Repeat(attr(200, make([]byte, 251)...), 16), attr(200, 0, 0))
	if n := headerLen + 18 + len(longest); n != radius.MaxPacketLength {
		t.Fatalf("the longest packet has %d octets", n)
	}
	for _, tt := range []struct {
		name  string
		reply answerOf
	}{
		{"Message-Authenticator first", answerOf{attrs: framed}},
		{"Message-Authenticator last", answerOf{attrs: framed, macLast: true}},
		{"padding after Length", answerOf{attrs: framed, padding: []byte{0, 1, 2, 3, 80, 18}}},
		{"zero-length attributes", answerOf{attrs: join(attr(18), attr(25), attr(27), attr(26), framed, attr(8))}},
		{"longest packet", answerOf{attrs: longest}},
		{"longest packet and padding", answerOf{attrs: longest, padding: make([]byte, 3000)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.reply.code = radius.CodeAccessAccept
			f := startFake(t, func(q query) { q.send(tt.reply.to(q)) })
			c := start(t, f, nil)
			if v := mustAllow(t, c, papRequest()); v.Address != netip.MustParseAddr("10.0.0.66") {
				t.Errorf("verdict %+v lacks the address", v)
			}
			if s := c.Stats(); s.Drops != [NumDrops]uint64{} {
				t.Errorf("drops %v", s.Drops)
			}
		})
	}
}

func TestMessageAuthenticatorModes(t *testing.T) {
	plain := answerOf{code: radius.CodeAccessAccept, unsigned: true}
	wrong := answerOf{code: radius.CodeAccessAccept, wrongMA: true}
	const timeout = 150 * time.Millisecond
	short := func(mode string) func(*ServerConfig) {
		return func(c *ServerConfig) { c.MessageAuthenticator, c.Timeout, c.Tries = mode, timeout, 2 }
	}

	for _, mode := range []string{"", ModeRequire} {
		t.Run("refused under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			v, err := ask(t, start(t, f, short(mode)), papRequest())
			refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "one (127.0.0.1:", "messageAuthenticator", "AUTO", "3.2.5")
		})
	}
	for _, mode := range []string{ModeAuto, ModeOff} {
		t.Run("taken under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			mustAllow(t, start(t, f, func(c *ServerConfig) { c.MessageAuthenticator = mode }), papRequest())
		})
	}
	t.Run("AUTO demands it once it was seen", func(t *testing.T) {
		f := startFake(t, func(q query) {
			if q.n == 1 {
				q.send(accept.to(q))
			} else {
				q.send(plain.to(q))
			}
		})
		c := start(t, f, short(ModeAuto))
		mustAllow(t, c, papRequest())
		v, err := ask(t, c, papRequest())
		refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "before", "OFF")
	})
	for _, mode := range []string{ModeRequire, ModeAuto, ModeOff} {
		t.Run("a wrong one is dropped under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(wrong.to(q)) })
			c := start(t, f, short(mode))
			v, err := ask(t, c, papRequest())
			refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "wrong Message-Authenticator")
			if s := c.Stats(); s.Drops[DropMessageAuthenticator] != 2 || s.Retransmits != 1 {
				t.Errorf("counters %+v", s)
			}
		})
	}
}

func TestReplyFromAnotherAddress(t *testing.T) {
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	bad := answerOf{code: radius.CodeAccessReject}
	f := startFake(t, func(q query) {
		other.WriteToUDPAddrPort(bad.to(q), q.from) //nolint:errcheck // loopback
		q.send(accept.to(q))
	})
	c := start(t, f, nil)
	mustAllow(t, c, papRequest())
	if s := c.Stats(); s.Rejects != 0 || s.Drops != [NumDrops]uint64{} {
		t.Errorf("the kernel let it through: %+v", s)
	}
}

func TestLateAndDuplicateReplies(t *testing.T) {
	var first []byte
	f := startFake(t, func(q query) {
		switch q.n {
		case 1:
			first = answerOf{code: radius.CodeAccessReject}.to(q)
			q.send(accept.to(q), accept.to(q), accept.to(q))
		case 2: // a reply to the first request comes while the second one waits
			q.send(first, accept.to(q))
		case 3: // and one that has the second's identifier but answers the first
			forged := bytes.Clone(first)
			forged[1] = q.raw[1]
			q.send(forged, accept.to(q))
		}
	})
	c := start(t, f, nil)
	for range 3 {
		mustAllow(t, c, papRequest())
	}
	s := c.Stats()
	if n := s.Drops[DropLate] + s.Drops[DropDuplicate]; n != 3 || s.Drops[DropResponseAuthenticator] != 1 || s.Rejects != 0 {
		t.Errorf("counters %+v, want 3 late or duplicate and 1 for another request", s)
	}
}

func TestRetransmission(t *testing.T) {
	var mu sync.Mutex
	var got []query
	f := startFake(t, func(q query) {
		mu.Lock()
		got = append(got, q)
		mu.Unlock()
		if q.n == 3 {
			q.send(accept.to(q))
		}
	})
	c := start(t, f, func(c *ServerConfig) { c.Timeout = 200 * time.Millisecond })
	mustAllow(t, c, papRequest())
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 3 {
		t.Fatalf("%d datagrams, want 3", len(got))
	}
	for _, q := range got[1:] {
		if !bytes.Equal(q.raw, got[0].raw) || q.from != got[0].from {
			t.Error("a retransmission differs from the first datagram: the server can't tell it is one")
		}
	}
	if s := c.Stats(); s.Requests != 1 || s.Retransmits != 2 || s.InFlight != 0 || s.Sockets != 1 {
		t.Errorf("counters %+v", s)
	}
}

func TestSilence(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 20*time.Millisecond, 2 })
	v, err := ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "one (127.0.0.1:", "2 requests")
	if !errors.Is(err, authz.ErrNoAnswer) {
		t.Errorf("%v does not wrap ErrNoAnswer", err)
	}
	if s := c.Stats(); s.NoAnswers != 1 || s.Retransmits != 1 || s.InFlight != 0 {
		t.Errorf("counters %+v", s)
	}
}

func TestWrongSecretIsHintedAt(t *testing.T) {
	f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessReject, secret: "other"}.to(q)) })
	v, err := ask(t, start(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 250*time.Millisecond, 1 }), papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "secrets probably differ")
}

// A server that restarts answers with ICMP for a while: that must not end a login.
func TestPortUnreachable(t *testing.T) {
	probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := probe.LocalAddr().String()
	noError(t, probe.Close())

	c := start(t, &fake{conn: probe}, func(c *ServerConfig) { c.Timeout, c.Tries = 100*time.Millisecond, 10 })
	type result struct {
		v   authz.Verdict
		err error
	}
	done := make(chan result)
	go func() {
		v, err := c.Authenticate(context.Background(), papRequest())
		done <- result{v, err}
	}()
	for c.Stats().Unreachable == 0 { // until the first datagram has come back
		select {
		case r := <-done:
			t.Fatalf("gave up at the first ICMP error: %+v", r)
		case <-time.After(time.Millisecond):
		}
	}
	startFakeAt(t, at, func(q query) { q.send(accept.to(q)) })
	if r := <-done; r.err != nil || r.v.Deny != "" {
		t.Fatalf("verdict %+v, %v, want an accept once the server is up", r.v, r.err)
	}
}

// The kernel may hand the ICMP error to the next write in place of sending.
func TestSendAfterICMP(t *testing.T) {
	probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	noError(t, probe.Close())
	c := start(t, &fake{conn: probe}, nil)
	conn, err := net.DialUDP("udp", nil, probe.LocalAddr().(*net.UDPAddr)) // nobody reads it, so the error stays
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	x := &exchange{packet: []byte("x"), reply: make(chan reply, 1)}
	newSocket(conn, netip.AddrPort{}).take(x)
	for range 3 {
		if err := c.server.send(x); err != nil {
			t.Fatal(err)
		}
	}
	if c.server.isRetired(x.socket) || !x.unreachable.Load() || c.Stats().Unreachable == 0 || c.Stats().SendErrors != 0 {
		t.Errorf("counters %+v", c.Stats())
	}
}

func TestPortStaysUnreachable(t *testing.T) {
	probe, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	noError(t, probe.Close())
	c := start(t, &fake{conn: probe}, func(c *ServerConfig) { c.Timeout, c.Tries = 20*time.Millisecond, 3 })
	v, err := ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "3 requests", "port is unreachable")
}

func TestSecrets(t *testing.T) {
	f := startFake(t, func(q query) {
		password, err := radius.UserPassword(q.p.Get(rfc2865.UserPassword_Type), []byte("first"), q.raw[4:20])
		if err != nil || string(password) != "wonder-1" {
			t.Errorf("the request is not made with the first secret: %q, %v", password, err)
		}
		name := string(q.p.Get(rfc2865.UserName_Type))
		key, _ := radius.NewTunnelPassword(bytes.Repeat([]byte{7}, 16), []byte{0x80, 1}, []byte(name), q.raw[4:20])
		q.send(answerOf{code: radius.CodeAccessAccept, secret: name, attrs: join(
			ms(msMPPESendKey, key...), ms(msMPPERecvKey, key...))}.to(q))
	})
	c := start(t, f, func(c *ServerConfig) {
		c.Secrets = []tenant.Secret{tenant.Secret("first"), tenant.Secret("second")}
		c.Timeout, c.Tries = 500*time.Millisecond, 1
	})
	for _, name := range []string{"first", "second"} {
		r := papRequest()
		r.User = name
		if v := mustAllow(t, c, r); !bytes.Equal(v.Keys.Send, bytes.Repeat([]byte{7}, 16)) {
			t.Errorf("key signed with the %s secret = %x", name, []byte(v.Keys.Send))
		}
	}
	r := papRequest()
	r.User = "third"
	v, err := ask(t, c, r)
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "secrets probably differ")
}

func TestSourceAddress(t *testing.T) {
	f := startFake(t, func(q query) {
		if q.from.Addr() != netip.MustParseAddr("127.0.0.2") {
			t.Errorf("the request comes from %s", q.from)
		}
		if ip := q.p.Get(rfc2865.NASIPAddress_Type); !bytes.Equal(ip, []byte{127, 0, 0, 2}) {
			t.Errorf("NAS-IP-Address = %v", ip)
		}
		q.send(accept.to(q))
	})
	mustAllow(t, start(t, f, func(c *ServerConfig) { c.SourceAddress = netip.MustParseAddr("127.0.0.2") }), papRequest())
}

func TestIPv6(t *testing.T) {
	if conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0"))); err != nil {
		t.Skip("this machine has no IPv6 on loopback")
	} else {
		noError(t, conn.Close())
	}
	f := startFakeAt(t, "[::1]:0", func(q query) {
		if nas := q.p.Get(95); !bytes.Equal(nas, netip.IPv6Loopback().AsSlice()) {
			t.Errorf("NAS-IPv6-Address = %v", nas)
		}
		q.send(accept.to(q))
	})
	mustAllow(t, start(t, f, func(c *ServerConfig) { c.Address = "::1" }), papRequest())
}

// waitFor waits for the server's goroutines to bring about what cond says.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// 2 sockets give 512 identifiers. Request 513 waits, for its context or for an identifier.
func TestBackPressure(t *testing.T) {
	var mu sync.Mutex
	var held []query
	release := false
	f := startFake(t, func(q query) {
		mu.Lock()
		defer mu.Unlock()
		if release {
			q.send(accept.to(q))
			return
		}
		held = append(held, q)
	})
	f.conn.SetReadBuffer(4 << 20) //nolint:errcheck // the default may do
	c := startEnv(t, f, nil, environment{lookup: lookup, sockets: 2})

	const full = 2 * identifiers
	results := make(chan error, full+1)
	login := func() {
		v, err := c.Authenticate(context.Background(), papRequest())
		if err == nil && v.Deny != "" {
			err = errors.New(v.Detail)
		}
		results <- err
	}
	for range full {
		go login()
	}
	waitFor(t, "all requests arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == full })
	if s := c.Stats(); s.InFlight != full || s.Sockets != 2 {
		t.Fatalf("%d under way on %d sockets, want %d on 2", s.InFlight, s.Sockets, full)
	}
	mu.Lock()
	type key struct {
		from netip.AddrPort
		id   byte
	}
	used := map[key]bool{}
	for _, q := range held {
		used[key{q.from, q.p.Identifier}] = true
	}
	mu.Unlock()
	if len(used) != full {
		t.Fatalf("%d different identifiers, want %d", len(used), full)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	v, err := c.Authenticate(ctx, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "all 512 identifiers are in use")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v hides the cause", err)
	}

	go login() // this one waits for an identifier
	waitFor(t, "one more request", func() bool { return c.Stats().Requests == full+2 })
	mu.Lock()
	release = true
	for _, q := range held {
		q.send(accept.to(q))
	}
	mu.Unlock()
	for range full + 1 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.InFlight != 0 || s.Sockets != 2 {
		t.Errorf("%d under way on %d sockets at the end, want 0 on 2", s.InFlight, s.Sockets)
	}
}

func TestIdentifiersComeBackInOrder(t *testing.T) {
	k := newSocket(nil, netip.AddrPort{})
	var used []*exchange
	for i := range identifiers {
		x := &exchange{}
		k.take(x)
		if int(x.id) != i || k.pending[i] != x {
			t.Fatalf("request %d has identifier %d", i, x.id)
		}
		used = append(used, x)
	}
	if k.unused != 0 {
		t.Fatalf("%d unused", k.unused)
	}
	for _, i := range []int{200, 3, 77} {
		k.put(used[i])
	}
	for _, want := range []byte{200, 3, 77} {
		x := &exchange{}
		k.take(x)
		if x.id != want {
			t.Errorf("identifier %d, want %d: the longest unused one comes first", x.id, want)
		}
	}
}

// Logins must not get each other's answers, whatever is lost and repeated on the way.
func TestManyLoginsOverABadNetwork(t *testing.T) {
	f := startFake(t, func(q query) {
		if q.n%3 == 0 {
			return
		}
		good := answerOf{code: radius.CodeAccessAccept, attrs: attr(rfc2865.ReplyMessage_Type, q.p.Get(rfc2865.UserName_Type)...)}
		bad := good
		bad.wrongRA = true
		q.send(bad.to(q), good.to(q))
		if q.n%5 == 0 {
			q.send(good.to(q))
		}
	})
	f.conn.SetReadBuffer(4 << 20) //nolint:errcheck // the default may do
	c := startEnv(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 150*time.Millisecond, 10 },
		environment{lookup: lookup, sockets: 1})
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			r := papRequest()
			r.User = fmt.Sprintf("user-%d", i)
			v, err := c.Authenticate(context.Background(), r)
			if err != nil || v.Message != r.User {
				t.Errorf("%s got %+v, %v", r.User, v, err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Accepts != 600 || s.InFlight != 0 || s.Sockets != 1 {
		t.Errorf("counters %+v", s)
	}
}

func TestContextEndsALogin(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the peer hung up")
	go func() {
		waitFor(t, "the request is under way", func() bool { return c.Stats().InFlight == 1 })
		cancel(cause)
	}()
	v, err := c.Authenticate(ctx, papRequest())
	if !errors.Is(err, cause) || v.Deny == "" {
		t.Errorf("verdict %+v, %v, want the cause", v, err)
	}
	if s := c.Stats(); s.InFlight != 0 {
		t.Error("the identifier is lost")
	}
}

func TestClose(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, nil)
	done := make(chan error)
	for range 3 {
		go func() {
			v, err := c.Authenticate(context.Background(), papRequest())
			if v.Deny == "" {
				err = errors.New("let in by Close")
			}
			done <- err
		}()
	}
	waitFor(t, "the requests are under way", func() bool { return c.Stats().InFlight == 3 })
	c.Close()
	if s := clientGoroutines(); strings.Contains(s, "(*server).read") {
		t.Errorf("a reader outlives Close:\n%s", s)
	}
	for range 3 {
		if err := <-done; !errors.Is(err, errClosed) || !errors.Is(err, authz.ErrNoAnswer) {
			t.Errorf("error %v, want errClosed", err)
		}
	}
	c.Close()
	if _, err := ask(t, c, papRequest()); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestNameLookup(t *testing.T) {
	good := startFake(t, func(q query) { q.send(accept.to(q)) })
	var mu sync.Mutex
	var found []string // what the name resolves to
	fails := true
	env := environment{sockets: 2, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		if host != "radius.example" {
			t.Errorf("looked up %q", host)
		}
		mu.Lock()
		defer mu.Unlock()
		if fails {
			return nil, errors.New("no such host")
		}
		var out []netip.Addr
		for _, a := range found {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, ctx.Err()
	}}
	c := startEnv(t, good, func(c *ServerConfig) {
		c.Address, c.Timeout, c.Tries = "radius.example", 250*time.Millisecond, 1
		c.SourceAddress = netip.MustParseAddr("127.0.0.1")
	}, env)

	v, err := ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "radius.example", "no such host")

	mu.Lock()
	fails, found = false, []string{"::1"} // of no use with an IPv4 source address
	mu.Unlock()
	v, err = ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "no usable address")

	// The first address has no server, so a login fails; the lookup that follows moves on to the second.
	mu.Lock()
	found = []string{"::1", "127.0.0.9", "::ffff:127.0.0.1"}
	mu.Unlock()
	v, err = ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "127.0.0.9")
	c.server.mu.Lock()
	c.server.lastLookup = time.Time{} // as if the pause between lookups were over
	c.server.mu.Unlock()
	v, err = ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "127.0.0.9")
	waitFor(t, "the address changes", func() bool {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		return c.server.address.Addr() == netip.MustParseAddr("127.0.0.1")
	})
	mustAllow(t, c, papRequest())
	if s := c.Stats(); s.Sockets != 1 {
		t.Errorf("%d sockets, want the one to the new address", s.Sockets)
	}
}

// A socket that can't send any more is replaced within the same login.
func TestBrokenSocketIsReplaced(t *testing.T) {
	f := startFake(t, func(q query) { q.send(accept.to(q)) })
	c := start(t, f, nil)
	mustAllow(t, c, papRequest())
	c.server.mu.Lock()
	broken := c.server.sockets[0]
	c.server.mu.Unlock()
	noError(t, broken.conn.Close())
	mustAllow(t, c, papRequest())
	if s := c.Stats(); s.SendErrors != 1 || s.Sockets != 1 || s.InFlight != 0 || s.Requests != 2 {
		t.Errorf("counters %+v", s)
	}
}

// The same with every identifier taken: moving must not wait for identifiers that only other movers could give back.
func TestFullSocketIsReplaced(t *testing.T) {
	var mu sync.Mutex
	broken, held := false, 0
	f := startFake(t, func(q query) {
		mu.Lock()
		defer mu.Unlock()
		if held++; broken {
			q.send(accept.to(q))
		}
	})
	f.conn.SetReadBuffer(4 << 20) //nolint:errcheck // the default may do
	c := startEnv(t, f, func(c *ServerConfig) { c.Timeout = 500 * time.Millisecond },
		environment{lookup: lookup, sockets: 1})
	results := make(chan error, identifiers)
	for range identifiers {
		go func() {
			v, err := c.Authenticate(context.Background(), papRequest())
			if err == nil && v.Deny != "" {
				err = errors.New(v.Detail)
			}
			results <- err
		}()
	}
	waitFor(t, "all requests arrive", func() bool { mu.Lock(); defer mu.Unlock(); return held >= identifiers })
	mu.Lock()
	broken = true
	mu.Unlock()
	c.server.mu.Lock()
	noError(t, c.server.sockets[0].conn.Close())
	c.server.mu.Unlock()
	for range identifiers {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Sockets != 1 || s.InFlight != 0 {
		t.Errorf("counters %+v", s)
	}
}

func TestWait(t *testing.T) {
	for _, random := range []float64{0, 0.25, 0.5, 0.999999} {
		got := wait(3*time.Second, random)
		if got > 3*time.Second || got < 2400*time.Millisecond {
			t.Errorf("wait(3s, %v) = %s, want 2.4 s to 3 s", random, got)
		}
	}
	if wait(time.Second, 0) == wait(time.Second, 0.5) {
		t.Error("there is no jitter")
	}
}

func TestConfig(t *testing.T) {
	good := ServerConfig{Name: "one", Address: "192.0.2.9", Secrets: []tenant.Secret{tenant.Secret("x")}}
	for _, tt := range []struct {
		name   string
		change func(*ServerConfig)
		want   string // in the error; empty: none
	}{
		{"defaults", func(*ServerConfig) {}, ""},
		{"no address", func(c *ServerConfig) { c.Address = "" }, "address"},
		{"port", func(c *ServerConfig) { c.AuthPort = 65536 }, "authPort"},
		{"negative port", func(c *ServerConfig) { c.AuthPort = -1 }, "authPort"},
		{"negative timeout", func(c *ServerConfig) { c.Timeout = -time.Second }, "timeout"},
		{"timeout", func(c *ServerConfig) { c.Timeout = time.Hour }, "timeout"},
		{"tries", func(c *ServerConfig) { c.Tries = 11 }, "tries"},
		{"negative tries", func(c *ServerConfig) { c.Tries = -1 }, "tries"},
		{"no secret", func(c *ServerConfig) { c.Secrets = nil }, "secrets"},
		{"empty secret", func(c *ServerConfig) { c.Secrets = append(c.Secrets, nil) }, "secrets[1]"},
		{"mode", func(c *ServerConfig) { c.MessageAuthenticator = "MAYBE" }, "messageAuthenticator"},
		{"identifier", func(c *ServerConfig) { c.NASIdentifier = strings.Repeat("x", 254) }, "254"},
		{"families", func(c *ServerConfig) { c.SourceAddress = netip.MustParseAddr("2001:db8::1") }, "sourceAddress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := good
			tt.change(&sc)
			c, err := New(Config{Servers: []ServerConfig{sc}})
			if err == nil {
				c.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
	for _, n := range []int{0, 2} {
		if _, err := New(Config{Servers: make([]ServerConfig, n)}); err == nil {
			t.Errorf("%d servers are taken", n)
		}
	}
	sc, err := good.withDefaults()
	if err != nil || sc.AuthPort != 1812 || sc.Timeout != 3*time.Second || sc.Tries != 3 || sc.MessageAuthenticator != ModeRequire {
		t.Errorf("defaults %+v, %v", sc, err)
	}
}
