package radius

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
)

func liveSession() *accounting.Session {
	return &accounting.Session{
		Caller: papRequest().Caller, User: "alice", Method: tenant.AuthMSCHAPv2, Domain: "ACME",
		Address: netip.MustParseAddr("10.9.0.7"), Class: [][]byte{{1, 2}, {3}},
	}
}

func TestAccountingAttributes(t *testing.T) {
	at := time.Now().Add(-10 * time.Minute)
	seconds := func(typ radius.Type, n uint32) []byte { return attr(typ, binary.BigEndian.AppendUint32(nil, n)...) }
	local := liveSession()
	local.Local, local.Method, local.Domain, local.Class, local.Address = true, tenant.AuthPAP, "", nil, netip.Addr{}
	counters := accounting.Counters{InBytes: 1<<32 + 2, OutBytes: 3<<32 + 4, InPackets: 5, OutPackets: 6}

	nas := text(words(32, "nas-1"), attr(4, 192, 0, 2, 1))
	when := text(seconds(55, uint32(at.Unix())))
	alice := slices.Concat(text(words(1, "alice"), attr(6, 0, 0, 0, 2), attr(7, 0, 0, 0, 1)), nas,
		text(attr(5, 0, 0, 0, 17), attr(61, 0, 0, 0, 5), words(31, "198.51.100.7"), words(30, "192.0.2.1"), words(44, "s-1")), when,
		text(attr(64, 0, 0, 0, 1), attr(65, 0, 0, 0, 1), words(66, "198.51.100.7"), words(67, "192.0.2.1"), words(91, "nas-1")))
	granted := text(attr(8, 10, 9, 0, 7), attr(25, 1, 2), attr(25, 3), ms(10, 0, 'A', 'C', 'M', 'E'))
	counted := text(attr(46, 0, 0, 0, 61),
		seconds(42, 2), seconds(52, 1), seconds(47, 5), seconds(43, 4), seconds(53, 3), seconds(48, 6))
	proved := text(attr(45, 0, 0, 0, 1), ms(23, 0, 0, 0, 4), words(68, "17"))
	for _, tt := range []struct {
		name string
		r    accounting.Record
		want []string
	}{
		{
			"On",
			accounting.Record{ID: 26, Status: accounting.On, Time: at},
			slices.Concat(nas, text(words(44, "on-1a")), when, text(attr(40, 0, 0, 0, 7))),
		},
		{
			"Off",
			accounting.Record{ID: 27, Status: accounting.Off, Time: at},
			slices.Concat(nas, text(words(44, "off-1b")), when, text(attr(40, 0, 0, 0, 8))),
		},
		{
			"Start",
			accounting.Record{Status: accounting.Start, Time: at, Session: liveSession()},
			slices.Concat(alice, granted, text(attr(40, 0, 0, 0, 1)), proved),
		},
		{
			"Start, own user table",
			accounting.Record{Status: accounting.Start, Time: at, Session: local},
			slices.Concat(alice, text(attr(40, 0, 0, 0, 1), attr(45, 0, 0, 0, 2), ms(23, 0, 0, 0, 1), words(68, "17"))),
		},
		{"Interim", accounting.Record{
			Status: accounting.Interim, Time: at, Session: liveSession(), Counters: counters, Duration: 61*time.Second + 999*time.Millisecond,
		}, slices.Concat(alice, granted, text(attr(40, 0, 0, 0, 3)), proved, counted)},
		{"Stop", accounting.Record{
			Status: accounting.Stop, Time: at, Session: liveSession(), Counters: counters, Duration: 61 * time.Second,
			Cause: tenant.ReasonUserRequest,
		}, slices.Concat(alice, granted, text(attr(40, 0, 0, 0, 2)), proved, counted, text(attr(49, 0, 0, 0, 1)))},
		{"Stop of a crash", accounting.Record{
			Status: accounting.Stop, Time: at, Session: liveSession(), Counters: counters, Duration: 61 * time.Second, Crash: true,
		}, slices.Concat(alice, granted, text(attr(40, 0, 0, 0, 2)), proved, counted, text(attr(49, 0, 0, 0, 11)))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := recording(&tt.r)
			if err != nil {
				t.Fatal(err)
			}
			p := built(t, o, radius.CodeAccountingRequest, transport.Target{
				NASIdentifier: "nas-1", LocalAddr: netip.MustParseAddr("192.0.2.1"), Secret: tenant.Secret(secret),
			})
			compare(t, wire(p, 41), tt.want)
			if delay, err := radius.Integer(p.Get(41)); err != nil || delay < 600 || delay > 660 {
				t.Errorf("Acct-Delay-Time %d, %v", delay, err)
			}
		})
	}
}

