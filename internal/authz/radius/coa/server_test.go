package coa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/tenant"
)

const here = "127.0.0.1:1645"

func TestAnswers(t *testing.T) {
	session := func(id string) []byte { return text(acctSessionID, id) }
	timeout := number(sessionTimeout, 3600)
	alice, bob := text(userName, "alice"), text(userName, "bob")
	for _, tt := range []struct {
		name  string
		ask   asking
		cause Cause // 0: an ACK
		did   []string
	}{
		{"by Acct-Session-Id", disconnect(session("s-1")), 0, []string{"disconnect s-1"}},
		{"by User-Name, all", disconnect(alice), 0, []string{"disconnect s-1", "disconnect s-2"}},
		{"by User-Name, one", disconnect(bob), 0, []string{"disconnect s-3"}},
		{"by User-Name and Framed-IP-Address", disconnect(alice, attr(framedIPAddress, 10, 9, 0, 2)), 0, []string{"disconnect s-2"}},
		{"by Calling-Station-Id", disconnect(text(callingStationID, "198.51.100.1")), 0, []string{"disconnect s-1"}},
		{
			"by Calling-Station-Id, another spelling", disconnect(text(callingStationID, "2001:DB8:0::3")), 0,
			[]string{"disconnect s-3"},
		},
		{"by NAS-Port", disconnect(number(nasPort, 2)), 0, []string{"disconnect s-2"}},
		{"signed", asking{attrs: session("s-1"), signed: true}, 0, []string{"disconnect s-1"}},
		{"padded", asking{attrs: session("s-1"), padding: []byte{0, 0, 0}}, 0, []string{"disconnect s-1"}},
		{"with Class for the Stop", disconnect(session("s-1"), text(class, "x")), 0, []string{"change s-1 class=x", "disconnect s-1"}},
		{
			"NAS right", disconnect(session("s-1"), text(nasIdentifier, "nas-1"), attr(nasIPAddress, 192, 0, 2, 1)), 0,
			[]string{"disconnect s-1"},
		},
		{"Framed", change(session("s-1"), number(serviceType, 2), timeout), 0, []string{"change s-1 timeout=1h0m0s"}},
		{
			"several changes", change(session("s-1"), timeout, text(filterID, "guests"), text(class, "x")), 0,
			[]string{"change s-1 timeout=1h0m0s acl=guests class=x"},
		},

		{"unknown attribute", disconnect(session("s-1"), text(92, "x")), UnsupportedAttribute, nil},
		{"a change in a Disconnect-Request", disconnect(session("s-1"), timeout), UnsupportedAttribute, nil},
		{"no session key", disconnect(), MissingAttribute, nil},
		{"Class is no key", disconnect(text(class, "gold")), MissingAttribute, nil},
		{"nothing to change", change(session("s-1")), MissingAttribute, nil},
		{"NAS-Identifier of another", disconnect(session("s-1"), text(nasIdentifier, "nas-2")), NASMismatch, nil},
		{"NAS-IP-Address of another", disconnect(session("s-1"), attr(nasIPAddress, 192, 0, 2, 2)), NASMismatch, nil},
		{
			"one NAS-IP-Address of two", disconnect(session("s-1"), attr(nasIPAddress, 192, 0, 2, 1), attr(nasIPAddress, 1, 2, 3, 4)),
			NASMismatch, nil,
		},
		{"NAS-IP-Address too short", disconnect(session("s-1"), attr(nasIPAddress, 192, 0, 2)), InvalidRequest, nil},
		{"NAS-IPv6-Address too short", disconnect(session("s-1"), attr(nasIPv6Address, 192, 0, 2, 1)), InvalidRequest, nil},
		{"Session-Timeout too short", change(session("s-1"), attr(sessionTimeout, 1)), InvalidRequest, nil},
		{"Service-Type too long", change(session("s-1"), attr(serviceType, 0, 0, 0, 0, 2), timeout), InvalidRequest, nil},
		{"Authorize Only", change(session("s-1"), number(serviceType, 17), text(state, "x")), UnsupportedService, nil},
		{"ACL is not there", change(session("s-1"), text(filterID, "none")), InvalidValue, nil},
		{"no such session", disconnect(session("s-9")), NotFound, nil},
		{"one key is wrong", disconnect(session("s-1"), bob), NotFound, nil},
		{"another tenant's session", disconnect(session("u-1")), NotFound, nil},
		{"it ended meanwhile", change(session("s-3"), text(filterID, "gone")), NotFound, nil},
		{"it can't be ended", disconnect(session("s-3")), NotRemovable, nil},
		{"the host has no idea", change(session("s-3"), timeout), Resources, nil},
		{"several to change", change(alice, timeout), MultipleSessions, nil},
		{"several to end, but nobody's", disconnect(text(calledStationID, "192.0.2.1")), MultipleSessions, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := aHost()
			h.fail = map[string]error{
				"change s-1 acl=none":       &Refusal{Cause: InvalidValue, Detail: "there is no ACL none"},
				"change s-3 acl=gone":       fmt.Errorf("change: %w", ErrNotFound),
				"change s-3 timeout=1h0m0s": errors.New("shard 3 is full"),
			}
			if tt.cause == NotRemovable {
				h.fail["disconnect s-3"] = fmt.Errorf("end: %w", &Refusal{Cause: NotRemovable, Detail: "no"})
			}
			s := start(t, h, func(c *Config) {
				c.NASIdentifier = "nas-1"
				c.NASAddresses = func() []netip.Addr {
					return []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
				}
			})
			request := tt.ask.build()
			b := handle(t, s, here, request)
			if b == nil {
				t.Fatalf("silence; drops %v", s.Stats().Drops)
			}
			got := open(t, request, b, secret)
			want := answered{code: request[0] + 1, attrs: []byte{}}
			if tt.cause != 0 {
				want = answered{code: request[0] + 2, cause: uint32(tt.cause), attrs: []byte{}}
			}
			if tt.name == "Authorize Only" { // RFC 5176 section 3.2 wants its State back
				want.attrs = text(state, "x")
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if did := h.did(); !slices.Equal(did, tt.did) {
				t.Errorf("did %q, want %q", did, tt.did)
			}
			stats := s.Stats()
			if stats.Disconnects+stats.Changes != 1 || stats.ACKs+stats.NAKs[tt.cause] != 1 || stats.Pending != 0 {
				t.Errorf("counters %+v", stats)
			}
		})
	}
}

