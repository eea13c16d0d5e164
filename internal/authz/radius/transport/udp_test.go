package transport

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

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// Each reply is followed by a good one: what is dropped must be counted under its reason and must not end the request.
func TestDroppedReplies(t *testing.T) {
	framed := attr(8, 10, 0, 0, 66)
	for _, tt := range []struct {
		name  string
		reply answerOf
		want  packet.Drop
	}{
		{"wrong identifier", answerOf{code: radius.CodeAccessAccept, id: 1}, packet.DropLate},
		{"shorter than a header", answerOf{code: radius.CodeAccessAccept, cut: 20}, packet.DropTruncated},
		{"empty datagram", answerOf{code: radius.CodeAccessAccept, cut: 38}, packet.DropTruncated},
		{"last octet missing", answerOf{code: radius.CodeAccessAccept, cut: 1}, packet.DropTruncated},
		{"Length below 20", answerOf{code: radius.CodeAccessAccept, length: -19}, packet.DropTruncated},
		{"Length beyond the datagram", answerOf{code: radius.CodeAccessAccept, length: 1}, packet.DropTruncated},
		{"Length of 65535", answerOf{code: radius.CodeAccessAccept, length: 65535 - 38}, packet.DropTruncated},
		{"Access-Request", answerOf{code: radius.CodeAccessRequest}, packet.DropCode},
		{"Accounting-Response", answerOf{code: radius.CodeAccountingResponse}, packet.DropCode},
		{"code 0", answerOf{}, packet.DropCode},
		{"CoA-Request", answerOf{code: radius.CodeCoARequest}, packet.DropCode},
		{"attribute of length 0", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 0}}, packet.DropAttributes},
		{"attribute of length 1", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 1, 2}}, packet.DropAttributes},
		{"attribute beyond the end", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8, 3}}, packet.DropAttributes},
		{"half an attribute", answerOf{code: radius.CodeAccessAccept, attrs: []byte{8}}, packet.DropAttributes},
		{"two Message-Authenticators", answerOf{code: radius.CodeAccessAccept, macs: 2}, packet.DropManyAuthenticators},
		{"short Message-Authenticator", answerOf{code: radius.CodeAccessAccept, macLen: 15}, packet.DropAuthenticatorLength},
		{"long Message-Authenticator", answerOf{code: radius.CodeAccessAccept, macLen: 17}, packet.DropAuthenticatorLength},
		{"wrong Message-Authenticator", answerOf{code: radius.CodeAccessAccept, wrongMA: true}, packet.DropMessageAuthenticator},
		{"wrong Response Authenticator", answerOf{code: radius.CodeAccessAccept, wrongRA: true}, packet.DropResponseAuthenticator},
		{"other secret", answerOf{code: radius.CodeAccessAccept, secret: "testing124"}, packet.DropResponseAuthenticator},
		{"no Message-Authenticator", answerOf{code: radius.CodeAccessAccept, unsigned: true}, packet.DropNoMessageAuthenticator},
		{"reject without it", answerOf{code: radius.CodeAccessReject, unsigned: true}, packet.DropNoMessageAuthenticator},
		{"challenge without it", answerOf{code: radius.CodeAccessChallenge, unsigned: true}, packet.DropNoMessageAuthenticator},
		{"reject, other secret", answerOf{code: radius.CodeAccessReject, secret: "x"}, packet.DropResponseAuthenticator},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(tt.reply.to(q), good(q, framed...)) })
			g := start(t, f, nil)
			if r := mustAnswer(t, g, login("alice")); !bytes.HasSuffix(r.Packet, framed) || !r.Signed || r.Server != "one" {
				t.Errorf("the reply %+v is not the good one", r)
			}
			if s := portStats(g, 0, Access); s.Drops[tt.want] != 1 || s.Accepts != 1 || s.NoAnswers != 0 {
				t.Errorf("counters %+v, want one drop %s and one accept", s, tt.want)
			}
		})
	}
}