// Whatever a client calls itself, and whatever Class a server sends, the record fits into a packet.
func TestLongestRecordFits(t *testing.T) {
	long := strings.Repeat("x", 300)
	s := liveSession()
	s.User, s.Domain, s.SessionID, s.TunnelClient, s.TunnelID, s.ClientName, s.ClientVersion = long, long, long, long, long, long, long
	s.ClientAddress, s.ListenerAddress = netip.MustParseAddr("2001:db8:1:2:3:4:5:6"), netip.MustParseAddr("2001:db8:1:2:3:4:5:6")
	s.Class = slices.Repeat([][]byte{make([]byte, 64)}, maxClass/64)
	o, err := recording(&accounting.Record{
		Status: accounting.Stop, Session: s, Duration: math.MaxInt64,
		Counters: accounting.Counters{InBytes: math.MaxUint64, OutBytes: math.MaxUint64, InPackets: math.MaxUint64, OutPackets: math.MaxUint64},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := built(t, o, radius.CodeAccountingRequest, transport.Target{
		NASIdentifier: long[:253], LocalAddr: netip.IPv6Loopback(), Secret: tenant.Secret(secret),
	})
	if n := len(wire(p)); n < 60 {
		t.Errorf("only %d attributes", n)
	}
}

func TestAccount(t *testing.T) {
	record := accounting.Record{Status: accounting.Start, Tenant: "acme", Time: time.Now(), Session: liveSession()}
	t.Run("acknowledged by the second", func(t *testing.T) {
		silent := startFake(t, func(query) {})
		good := startFake(t, func(q query) {
			if q.p.Code != radius.CodeAccountingRequest || string(q.p.Get(44)) != "s-1" {
				t.Errorf("got %s of %s", q.p.Code, q.p.Get(44))
			}
			q.send(answerOf{code: radius.CodeAccountingResponse, unsigned: true}.to(q))
		})
		sc := func(name string, f *fake, priority int) transport.ServerConfig {
			return transport.ServerConfig{
				Name: name, Address: "127.0.0.1", AcctPort: f.port(), Secrets: []tenant.Secret{tenant.Secret(secret)},
				Timeout: 50 * time.Millisecond, Tries: 2, Priority: priority, Purposes: []transport.Purpose{transport.Accounting},
			}
		}
		if err := startAll(t, sc("silent", silent, 1), sc("good", good, 2)).Account(t.Context(), record); err != nil {
			t.Error(err)
		}
	})
	t.Run("not acknowledged", func(t *testing.T) {
		f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessAccept}.to(q)) })
		c := start(t, f, func(sc *transport.ServerConfig) { sc.Timeout, sc.Tries = 50*time.Millisecond, 1 })
		err := c.Account(t.Context(), record)
		if none := (*transport.NoAnswer)(nil); !errors.As(err, &none) || !strings.Contains(err.Error(), "START of s-1") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("nothing to tell", func(t *testing.T) {
		c := start(t, startFake(t, func(query) { t.Error("a packet") }), nil)
		for _, r := range []accounting.Record{{Status: accounting.Start}, {Status: 99, Session: liveSession()}, {Session: liveSession()}} {
			if err := c.Account(t.Context(), r); err == nil {
				t.Errorf("%+v was told", r)
			}
		}
	})
}

// Each reason has a cause of its own choice, and the causes have the numbers of RFC 2866 section 5.10.
func TestTerminateCauses(t *testing.T) {
	for _, r := range slices.Concat(tenant.EndedReasons, tenant.RefusedReasons) {
		if _, known := causes[r]; !known {
			t.Errorf("%s has no Acct-Terminate-Cause", r)
		}
	}
	for _, tt := range []struct {
		r    accounting.Record
		want string
	}{
		{accounting.Record{Cause: tenant.ReasonUserRequest}, "User-Request"},
		{accounting.Record{Cause: tenant.ReasonLostCarrier}, "Lost-Carrier"},
		{accounting.Record{Cause: tenant.ReasonIdleTimeout}, "Idle-Timeout"},
		{accounting.Record{Cause: tenant.ReasonSessionTimeout}, "Session-Timeout"},
		{accounting.Record{Cause: tenant.ReasonAdminDisconnect}, "Admin-Reset"},
		{accounting.Record{Cause: tenant.ReasonCoADisconnect}, "Admin-Reset"},
		{accounting.Record{Cause: tenant.ReasonReplaced}, "Port-Preempted"},
		{accounting.Record{Cause: tenant.ReasonShutdown}, "Admin-Reboot"},
		{accounting.Record{Cause: tenant.ReasonPoolExhausted}, "Service-Unavailable"},
		{accounting.Record{Crash: true}, "NAS-Reboot"},
		{accounting.Record{Cause: "NEW"}, "NAS-Error"},
	} {
		if got := causeNames[uint32(terminateCause(&tt.r))]; got != tt.want {
			t.Errorf("%s, crash %t: %s, want %s", tt.r.Cause, tt.r.Crash, got, tt.want)
		}
	}
}

func TestClassGoesRoundUnread(t *testing.T) {
	class := [][]byte{bytes.Repeat([]byte{0xff}, 253), {0}}
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	v, _ := interpret(answerOf{code: radius.CodeAccessAccept, attrs: join(attr(25, class[0]...), attr(25, class[1]...))}.build(query),
		answering{method: tenant.AuthPAP})
	s := liveSession()
	s.Class = v.Class
	o, err := recording(&accounting.Record{Status: accounting.Start, Session: s})
	if err != nil {
		t.Fatal(err)
	}
	p := built(t, o, radius.CodeAccountingRequest, transport.Target{Secret: tenant.Secret(secret)})
	var got [][]byte
	for _, a := range p.Attributes {
		if a.Type == 25 {
			got = append(got, a.Attribute)
		}
	}
	if !slices.EqualFunc(got, class, bytes.Equal) {
		t.Errorf("got %x", got)
	}
}