// TestDisconnectOfAllGoesOn: an error of one session keeps nobody else's session alive, and the NAK tells of it.
func TestDisconnectOfAllGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		cause uint32
	}{
		{"it ended meanwhile", ErrNotFound, 0},
		{"it can't be ended", errors.New("no"), uint32(Resources)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := aHost()
			h.fail = map[string]error{"disconnect s-1": tt.err}
			s := start(t, h, nil)
			request := disconnect(text(userName, "alice")).build()
			if got := open(t, request, handle(t, s, here, request), secret); got.cause != tt.cause {
				t.Errorf("got %+v, want Error-Cause %d", got, tt.cause)
			}
			if did := h.did(); !slices.Equal(did, []string{"disconnect s-2"}) {
				t.Errorf("did %q", did)
			}
		})
	}
}

// TestDrops: what is not genuine, or not of now, has no answer and no effect, and the true request has both.
func TestDrops(t *testing.T) {
	key := text(acctSessionID, "s-1")
	forged := disconnect(key).build()
	forged[len(forged)-1] = '2' // another session
	for _, tt := range []struct {
		name string
		b    []byte
		from string
		want Drop
	}{
		{"empty", nil, here, DropTruncated},
		{"a header less an octet", disconnect(key).build()[:19], here, DropTruncated},
		{"Length beyond the datagram", asking{attrs: key, length: 1}.build(), here, DropTruncated},
		{"Length below the header", asking{length: -1}.build(), here, DropTruncated},
		{"Access-Request", asking{code: 1, attrs: key}.build(), here, DropCode},
		{"Disconnect-ACK", asking{code: 41, attrs: key}.build(), here, DropCode},
		{"Status-Server", asking{code: 12, attrs: key}.build(), here, DropCode},
		{"foreign source", disconnect(key).build(), "192.0.2.77:1645", DropSource},
		{"foreign source, IPv6", disconnect(key).build(), "[2001:db8::1]:1645", DropSource},
		{"another secret", asking{attrs: key, secret: "testing124"}.build(), here, DropAuthenticator},
		{"no Request Authenticator", asking{attrs: key, wrongRA: true}.build(), here, DropAuthenticator},
		{"forged attribute", forged, here, DropAuthenticator},
		{"forged Message-Authenticator", asking{attrs: key, signed: true, wrongMA: true}.build(), here, DropMessageAuthenticator},
		{"two Message-Authenticators", asking{attrs: attr(macType, make([]byte, 16)...), signed: true}.build(), here, DropAttributes},
		{"short Message-Authenticator", disconnect(key, attr(macType, 1, 2, 3)).build(), here, DropAttributes},
		{"attribute of length 0", disconnect(key, []byte{userName, 0}).build(), here, DropAttributes},
		{"attribute of length 1", disconnect(key, []byte{userName, 1}).build(), here, DropAttributes},
		{"attribute beyond the end", disconnect(key, []byte{userName, 9, 'a'}).build(), here, DropAttributes},
		{"half an attribute header", disconnect(key, []byte{userName}).build(), here, DropAttributes},
		{"old", disconnect(key, stamp(time.Now().Add(-302*time.Second))).build(), here, DropTimestamp},
		{"of the future", disconnect(key, stamp(time.Now().Add(303*time.Second))).build(), here, DropTimestamp},
		{"one timestamp of two is old", disconnect(key, stamp(time.Now()), number(eventTimestamp, 0)).build(), here, DropTimestamp},
		{"short timestamp", disconnect(key, attr(eventTimestamp, 1, 2, 3)).build(), here, DropTimestamp},
		{"too much Proxy-State", disconnect(key, bytes.Repeat(attr(proxyState, make([]byte, 253)...), 15),
			attr(proxyState, make([]byte, 226)...)).build(), here, DropReplyLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := aHost()
			s := start(t, h, nil)
			if b := handle(t, s, tt.from, tt.b); b != nil {
				t.Errorf("answered with %x", b)
			}
			var want [NumDrops]uint64
			want[tt.want] = 1
			if got := s.Stats(); got.Drops != want || got.Disconnects != 0 {
				t.Errorf("counters %+v, want one drop %s", got, tt.want)
			}
			if h.asked != 0 || h.did() != nil {
				t.Error("it had an effect")
			}
			request := disconnect(key, stamp(time.Now())).build()
			if got := open(t, request, handle(t, s, here, request), secret); got.code != 41 {
				t.Errorf("the true request got %+v", got)
			}
		})
	}
}