func TestDroppedAccountingReplies(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply answerOf
		want  packet.Drop
	}{
		{"Access-Accept", answerOf{code: radius.CodeAccessAccept}, packet.DropCode},
		{"wrong Response Authenticator", answerOf{code: radius.CodeAccountingResponse, wrongRA: true}, packet.DropResponseAuthenticator},
		{"wrong Message-Authenticator", answerOf{code: radius.CodeAccountingResponse, wrongMA: true}, packet.DropMessageAuthenticator},
		{"truncated", answerOf{code: radius.CodeAccountingResponse, cut: 1}, packet.DropTruncated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(tt.reply.to(q), good(q)) })
			g := start(t, f, nil)
			r := mustAnswer(t, g, record("s-1"))
			if r.Packet[0] != 5 || r.Signed {
				t.Errorf("reply %+v", r)
			}
			if s := portStats(g, 0, Accounting); s.Drops[tt.want] != 1 || s.Acknowledged != 1 {
				t.Errorf("counters %+v, want one drop %s", s, tt.want)
			}
		})
	}
}

// What reaches the server: the header, what Build was told, and the signatures by the letter of the RFCs.
func TestRequestOnTheWire(t *testing.T) {
	queries := make(chan query, 2)
	f := startFake(t, func(q query) { queries <- q; q.send(good(q)) })
	g := start(t, f, nil)
	var told Target
	r := login("alice")
	build := r.Build
	r.Build = func(tg Target) (*radius.Packet, error) { told = tg; return build(tg) }
	reply, got := mustAnswer(t, g, r), <-queries
	if got.p.Code != 1 || got.p.Identifier != told.ID || got.p.Authenticator != told.Authenticator || told.Server != "one" ||
		string(told.Secret) != secret || told.LocalAddr != netip.MustParseAddr("127.0.0.1") || told.NASIdentifier != "nas-1" {
		t.Errorf("packet %+v for target %+v", got.p, told)
	}
	if got.raw[20] != 80 || !bytes.Equal(reply.Sent, got.raw) || reply.Authenticator != told.Authenticator ||
		string(reply.Secret) != secret || reply.RTT <= 0 {
		t.Errorf("reply %+v", reply)
	}
	reply, got = mustAnswer(t, g, record("s-1")), <-queries
	if !radius.IsAuthenticRequest(got.raw, []byte(secret)) || got.p.Code != 4 || got.p.Get(80) != nil {
		t.Errorf("accounting request % x", got.raw)
	}
	if !bytes.Equal(reply.Authenticator[:], got.raw[4:20]) {
		t.Error("the reply does not tell the authenticator that was sent")
	}
}

