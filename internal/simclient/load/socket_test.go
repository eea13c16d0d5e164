package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/tenant"
	wiregre "concentrator/internal/wire/gre"
)

const patience = 5 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

func startPoller(t *testing.T) *poller {
	t.Helper()
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// get waits for what comes on a channel.
func get[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	panic("unreachable")
}

// TestStream: what is written before the connection stands arrives, in order, and so does the answer and the end.
func TestStream(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	octets, broken := make(chan []byte, 100), make(chan error, 1)
	c, err := dialStream(startPoller(t), loopback, netip.MustParseAddrPort(l.Addr().String()),
		func(b []byte) { octets <- bytes.Clone(b) }, func(err error) { broken <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.write([]byte("one"))
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("two"), 10_000)
	c.write(big)
	got := make([]byte, 3+len(big))
	_ = far.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(far, got); err != nil || string(got[:6]) != "onetwo" || !bytes.Equal(got[3:], big) {
		t.Fatalf("%q…, %v", got[:10], err)
	}
	if _, err := far.Write([]byte("three")); err != nil {
		t.Fatal(err)
	}
	if b := get(t, octets); string(b) != "three" {
		t.Errorf("%q", b)
	}
	_ = far.Close()
	if err := get(t, broken); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	c.write([]byte("four")) // to nobody
}

func TestStreamRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	broken := make(chan error, 1)
	c, err := dialStream(startPoller(t), loopback, server, nil, func(err error) { broken <- err })
	if err == nil {
		defer c.close()
		err = get(t, broken)
	}
	if !errors.Is(err, unix.ECONNREFUSED) || Reason(err) != ReasonConnectionRefused {
		t.Errorf("%v", err)
	}
}

// TestLend: a socket that is lent is not read until each has given it back.
func TestLend(t *testing.T) {
	d, err := NewDialer(Config{Server: loopback, Protocols: []tenant.Protocol{tenant.ProtocolL2TP}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	s, err := openUDP(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer d.unwatch(s)
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(loopback, uint16(sa.(*unix.SockaddrInet4).Port))
	got := make(chan string, 10)
	if err := d.watch(s, func(_ netip.AddrPort, b []byte) { got <- string(b) }); err != nil {
		t.Fatal(err)
	}
	s.sendTo(at, []byte("one"))
	if b := get(t, got); b != "one" {
		t.Errorf("%q", b)
	}
	first, second := d.lend(s.fd), d.lend(s.fd)
	s.sendTo(at, []byte("two"))
	first()
	select {
	case b := <-got:
		t.Errorf("%q was read", b)
	case <-time.After(50 * time.Millisecond):
	}
	second()
	if b := get(t, got); b != "two" {
		t.Errorf("%q", b)
	}
}

// TestL2TPByItself: a client whose server says nothing gives up, and its socket is closed.
func TestL2TPByItself(t *testing.T) {
	d, err := NewDialer(Config{
		Server: netip.MustParseAddr("127.0.0.99"), Protocols: []tenant.Protocol{tenant.ProtocolL2TP}, Auth: tenant.AuthMSCHAPv2,
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	l := New(Plan{Dial: d.Dial, Count: 1, Parallel: 1, Timeout: 100 * time.Millisecond, Goodbye: time.Second})
	l.Login(t.Context())
	l.HangUp()
	if r := l.Report(); r.Failed[tenant.ReasonPeerTimeout] != 1 || r.HangUpFailed != 0 {
		t.Errorf("%+v", r)
	}
	if len(d.poller.readers) != 0 || len(d.watched) != 0 {
		t.Errorf("%d sockets are watched", len(d.poller.readers))
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestForeignGRE: a raw socket hears the calls of all generators of a host, which have the same IDs, and those of clients that
// are being made. A session without a client panics when it is given one.
func TestForeignGRE(t *testing.T) {
	local, other := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	d := &Dialer{cfg: Config{Server: loopback}, calls: map[uint16]*plainSession{}}
	packet := func(dst netip.Addr, call uint16) []byte {
		h := wiregre.Header{CallID: call, HasSeq: true, PayloadLen: 1}
		gre := make([]byte, h.Len()+1)
		h.Put(gre)
		return append(appendIPv4(nil, loopback, dst, protocolGRE, len(gre)), gre...)
	}
	call, err := d.reserve()
	if err != nil {
		t.Fatal(err)
	}
	d.receiveGRE(packet(local, call))
	if second, err := d.reserve(); err != nil || second == call {
		t.Errorf("call %d, %v, beside one of %d that is reserved", second, err, call)
	}
	d.register(call, &plainSession{local: local})
	d.receiveGRE(packet(other, call))
	defer func() {
		if recover() == nil {
			t.Error("the call's own packet did not come")
		}
	}()
	d.receiveGRE(packet(local, call))
}

func TestIPv4Header(t *testing.T) {
	src, dst := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1")
	p := append(appendIPv4(nil, src, dst, protocolGRE, 5), "12345"...)
	s, d, payload, ok := parseIPv4(append(p, 0, 0)) // padded on the way
	if !ok || s != src || d != dst || string(payload) != "12345" || p[9] != protocolGRE {
		t.Errorf("%v %v %q %v", s, d, payload, ok)
	}
	for n := range p {
		if _, _, _, ok := parseIPv4(p[:n]); ok {
			t.Errorf("%d octets are a packet", n)
		}
	}
	p[0] = 0x44
	if _, _, _, ok := parseIPv4(p); ok {
		t.Error("a header of 16 octets")
	}
}
