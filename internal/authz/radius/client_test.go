package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

var accept = answerOf{code: radius.CodeAccessAccept}

// Each reply is followed by a good one: what is dropped must be counted under its reason and must not end the login.
func TestDroppedReplies(t *testing.T) {
	framed := attr(rfc2865.FramedIPAddress_Type, 10, 0, 0, 66)
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
		{"reject, other secret", answerOf{code: radius.CodeAccessReject, secret: "x"}, packet.DropResponseAuthenticator},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := answerOf{code: radius.CodeAccessAccept, attrs: framed}
			f := startFake(t, func(q query) { q.send(tt.reply.to(q), good.to(q)) })
			c := start(t, f, nil)
			v := mustAllow(t, c, papRequest())
			if v.Address != netip.MustParseAddr("10.0.0.66") {
				t.Errorf("the verdict %+v is not that of the good reply", v)
			}
			s, _ := access(c)
			if s.Drops[tt.want] != 1 || s.Accepts != 1 || s.NoAnswers != 0 {
				t.Errorf("counters %+v, want one drop %s and one accept", s, tt.want)
			}
		})
	}
}

func TestAcceptableForms(t *testing.T) {
	framed := attr(rfc2865.FramedIPAddress_Type, 10, 0, 0, 66)
	longest := join(framed, bytes.Repeat(attr(200, make([]byte, 251)...), 16), attr(200, 0, 0))
	if n := packet.HeaderLen + 18 + len(longest); n != radius.MaxPacketLength {
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
			if s, _ := access(c); s.Drops != [packet.NumDrops]uint64{} {
				t.Errorf("drops %v", s.Drops)
			}
		})
	}
}

func TestMessageAuthenticatorModes(t *testing.T) {
	plain := answerOf{code: radius.CodeAccessAccept, unsigned: true}
	wrong := answerOf{code: radius.CodeAccessAccept, wrongMA: true}
	const timeout = 150 * time.Millisecond
	short := func(mode string) func(*transport.ServerConfig) {
		return func(c *transport.ServerConfig) { c.MessageAuthenticator, c.Timeout, c.Tries = mode, timeout, 2 }
	}

	for _, mode := range []string{"", transport.ModeRequire} {
		t.Run("refused under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			v, err := ask(t, start(t, f, short(mode)), papRequest())
			refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "one (127.0.0.1:", "messageAuthenticator", "AUTO", "3.2.5")
		})
	}
	for _, mode := range []string{transport.ModeAuto, transport.ModeOff} {
		t.Run("taken under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(plain.to(q)) })
			mustAllow(t, start(t, f, func(c *transport.ServerConfig) { c.MessageAuthenticator = mode }), papRequest())
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
		c := start(t, f, short(transport.ModeAuto))
		mustAllow(t, c, papRequest())
		v, err := ask(t, c, papRequest())
		refusedFor(t, v, err, tenant.ReasonRadiusNoMessageAuthenticator, "before", "OFF")
	})
	for _, mode := range []string{transport.ModeRequire, transport.ModeAuto, transport.ModeOff} {
		t.Run("a wrong one is dropped under "+mode, func(t *testing.T) {
			f := startFake(t, func(q query) { q.send(wrong.to(q)) })
			c := start(t, f, short(mode))
			v, err := ask(t, c, papRequest())
			refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "wrong Message-Authenticator")
			if s, _ := access(c); s.Drops[packet.DropMessageAuthenticator] != 2 || s.Retransmits != 1 {
				t.Errorf("counters %+v", s)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, func(c *transport.ServerConfig) { c.Timeout, c.Tries = 20*time.Millisecond, 2 })
	v, err := ask(t, c, papRequest())
	refusedFor(t, v, err, tenant.ReasonRadiusTimeout, "one (127.0.0.1:", "2 requests")
	if !errors.Is(err, authz.ErrNoAnswer) {
		t.Errorf("%v does not wrap ErrNoAnswer", err)
	}
	if s, h := access(c); s.NoAnswers != 1 || s.Retransmits != 1 || h.Outstanding != 0 {
		t.Errorf("counters %+v", s)
	}
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
			ms(16, key...), ms(17, key...))}.to(q))
	})
	c := start(t, f, func(c *transport.ServerConfig) {
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
	mustAllow(t, start(t, f, func(c *transport.ServerConfig) { c.SourceAddress = netip.MustParseAddr("127.0.0.2") }), papRequest())
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
	mustAllow(t, start(t, f, func(c *transport.ServerConfig) { c.Address = "::1" }), papRequest())
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
	c := start(t, f, func(c *transport.ServerConfig) { c.Timeout, c.Tries = 150*time.Millisecond, 10 })
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
	if s, h := access(c); s.Accepts != 600 || h.Outstanding != 0 {
		t.Errorf("counters %+v", s)
	}
}

func TestContextEndsALogin(t *testing.T) {
	f := startFake(t, func(query) {})
	c := start(t, f, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the peer hung up")
	go func() {
		waitFor(t, "the request is under way", func() bool { _, h := access(c); return h.Outstanding == 1 })
		cancel(cause)
	}()
	v, err := c.Authenticate(ctx, papRequest())
	if !errors.Is(err, cause) || v.Deny == "" {
		t.Errorf("verdict %+v, %v, want the cause", v, err)
	}
	if _, h := access(c); h.Outstanding != 0 {
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
	waitFor(t, "the requests are under way", func() bool { _, h := access(c); return h.Outstanding == 3 })
	c.Close()
	for range 3 {
		if err := <-done; !errors.Is(err, transport.ErrClosed) || !errors.Is(err, authz.ErrNoAnswer) {
			t.Errorf("error %v, want transport.ErrClosed", err)
		}
	}
	c.Close()
	if _, err := ask(t, c, papRequest()); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