func TestMessageAuthenticatorModes(t *testing.T) {
	plain := answerOf{code: radius.CodeAccessAccept, unsigned: true}
	short := func(mode string) func(*ServerConfig) {
		return func(c *ServerConfig) { c.MessageAuthenticator, c.Timeout, c.Tries = mode, 300*time.Millisecond, 2 }
	}
	for _, mode := range []string{"", ModeRequire} {
		t.Run("refused under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			mustFail(t, start(t, f, short(mode)), login("alice"), tenant.ReasonRadiusNoMessageAuthenticator,
				"one (127.0.0.1:", "messageAuthenticator", "AUTO", "3.2.5")
		})
	}
	for _, mode := range []string{ModeAuto, ModeOff} {
		t.Run("taken under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			if r := mustAnswer(t, start(t, f, short(mode)), login("alice")); r.Signed {
				t.Error("an unsigned reply is told as signed")
			}
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
		sc := serverAt(f)
		short(ModeAuto)(&sc)
		g := startGroup(t, sc)
		mustAnswer(t, g, login("alice"))
		mustFail(t, g, login("alice"), tenant.ReasonRadiusNoMessageAuthenticator, "before", "OFF")
		for _, sc.MessageAuthenticator = range []string{ModeOff, ModeAuto} { // the operator decides anew
			noError(t, g.Update(Config{Servers: []ServerConfig{sc}, Log: quiet}))
			mustAnswer(t, g, login("alice"))
		}
	})
	for _, mode := range []string{ModeRequire, ModeAuto, ModeOff} {
		t.Run("a wrong one is dropped under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessAccept, wrongMA: true}.to(q)) })
			g := start(t, f, short(mode))
			mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "wrong Message-Authenticator")
			if s := portStats(g, 0, Access); s.Drops[packet.DropMessageAuthenticator] != 2 || s.Retransmits != 1 {
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
	f := startFake(t, func(q query) {
		other.WriteToUDPAddrPort(reject.to(q), q.from) //nolint:errcheck // loopback
		q.send(accept.to(q))
	})
	g := start(t, f, nil)
	mustAnswer(t, g, login("alice"))
	if s := portStats(g, 0, Access); s.Rejects != 0 || s.Drops != [packet.NumDrops]uint64{} {
		t.Errorf("the kernel let it through: %+v", s)
	}
}

func TestLateAndDuplicateReplies(t *testing.T) {
	var first []byte
	f := startFake(t, func(q query) {
		switch q.n {
		case 1:
			first = reject.to(q)
			q.send(accept.to(q), accept.to(q), accept.to(q))
		case 2: // a reply to the first request comes while the second one waits
			q.send(first, accept.to(q))
		case 3: // and one that has the third's identifier but answers the first
			forged := bytes.Clone(first)
			forged[1] = q.raw[1]
			q.send(forged, accept.to(q))
		}
	})
	g := start(t, f, nil)
	for range 3 {
		mustAnswer(t, g, login("alice"))
	}
	s := portStats(g, 0, Access)
	if n := s.Drops[packet.DropLate] + s.Drops[packet.DropDuplicate]; n != 3 ||
		s.Drops[packet.DropResponseAuthenticator] != 1 || s.Rejects != 0 {
		t.Errorf("counters %+v, want 3 late or duplicate and 1 for another request", s)
	}
}

func TestRetransmission(t *testing.T) {
	for _, r := range []Request{login("alice"), record("s-1")} {
		t.Run(r.Purpose.String(), func(t *testing.T) {
			var mu sync.Mutex
			var got []query
			f := startFake(t, func(q query) {
				mu.Lock()
				got = append(got, q)
				mu.Unlock()
				if q.n == 3 {
					q.send(good(q))
				}
			})
			g := start(t, f, func(c *ServerConfig) { c.Timeout = 400 * time.Millisecond })
			mustAnswer(t, g, r)
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
			h := g.Health()[0]
			if s := portStats(g, 0, r.Purpose); s.Requests != 1 || s.Retransmits != 2 || h.Outstanding != 0 || h.Sockets != 1 ||
				h.RTT != 0 {
				t.Errorf("health %+v", h)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	g := start(t, silent(t), func(c *ServerConfig) { c.Timeout, c.Tries = 20*time.Millisecond, 2 })
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "one (127.0.0.1:", "2 requests", "nothing came back")
	if s := portStats(g, 0, Access); s.NoAnswers != 1 || s.Retransmits != 1 || g.Health()[0].Outstanding != 0 {
		t.Errorf("counters %+v", s)
	}
}

func TestWrongSecretIsHintedAt(t *testing.T) {
	f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessReject, secret: "other"}.to(q)) })
	g := start(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 250*time.Millisecond, 1 })
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "secrets probably differ")
}

// closedPort returns a fake whose port is closed.
func closedPort(t *testing.T) *fake {
	f := silent(t)
	f.stop()
	return f
}