func TestTimestampRequired(t *testing.T) {
	h := aHost()
	s := start(t, h, func(c *Config) { c.RequireTimestamp = true })
	key := text(acctSessionID, "s-1")
	if b := handle(t, s, here, disconnect(key).build()); b != nil || s.Stats().Drops[DropNoTimestamp] != 1 {
		t.Errorf("answered with %x, counters %+v", b, s.Stats())
	}
	if b := handle(t, s, here, disconnect(key, stamp(time.Now())).build()); b == nil || len(h.did()) != 1 {
		t.Error("silence for a request with a timestamp")
	}
}

// TestEcho: Proxy-State and State come back in order, in ACK and NAK, up to the longest reply that there is.
func TestEcho(t *testing.T) {
	full := join(bytes.Repeat(attr(proxyState, make([]byte, 253)...), 15), attr(proxyState, make([]byte, 225)...))
	for _, tt := range []struct {
		name    string
		attrs   []byte
		echo    []byte
		session string
	}{
		{
			"ACK", join(text(proxyState, "a"), text(state, "s"), text(proxyState, ""), text(proxyState, "b")),
			join(text(proxyState, "a"), text(state, "s"), text(proxyState, ""), text(proxyState, "b")), "s-1",
		},
		{
			"NAK", join(text(proxyState, "b"), stamp(time.Now()), text(proxyState, "a")),
			join(text(proxyState, "b"), text(proxyState, "a")), "s-9",
		},
		{"full", full, full, "s-9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := disconnect(tt.attrs, text(acctSessionID, tt.session)).build()
			s := start(t, aHost(), nil)
			b := handle(t, s, here, request)
			if b == nil {
				t.Fatalf("silence; drops %v", s.Stats().Drops)
			}
			if got := open(t, request, b, secret); !bytes.Equal(got.attrs, tt.echo) || (got.cause == 0) != (tt.session == "s-1") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestTenants: address and secret say whose sessions a request can reach.
func TestTenants(t *testing.T) {
	with := func(tenantID string, prefix string, secrets ...string) Source {
		c := Source{
			Tenant: tenantID, Server: "tenants/" + tenantID + "/radiusServers/one",
			Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)},
		}
		for _, s := range secrets {
			c.Secrets = append(c.Secrets, tenant.Secret(s))
		}
		return c
	}
	const other = "another secret"
	for _, tt := range []struct {
		name    string
		sources []Source
		from    string
		ask     asking
		want    answered // code 0: silence
		did     []string
	}{
		{
			"the secret tells tenants of one address apart",
			[]Source{with("acme", "127.0.0.1/32", secret), with("umbrella", "127.0.0.1/32", other)},
			here,
			asking{attrs: attr(framedIPAddress, 10, 9, 0, 1), secret: other},
			answered{code: 41},
			[]string{"disconnect u-1"},
		},
		{
			"the address tells tenants of one secret apart",
			[]Source{with("acme", "127.0.0.1/32", secret), with("umbrella", "127.0.0.2/32", secret)},
			"127.0.0.2:1", disconnect(attr(framedIPAddress, 10, 9, 0, 1)),
			answered{code: 41},
			[]string{"disconnect u-1"},
		},
		{
			"both shared: whose it is",
			[]Source{with("acme", "127.0.0.1/32", secret), with("umbrella", "127.0.0.1/32", secret)},
			here, disconnect(text(acctSessionID, "u-1")),
			answered{code: 41},
			[]string{"disconnect u-1"},
		},
		{
			"both shared: never sessions of two tenants",
			[]Source{with("acme", "127.0.0.1/32", secret), with("umbrella", "127.0.0.1/32", secret)},
			here, disconnect(text(userName, "alice")),
			answered{code: 42, cause: 508},
			nil,
		},
		{
			"two servers of one tenant",
			[]Source{with("acme", "127.0.0.1/32", secret), with("acme", "127.0.0.0/8", secret)},
			here, disconnect(text(userName, "bob")),
			answered{code: 41},
			[]string{"disconnect s-3"},
		},
		{
			"the new secret of two",
			[]Source{with("acme", "127.0.0.1/32", secret, other)},
			here,
			asking{attrs: text(userName, "bob"), secret: other},
			answered{code: 41},
			[]string{"disconnect s-3"},
		},
		{
			"an IPv4 address in IPv6",
			[]Source{with("acme", "127.0.0.1/32", secret)},
			"[::ffff:127.0.0.1]:5", disconnect(text(userName, "bob")),
			answered{code: 41},
			[]string{"disconnect s-3"},
		},
		{
			"a link-local address",
			[]Source{with("acme", "fe80::/64", secret)},
			"[fe80::1%lo]:5", disconnect(text(userName, "bob")),
			answered{code: 41},
			[]string{"disconnect s-3"},
		},
		{
			"no secret, no requests",
			[]Source{with("acme", "127.0.0.1/32")},
			here,
			asking{attrs: text(userName, "bob"), secret: "radsec"},
			answered{},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := aHost()
			s := start(t, h, nil, tt.sources...)
			request := tt.ask.build()
			b := handle(t, s, tt.from, request)
			if (b == nil) != (tt.want.code == 0) {
				t.Fatalf("reply %x, drops %v", b, s.Stats().Drops)
			}
			if b != nil {
				secret := tt.ask.secret
				if secret == "" {
					secret = string(tt.sources[0].Secrets[0])
				}
				if got := open(t, request, b, secret); got.code != tt.want.code || got.cause != tt.want.cause {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			}
			if did := h.did(); !slices.Equal(did, tt.did) {
				t.Errorf("did %q, want %q", did, tt.did)
			}
		})
	}
}

// TestSetSources: a secret is changed without a gap, and a server that is gone may send no more.
func TestSetSources(t *testing.T) {
	h := aHost()
	s := start(t, h, nil)
	says := func(secret string) bool {
		a := disconnect(text(userName, "bob"))
		a.secret = secret
		return handle(t, s, here, a.build()) != nil
	}
	c := acme()
	for _, step := range []struct {
		secrets  []string
		old, new bool
	}{
		{[]string{secret}, true, false}, {[]string{secret, "new"}, true, true}, {[]string{"new"}, false, true}, {nil, false, false},
	} {
		c.Secrets = nil
		for _, v := range step.secrets {
			c.Secrets = append(c.Secrets, tenant.Secret(v))
		}
		s.SetSources([]Source{c})
		if says(secret) != step.old || says("new") != step.new {
			t.Errorf("with secrets %q: want the old one %t, the new one %t", step.secrets, step.old, step.new)
		}
	}
	s.SetSources(nil)
	if says(secret) || s.Stats().Drops[DropSource] != 1 {
		t.Errorf("counters %+v", s.Stats())
	}
}

// TestRadSec: a TLS connection says the server; its address says nothing.
func TestRadSec(t *testing.T) {
	h := aHost()
	tls := Source{Tenant: "acme", Server: server}
	s := start(t, h, nil, tls, Source{Tenant: "umbrella", Server: "tenants/umbrella/radiusServers/one"})
	ask := func(server string, a asking) []byte {
		return await(t, s, func(reply func([]byte) error) {
			b := a.build()
			s.Handle(server, b, func(b []byte) { reply(b) }) //nolint:errcheck // never fails
			clear(b)                                         // it was borrowed
		})
	}
	a := asking{attrs: text(userName, "bob"), secret: "radsec"}
	b := ask(server, a)
	if b == nil || open(t, a.build(), b, "radsec").code != 41 || !slices.Equal(h.did(), []string{"disconnect s-3"}) {
		t.Errorf("reply %x", b)
	}
	if b := ask("tenants/umbrella/radiusServers/one", a); b == nil || open(t, a.build(), b, "radsec").cause != 503 {
		t.Errorf("reply %x for another tenant's server", b)
	}
	// The same octets from servers of two tenants, who share this secret, are two requests.
	h.did()
	stamped := asking{attrs: join(text(userName, "bob"), stamp(time.Now())), secret: "radsec"}
	for _, want := range []struct {
		server string
		code   byte
	}{{server, 41}, {"tenants/umbrella/radiusServers/one", 42}} {
		if b := ask(want.server, stamped); b == nil || open(t, stamped.build(), b, "radsec").code != want.code {
			t.Errorf("reply %x for %s, want code %d", b, want.server, want.code)
		}
	}
	if b := ask("tenants/acme/radiusServers/two", a); b != nil || s.Stats().Drops[DropSource] != 1 {
		t.Errorf("reply %x for a server that is not there", b)
	}
	if b := handle(t, s, here, a.build()); b != nil {
		t.Errorf("reply %x over UDP", b)
	}
	tls.Secrets = []tenant.Secret{tenant.Secret("own")}
	s.SetSources([]Source{tls})
	if b := ask(server, asking{id: 9, attrs: a.attrs, secret: "radsec"}); b != nil {
		t.Errorf("reply %x with the secret of everybody", b)
	}
	if b := ask(server, asking{attrs: a.attrs, secret: "own"}); b == nil {
		t.Error("silence for the server's own secret")
	}
}

// TestRepeats: the same request is done once, and gets the same reply, for as long as it is known.
func TestRepeats(t *testing.T) {
	key := text(acctSessionID, "s-1")
	synctest.Test(t, func(t *testing.T) {
		h := aHost()
		s := start(t, h, nil)
		again := func(name, from string, b []byte, first []byte, done int) {
			t.Helper()
			got := handle(t, s, from, b)
			if !bytes.Equal(got, first) {
				t.Errorf("%s: reply %x, want %x", name, got, first)
			}
			if did := h.did(); len(did) != done {
				t.Errorf("%s: did %q, want %d things", name, did, done)
			}
		}
		plain := disconnect(key).build()
		first := handle(t, s, here, plain)
		if len(h.did()) != 1 {
			t.Fatal("it was not done")
		}
		again("at once", here, plain, first, 0)
		again("from another port", "127.0.0.1:1646", plain, first, 1)
		time.Sleep(keepReply - time.Millisecond)
		again("after nearly 30 s", here, plain, first, 0)
		time.Sleep(time.Millisecond)
		again("after 30 s", here, plain, first, 1)
		other := asking{id: 1, attrs: key}.build()
		first = handle(t, s, here, other)
		again("with another identifier", here, other, first, 1)

		// With a timestamp from as far in the future as may be it is good for two windows, and is known all the while.
		stamped := disconnect(key, stamp(time.Now().Add(DefaultWindow))).build()
		first = handle(t, s, here, stamped)
		if len(h.did()) != 1 {
			t.Fatal("it was not done")
		}
		again("from another port", "127.0.0.1:1646", stamped, first, 0)
		again("from another address", "127.0.0.2:1645", stamped, first, 0)
		time.Sleep(2*DefaultWindow - time.Second)
		again("while its timestamp is good", "127.0.0.1:7", stamped, first, 0)
		time.Sleep(3 * time.Second)
		again("after that", here, stamped, nil, 0)
		if n := s.Stats().Drops[DropTimestamp]; n != 1 {
			t.Errorf("%d requests dropped for their timestamp, want 1", n)
		}
		if n := s.Stats().Repeats; n != 6 {
			t.Errorf("%d repeats, want 6", n)
		}
	})
}

// TestRepeatsWhileUnderWay: a repeat of what is not yet answered is dropped; the one reply comes when it is done.
func TestRepeatsWhileUnderWay(t *testing.T) {
	h := aHost()
	begun, end := make(chan struct{}), make(chan struct{})
	h.during = func(context.Context) { close(begun); <-end }
	s := start(t, h, nil)
	b := disconnect(text(acctSessionID, "s-1")).build()
	replies := make(chan []byte, 3)
	reply := func(b []byte) error { replies <- b; return nil }
	s.receive(b, origin{from: netip.MustParseAddrPort(here)}, reply)
	<-begun
	for range 2 {
		s.receive(b, origin{from: netip.MustParseAddrPort(here)}, reply)
	}
	close(end)
	s.wg.Wait()
	if len(replies) != 1 || len(h.did()) != 1 || s.Stats().Drops[DropDuplicate] != 2 {
		t.Errorf("%d replies, counters %+v", len(replies), s.Stats())
	}
}

// TestOverload: requests of a tenant whose sessions are slow to end are bounded and given up; another tenant's go on.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := aHost()
		umbrella := acme()
		umbrella.Tenant, umbrella.Secrets = "umbrella", []tenant.Secret{tenant.Secret("other")}
		running, most := 0, 0
		h.during = func(ctx context.Context) {
			h.mu.Lock()
			running++
			most = max(most, running)
			h.mu.Unlock()
			<-ctx.Done()
			h.mu.Lock()
			running--
			h.mu.Unlock()
		}
		s := start(t, h, nil, acme(), umbrella)
		causes := make(chan uint32, 2*maxTenantPending)
		for i := range maxTenantPending + 100 {
			b := asking{id: byte(i), attrs: join(text(acctSessionID, "s-1"), number(nasPort, 1), text(state, fmt.Sprint(i)))}.build()
			s.receive(b, origin{from: netip.MustParseAddrPort(here)}, func(r []byte) error {
				causes <- open(t, b, r, secret).cause
				return nil
			})
		}
		synctest.Wait()
		if got := s.Stats(); got.Pending != maxTenantPending || got.Drops[DropOverload] != 100 {
			t.Errorf("%d pending, %d dropped", got.Pending, got.Drops[DropOverload])
		}
		h.mu.Lock()
		if running != maxTenantRunning {
			t.Errorf("%d run at once, want %d", running, maxTenantRunning)
		}
		h.mu.Unlock()

		other := asking{attrs: text(acctSessionID, "u-9"), secret: "other"}.build()
		answer := make(chan []byte, 1)
		s.receive(other, origin{from: netip.MustParseAddrPort(here)}, func(r []byte) error { answer <- r; return nil })
		synctest.Wait()
		select {
		case b := <-answer:
			if got := open(t, other, b, "other"); got.cause != 503 {
				t.Errorf("the other tenant got %+v", got)
			}
		default:
			t.Error("the other tenant waits")
		}

		time.Sleep(patience)
		s.wg.Wait()
		close(causes)
		given := 0
		for c := range causes {
			given++
			if Cause(c) != Resources {
				t.Errorf("Error-Cause %d", c)
			}
		}
		if given != maxTenantPending || most != maxTenantRunning || h.did() != nil {
			t.Errorf("%d answers, %d ran at once", given, most)
		}
		if len(s.lanes) != 0 || s.Stats().Pending != 0 {
			t.Errorf("%d lanes, counters %+v", len(s.lanes), s.Stats())
		}
	})
}