// A server that restarts answers with ICMP for a while: that must not end a request.
func TestPortUnreachable(t *testing.T) {
	f := closedPort(t)
	g := start(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 100*time.Millisecond, 10 })
	done := make(chan error)
	go func() {
		_, err := g.Exchange(context.Background(), login("alice"))
		done <- err
	}()
	for portStats(g, 0, Access).Unreachable == 0 { // until the first datagram has come back
		select {
		case err := <-done:
			t.Fatalf("gave up at the first ICMP error: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	startFakeAt(t, f.addr(), func(q query) { q.send(accept.to(q)) })
	noError(t, <-done)
}

// The kernel may hand the ICMP error to the next write in place of sending.
func TestSendAfterICMP(t *testing.T) {
	f := closedPort(t)
	g := start(t, f, nil)
	raw, err := net.DialUDP("udp", nil, f.conn.LocalAddr().(*net.UDPAddr)) // nobody reads it, so the error stays
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	p := g.servers[0].ports[Access]
	x := &exchange{packet: []byte("x"), conn: newConn(p, raw, netip.AddrPort{})}
	for range 3 {
		if err := p.send(x); err != nil {
			t.Fatal(err)
		}
	}
	if s := portStats(g, 0, Access); x.conn.retired || !x.unreachable.Load() || s.Unreachable == 0 || s.SendErrors != 0 {
		t.Errorf("counters %+v", s)
	}
}

func TestPortStaysUnreachable(t *testing.T) {
	g := start(t, closedPort(t), func(c *ServerConfig) { c.Timeout, c.Tries = 20*time.Millisecond, 3 })
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "3 requests", "port is unreachable")
}

func TestSecrets(t *testing.T) {
	f := startFake(t, func(q query) {
		q.send(answerOf{code: radius.CodeAccessAccept, secret: string(q.p.Get(1))}.to(q))
	})
	g := start(t, f, func(c *ServerConfig) {
		c.Secrets = []tenant.Secret{tenant.Secret("first"), tenant.Secret("second")}
		c.Timeout, c.Tries = 500*time.Millisecond, 1
	})
	for _, name := range []string{"first", "second"} {
		r := login(name)
		build := r.Build
		r.Build = func(tg Target) (*radius.Packet, error) {
			if string(tg.Secret) != "first" {
				t.Errorf("the request is made with %q, not the first secret", []byte(tg.Secret))
			}
			return build(tg)
		}
		if got := mustAnswer(t, g, r); string(got.Secret) != name {
			t.Errorf("secret %q, want %q", []byte(got.Secret), name)
		}
	}
	mustFail(t, g, login("third"), tenant.ReasonRadiusTimeout, "secrets probably differ")
}

func TestSource(t *testing.T) {
	f := startFake(t, func(q query) {
		if q.from.Addr() != netip.MustParseAddr("127.0.0.2") || !bytes.Equal(q.p.Get(4), []byte{127, 0, 0, 2}) {
			t.Errorf("the request comes from %s and says % x", q.from, q.p.Get(4))
		}
		q.send(accept.to(q))
	})
	mustAnswer(t, start(t, f, func(c *ServerConfig) { c.SourceAddress = netip.MustParseAddr("127.0.0.2") }), login("alice"))
}

func TestIPv6(t *testing.T) {
	if conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0"))); err != nil {
		t.Skip("this machine has no IPv6 on loopback")
	} else {
		noError(t, conn.Close())
	}
	f := startFakeAt(t, "[::1]:0", func(q query) { q.send(good(q)) })
	g := start(t, f, func(c *ServerConfig) { c.Address = "::1" })
	mustAnswer(t, g, login("alice"))
	mustAnswer(t, g, record("s-1"))
}

func TestInterfaceAndNamespace(t *testing.T) {
	f := startFake(t, func(q query) { q.send(good(q)) })
	if g := start(t, f, func(c *ServerConfig) { c.SourceInterface = "lo" }); true {
		_, err := ask(t, g, login("alice"))
		if err != nil && strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("sockets can't be bound to devices here")
		}
		noError(t, err)
	}
	g := start(t, f, func(c *ServerConfig) { c.SourceInterface, c.Timeout = "none-such", 20*time.Millisecond })
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "nothing could be sent to one", "none-such")
	g = start(t, f, func(c *ServerConfig) { c.Namespace = "blue" })
	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "nothing could be sent to one", "blue")

	dialled := make(chan Dial, 1)
	sc := serverAt(f)
	sc.SourceAddress, sc.SourceInterface, sc.Namespace = netip.MustParseAddr("127.0.0.1"), "eth7", "blue"
	g, err := New(Config{Servers: []ServerConfig{sc}, Log: quiet, Dial: func(ctx context.Context, d Dial) (net.Conn, error) {
		dialled <- d
		return DialHost(ctx, Dial{Network: d.Network, Remote: d.Remote})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	mustAnswer(t, g, login("alice"))
	want := Dial{
		Network: "udp", Remote: netip.MustParseAddrPort(f.addr()), Source: sc.SourceAddress, Interface: "eth7", Namespace: "blue",
	}
	if got := <-dialled; got != want {
		t.Errorf("dialled %+v, want %+v", got, want)
	}
}

// counting is a slow server that checks that no identifier is in use twice.
type counting struct {
	mu       sync.Mutex
	open     map[string]bool
	most     int
	clashes  int
	received int
}

func (c *counting) begin(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key] {
		c.clashes++
	}
	c.open[key] = true
	c.received++
	c.most = max(c.most, len(c.open))
}

// result says how many clashes there were, how many requests in all, and how many at once.
func (c *counting) result() (clashes, received, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clashes, c.received, c.most
}

func (c *counting) end(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, key)
}

// 1000 requests at once, one server that takes 200 ms for each: all are answered, each by its own answer, never more than
// MaxOutstanding are under way, and no identifier is used twice at a time.
func TestManyAtASlowServer(t *testing.T) {
	for _, limit := range []int{100, 256, 2048} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			c := counting{open: map[string]bool{}}
			f := startFake(t, func(q query) {
				key := fmt.Sprintf("%s %d", q.from, q.p.Identifier)
				c.begin(key)
				time.AfterFunc(200*time.Millisecond, func() {
					c.end(key)
					q.send(good(q, attr(18, q.p.Get(1)...)...))
				})
			})
			g := start(t, f, func(sc *ServerConfig) { sc.MaxOutstanding = limit })
			const n = 1000
			var wg sync.WaitGroup
			begun := time.Now()
			for i := range n {
				wg.Go(func() {
					user := fmt.Sprintf("user-%d", i)
					r, err := g.Exchange(context.Background(), login(user))
					if err != nil || !bytes.HasSuffix(r.Packet, attr(18, []byte(user)...)) {
						t.Errorf("%s got % x, %v", user, r.Packet, err)
					}
				})
			}
			wg.Wait()
			h := g.Health()[0]
			clashes, received, most := c.result()
			if clashes != 0 || received != n || most > limit || most < min(limit, n)/2 {
				t.Errorf("%d clashes, %d datagrams, %d at once", clashes, received, most)
			}
			if h.Outstanding != 0 || h.Waiting != 0 || h.Sockets != (most+255)/256 {
				t.Errorf("health %+v", h)
			}
			t.Logf("%d requests, %d at once, took %s", n, most, time.Since(begun))
		})
	}
}