// TestOverloadOfAll: many tenants together are bounded too.
func TestOverloadOfAll(t *testing.T) {
	h := aHost()
	h.during = func(ctx context.Context) { <-ctx.Done() }
	var sources []Source
	const tenants = maxPending/maxTenantPending + 1
	for i := range tenants {
		c := Source{Tenant: fmt.Sprint("t", i), Server: fmt.Sprint("server", i)}
		sources = append(sources, c)
		h.sessions[c.Tenant] = h.sessions["acme"]
	}
	s := start(t, h, nil, sources...)
	for i := range tenants * maxTenantPending {
		b := asking{secret: "radsec", id: byte(i), attrs: join(text(acctSessionID, "s-1"), text(state, fmt.Sprint(i)))}
		s.Handle(fmt.Sprint("server", i/maxTenantPending), b.build(), func([]byte) { t.Error("answered") })
	}
	if got := s.Stats(); got.Pending != maxPending || got.Drops[DropOverload] != maxTenantPending {
		t.Errorf("%d pending, %d dropped", got.Pending, got.Drops[DropOverload])
	}
	s.Close()
}

// TestSeenIsBounded: what is remembered takes a bounded space, and the oldest goes first.
func TestSeenIsBounded(t *testing.T) {
	s, now := newSeen(time.Hour), time.Now()
	key := func(i int) seenKey { return seenKey{tenant: fmt.Sprint(i)} }
	reply := make([]byte, 4096)
	const n = 3 * maxSeen / 4096
	first := s.add(key(-1), now)
	for i := range n {
		s.answered(s.add(key(i), now), reply)
		if s.octets > maxSeen || s.octets != len(s.entries)*(entryLen+4096)-missing(s, key(-1)) {
			t.Fatalf("%d octets in %d entries", s.octets, len(s.entries))
		}
	}
	if s.find(key(0), now) != nil || s.find(key(n-1), now) == nil || len(s.order) != len(s.entries) {
		t.Errorf("of %d entries the oldest is still there, or the newest is not", len(s.entries))
	}
	s.answered(first, reply) // it had to go while it was under way
	if s.find(key(-1), now) != nil || s.octets != len(s.entries)*(entryLen+4096) {
		t.Error("a reply brought its entry back")
	}
	if s.find(key(n-1), now.Add(time.Hour)) != nil || s.octets != 0 || len(s.order) != 0 {
		t.Errorf("%d octets left after all had their time", s.octets)
	}
}

// missing is what the entry for k lacks of a full one: its reply.
func missing(s *seen, k seenKey) int {
	if s.entries[k] != nil {
		return 4096
	}
	return 0
}

// TestClose: a request under way has its context ended, and gets no answer for that.
func TestClose(t *testing.T) {
	h := aHost()
	begun := make(chan struct{})
	h.during = func(ctx context.Context) { close(begun); <-ctx.Done() }
	s := start(t, h, nil)
	b := disconnect(text(acctSessionID, "s-1")).build()
	s.receive(b, origin{from: netip.MustParseAddrPort(here)}, func([]byte) error { t.Error("answered"); return nil })
	<-begun
	s.Close()
	s.Close()
	if got := handle(t, s, here, disconnect(text(acctSessionID, "s-2")).build()); got != nil || s.Stats().Pending != 0 {
		t.Errorf("answered after Close, counters %+v", s.Stats())
	}
}