// A request beyond MaxOutstanding waits, for its context or for a place; accounting has places of its own.
func TestBackPressure(t *testing.T) {
	var mu sync.Mutex
	var held []query
	release := false
	f := startFake(t, func(q query) {
		mu.Lock()
		defer mu.Unlock()
		if release || q.p.Code == radius.CodeAccountingRequest {
			q.send(good(q))
			return
		}
		held = append(held, q)
	})
	const full = 300
	g := start(t, f, func(c *ServerConfig) { c.MaxOutstanding = full })
	results := make(chan error, full+1)
	exchange := func() {
		_, err := g.Exchange(context.Background(), login("alice"))
		results <- err
	}
	for range full {
		go exchange()
	}
	waitFor(t, "all requests arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == full })
	if h := g.Health()[0]; h.Outstanding != full || h.Sockets != 2 {
		t.Fatalf("%d under way on %d sockets, want %d on 2", h.Outstanding, h.Sockets, full)
	}
	mustAnswer(t, g, record("s-1"))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := g.Exchange(ctx, login("alice"))
	if err == nil || !strings.Contains(err.Error(), "maxOutstanding 300") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want one that names the limit and the cause", err)
	}
	if stateOf(g, 0) == Dead {
		t.Error("a full server is taken for dead")
	}

	go exchange() // this one waits for a place
	waitFor(t, "one more request waits", func() bool { return g.Health()[0].Waiting == 1 })
	mu.Lock()
	release = true
	for _, q := range held {
		q.send(accept.to(q))
	}
	mu.Unlock()
	for range full + 1 {
		noError(t, <-results)
	}
	if h := g.Health()[0]; h.Outstanding != 0 || h.Waiting != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestIdentifiersComeBackInOrder(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	k := newConn(nil, a, netip.AddrPort{})
	for i := range identifiers {
		if id := k.take(); int(id) != i {
			t.Fatalf("request %d has identifier %d", i, id)
		}
	}
	if k.unused != 0 {
		t.Fatalf("%d unused", k.unused)
	}
	for _, id := range []byte{200, 3, 77} {
		k.put(id)
	}
	for _, want := range []byte{200, 3, 77} {
		if id := k.take(); id != want {
			t.Errorf("identifier %d, want %d: the longest unused one comes first", id, want)
		}
	}
}

// Requests must not get each other's answers, whatever is lost and repeated on the way.
func TestManyOverABadNetwork(t *testing.T) {
	f := startFake(t, func(q query) {
		if q.n%3 == 0 {
			return
		}
		right := answerOf{code: radius.CodeAccessAccept, attrs: attr(18, q.p.Get(1)...)}
		bad := right
		bad.wrongRA = true
		q.send(bad.to(q), right.to(q))
		if q.n%5 == 0 {
			q.send(right.to(q))
		}
	})
	g := start(t, f, func(c *ServerConfig) { c.Timeout, c.Tries = 150*time.Millisecond, 10 })
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			user := fmt.Sprintf("user-%d", i)
			r, err := g.Exchange(context.Background(), login(user))
			if err != nil || !bytes.HasSuffix(r.Packet, attr(18, []byte(user)...)) {
				t.Errorf("%s got % x, %v", user, r.Packet, err)
			}
		})
	}
	wg.Wait()
	if s := portStats(g, 0, Access); s.Accepts != 600 || g.Health()[0].Outstanding != 0 || g.Health()[0].Sockets != 1 {
		t.Errorf("counters %+v", s)
	}
}

func TestContextEndsARequest(t *testing.T) {
	g := start(t, silent(t), nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the peer hung up")
	go func() {
		waitFor(t, "the request is under way", func() bool { return g.Health()[0].Outstanding == 1 })
		cancel(cause)
	}()
	if _, err := g.Exchange(ctx, login("alice")); !errors.Is(err, cause) {
		t.Errorf("%v, want the cause", err)
	}
	if h := g.Health()[0]; h.Outstanding != 0 || h.State == Dead {
		t.Errorf("health %+v", h)
	}
}

func TestBuildFails(t *testing.T) {
	f := startFake(t, func(q query) { q.send(good(q)) })
	two := serverAt(f)
	two.Name = "two"
	g := startGroup(t, serverAt(f), two)
	cause := errors.New("no such attribute")
	calls := 0
	r := login("alice")
	r.Build = func(Target) (*radius.Packet, error) { calls++; return nil, cause }
	if _, err := ask(t, g, r); !errors.Is(err, cause) || calls != 1 {
		t.Errorf("%v after %d calls, want the cause after one", err, calls)
	}
	r.Build = func(Target) (*radius.Packet, error) {
		m := &radius.Packet{}
		m.Add(80, make([]byte, 16))
		return m, nil
	}
	if _, err := ask(t, g, r); !errors.Is(err, packet.ErrSigned) {
		t.Errorf("%v, want ErrSigned", err)
	}
	r.Build = func(Target) (*radius.Packet, error) { return nil, nil }
	mustFail(t, g, r, tenant.ReasonRadiusTimeout, "no packet")
	if h := g.Health()[0]; h.Outstanding != 0 || h.State == Dead {
		t.Errorf("health %+v", h)
	}
	mustAnswer(t, g, login("alice"))
}

func TestClose(t *testing.T) {
	g := start(t, silent(t), nil)
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := g.Exchange(context.Background(), login("alice"))
			done <- err
		}()
	}
	waitFor(t, "the requests are under way", func() bool { return g.Health()[0].Outstanding == 3 })
	g.Close()
	if s := goroutines(); strings.Contains(s, ").read") {
		t.Errorf("a reader outlives Close:\n%s", s)
	}
	for range 3 {
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	}
	g.Close()
	if _, err := ask(t, g, login("alice")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := g.Update(Config{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}

// A socket that can't send any more is replaced within the same request.
func TestBrokenSocketIsReplaced(t *testing.T) {
	f := startFake(t, func(q query) { q.send(accept.to(q)) })
	g := start(t, f, nil)
	mustAnswer(t, g, login("alice"))
	p := g.servers[0].ports[Access]
	p.mu.Lock()
	noError(t, p.conns[0].net.Close())
	p.mu.Unlock()
	mustAnswer(t, g, login("alice"))
	if h := g.Health()[0]; h.Sockets != 1 || h.Outstanding != 0 || h.State != Alive {
		t.Errorf("health %+v", h)
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
	g := start(t, f, nil)
	results := make(chan error, identifiers)
	for range identifiers {
		go func() {
			_, err := g.Exchange(context.Background(), login("alice"))
			results <- err
		}()
	}
	waitFor(t, "all requests arrive", func() bool { mu.Lock(); defer mu.Unlock(); return held >= identifiers })
	mu.Lock()
	broken = true
	mu.Unlock()
	p := g.servers[0].ports[Access]
	p.mu.Lock()
	noError(t, p.conns[0].net.Close())
	p.mu.Unlock()
	for range identifiers {
		noError(t, <-results)
	}
	if h := g.Health()[0]; h.Sockets != 1 || h.Outstanding != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestNameLookup(t *testing.T) {
	f := startFake(t, func(q query) { q.send(accept.to(q)) })
	var mu sync.Mutex
	var found []string // what the name resolves to
	lookup := func(ctx context.Context, host string) ([]netip.Addr, error) {
		if host != "radius.example" {
			t.Errorf("looked up %q", host)
		}
		mu.Lock()
		defer mu.Unlock()
		var out []netip.Addr
		for _, a := range found {
			out = append(out, netip.MustParseAddr(a))
		}
		if out == nil {
			return nil, errors.New("no such host")
		}
		return out, ctx.Err()
	}
	set := func(a ...string) { mu.Lock(); found = a; mu.Unlock() }
	sc := serverAt(f)
	sc.Address, sc.Timeout, sc.Tries, sc.SourceAddress = "radius.example", 250*time.Millisecond, 1, netip.MustParseAddr("127.0.0.1")
	g, err := newGroup(Config{Servers: []ServerConfig{sc}, Log: quiet}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)

	mustFail(t, g, login("alice"), tenant.ReasonRadiusTimeout, "radius.example", "no such host")
	set("::1") // of no use with an IPv4 source address
	waitFor(t, "the pause is over", func() bool {
		_, err := ask(t, g, login("alice"))
		return strings.Contains(err.Error(), "no usable address")
	})
	// The first address has no server, so a request fails; the lookup that follows moves on to the second.
	set("::1", "127.0.0.9", "::ffff:127.0.0.1")
	waitFor(t, "the second address is used", func() bool {
		_, err := ask(t, g, login("alice"))
		if err != nil && !strings.Contains(err.Error(), "no usable address") && !strings.Contains(err.Error(), "127.0.0.9") {
			t.Fatal(err)
		}
		return err == nil
	})
	h := g.Health()[0]
	if h.Sockets != 1 || h.Ports[0].Address != f.addr() || h.State != Alive {
		t.Errorf("health %+v, want one socket to the second address", h)
	}

	set() // the name can't be looked up, when a socket is needed again
	p := g.servers[0].ports[Access]
	p.mu.Lock()
	noError(t, p.conns[0].net.Close())
	p.mu.Unlock()
	mustAnswer(t, g, login("alice"))
	if h := g.Health()[0]; h.Ports[0].Address != f.addr() || !strings.Contains(h.LastError, "no such host") {
		t.Errorf("health %+v", h)
	}
}
