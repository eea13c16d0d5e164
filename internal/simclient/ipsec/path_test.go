package ipsec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/ike/ikev1"
	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
)

// child is a pair of SAs number n, and the server's ends of it.
func child(t *testing.T, n byte, encap bool) (c *ikev1.Child, in *esp.Inbound, out *esp.Outbound) {
	t.Helper()
	key := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	c = &ikev1.Child{
		InboundSPI: 0x1000 + uint32(n), OutboundSPI: 0x2000 + uint32(n), Encryption: esphdr.AESCBC, Integrity: esphdr.HMACSHA1_96,
		InboundKey: key(n, 16), InboundAuthKey: key(n+1, 20), OutboundKey: key(n+2, 16), OutboundAuthKey: key(n+3, 20), UDPEncap: encap,
	}
	p := esp.Params{SPI: c.InboundSPI, Encryption: c.Encryption, Key: c.InboundKey, Integrity: c.Integrity, AuthKey: c.InboundAuthKey}
	var err error
	if out, err = esp.NewOutbound(p); err != nil {
		t.Fatal(err)
	}
	p.SPI, p.Key, p.AuthKey = c.OutboundSPI, c.OutboundKey, c.OutboundAuthKey
	if in, err = esp.NewInbound(p); err != nil {
		t.Fatal(err)
	}
	return c, in, out
}

// inner is inner packet number n.
func inner(n int) []byte {
	p := bytes.Repeat([]byte{byte(n)}, 100+n%50)
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	return p
}

var (
	ownAddr    = netip.MustParseAddr("192.168.1.2")
	serverAddr = netip.MustParseAddr("198.51.100.1")
)

// newWay is a client whose link is up, without a pair of SAs, and what it sends by itself.
func newWay(t *testing.T) (*Client, *[][]byte) {
	t.Helper()
	s, sent := NewStack(nil), &[][]byte{}
	t.Cleanup(func() { _ = s.Close(t.Context()) })
	c := s.New(Config{
		IKE: simike.Windows(), L2TP: siml2tp.Windows("DESKTOP", 3), PPP: simppp.Windows("ann", "secret"), PSK: tenant.Secret("key"),
		Own: ownAddr, Server: serverAddr, Send: func(_ uint16, b []byte) { *sent = append(*sent, b) },
	})
	if _, err := c.Path(); !errors.Is(err, ErrDown) {
		t.Errorf("before the login: %v", err)
	}
	c.onPPP(func(time.Time) {
		c.link.m, c.link.tunnel, c.link.session = simppp.NewMachine(c.cfg.PPP, (*pppEvents)(c)), 8, 9
		(*pppEvents)(c).Opened(simppp.Network{Address: netip.MustParseAddr("10.7.0.2"), MRU: 1400, PFC: true, ACFC: true})
	})
	if _, err := c.Path(); !errors.Is(err, ErrNoSA) {
		t.Errorf("without an SA: %v", err)
	}
	return c, sent
}

// send has the fast way send a packet; nil: it can't.
func send(k traffic.Link, p []byte) []byte {
	var b pktbuf.Buf
	b.SetBytes(p)
	o := traffic.Outgoing{Buf: &b}
	if !k.Pack(&o) || o.SA.Seal(&b, esphdr.NextHeaderUDP) != esp.OK || !k.Finish(&o) {
		return nil
	}
	return bytes.Clone(b.Bytes())
}

// read opens a packet at the server.
func read(t *testing.T, in *esp.Inbound, packet []byte) (uint16, []byte) {
	t.Helper()
	var b pktbuf.Buf
	b.SetBytes(packet)
	if next, v := in.Open(&b); v != esp.OK || next != esphdr.NextHeaderUDP {
		t.Fatalf("ESP: %v", v)
	}
	port, v := l2tpdata.StripUDP(&b, true, ownAddr.As4(), serverAddr.As4())
	if v != l2tpdata.OK || port != wirel2tp.Port {
		t.Fatalf("UDP from %d: %v", port, v)
	}
	h, v := l2tpdata.Strip(&b)
	protocol, info, err := wireppp.ParseFrame(b.Bytes())
	if v != l2tpdata.OK || h.TunnelID != 8 || h.SessionID != 9 || err != nil {
		t.Fatalf("%+v %v %v", h, v, err)
	}
	return protocol, info
}

// seal makes a packet of the server with an L2TP message.
func seal(out *esp.Outbound, message func(b *pktbuf.Buf)) []byte {
	var b pktbuf.Buf
	b.Reset()
	message(&b)
	l2tpdata.PrependUDP(&b, wirel2tp.Port)
	out.Seal(&b, esphdr.NextHeaderUDP)
	return bytes.Clone(b.Bytes())
}

func frameOf(protocol uint16, info []byte) func(b *pktbuf.Buf) {
	return func(b *pktbuf.Buf) {
		b.SetBytes(info)
		h := wireppp.AppendHeader(nil, protocol, false, false)
		copy(b.Prepend(len(h)), h)
		l2tpdata.Prepend(b, 3, sessionID, nil)
	}
}

// receive has the fast way take a packet.
func receive(k traffic.Link, port uint16, packet []byte) traffic.Incoming {
	var b pktbuf.Buf
	b.SetBytes(packet)
	in := traffic.Incoming{Buf: &b, Port: port}
	k.Unpack(&in, time.Now())
	if in.Kind == traffic.KindData {
		in.NextHeader, in.ESP = in.SA.Open(&b)
		k.Opened(&in, time.Now())
	}
	return in
}

// TestWay: packets both ways, the client's own between them, through a rekey and to the end.
func TestWay(t *testing.T) {
	for _, port := range []uint16{PortNATT, ESP} {
		c, sent := newWay(t)
		first, in1, out1 := child(t, 1, port == PortNATT)
		if err := c.sas.add(first, false); err != nil {
			t.Fatal(err)
		}
		c.sas.use(first)
		path, err := c.Path()
		if err != nil || path.MTU != 1400 || path.Protocol != tenant.ProtocolL2TPIPsec || path.Gate != c.sas.gate {
			t.Fatalf("%+v, %v", path, err)
		}
		k := path.Link
		for n := range 100 {
			if protocol, info := read(t, in1, send(k, inner(n))); protocol != wireppp.ProtocolIPv4 || !bytes.Equal(info, inner(n)) {
				t.Fatalf("packet %d: protocol %x, % x", n, protocol, info)
			}
			if n%10 == 3 {
				c.onPPP(func(time.Time) { (*pppEvents)(c).SendFrame(wireppp.ProtocolLCP, []byte{10, byte(n), 0, 4}) })
				if protocol, info := read(t, in1, (*sent)[len(*sent)-1]); protocol != wireppp.ProtocolLCP || info[1] != byte(n) {
					t.Fatalf("protocol %x, % x", protocol, info)
				}
			}
			got := receive(k, port, seal(out1, frameOf(wireppp.ProtocolIPv4, inner(n))))
			if got.Kind != traffic.KindData || !bytes.Equal(got.Buf.Bytes(), inner(n)) {
				t.Fatalf("packet %d is %v: % x", n, got.Kind, got.Buf.Bytes())
			}
		}
		if c.sas.unused != 0 || !c.sas.inbound[first.InboundSPI].used || c.sas.idle() > time.Minute {
			t.Error("the SA is not known to be used")
		}
		// Both pairs are heard; what is sent goes through the new one once it may be used.
		second, in2, out2 := child(t, 9, port == PortNATT)
		if err := c.sas.add(second, false); err != nil {
			t.Fatal(err)
		}
		read(t, in1, send(k, inner(1)))
		c.sas.use(second)
		read(t, in2, send(k, inner(2)))
		for _, out := range []*esp.Outbound{out1, out2, out1} {
			if got := receive(k, port, seal(out, frameOf(wireppp.ProtocolIPv4, inner(3)))); got.Kind != traffic.KindData {
				t.Errorf("during the rekey: %v", got.Kind)
			}
		}
		c.sas.remove(first)
		if got := receive(k, port, seal(out1, frameOf(wireppp.ProtocolIPv4, inner(3)))); got.Kind != traffic.KindRaw {
			t.Errorf("of an SA that has gone: %v", got.Kind)
		}
		read(t, in2, send(k, inner(4)))
		c.sas.remove(second)
		if send(k, inner(5)) != nil {
			t.Error("sent without an SA")
		}
		c.Die()
	}
}

// TestWayBack: what is not data goes where it belongs.
func TestWayBack(t *testing.T) {
	c, _ := newWay(t)
	pair, _, out := child(t, 1, true)
	if err := c.sas.add(pair, false); err != nil {
		t.Fatal(err)
	}
	c.sas.use(pair)
	path, err := c.Path()
	if err != nil {
		t.Fatal(err)
	}
	zlb := wirel2tp.AppendZLB(nil, wirel2tp.Header{TunnelID: 3})
	bad := seal(out, frameOf(wireppp.ProtocolIPv4, inner(1)))
	bad[len(bad)-1]++
	replay := seal(out, frameOf(wireppp.ProtocolIPv4, inner(1)))
	receive(path.Link, PortNATT, replay)
	for _, tt := range []struct {
		name string
		port uint16
		b    []byte
		want traffic.Kind
	}{
		{"IKE", PortIKE, make([]byte, 28), traffic.KindRaw},
		{"IKE behind a NAT", PortNATT, make([]byte, 32), traffic.KindRaw},
		{"a keepalive", PortNATT, []byte{0xff}, traffic.KindNothing},
		{"nothing", PortNATT, []byte{1}, traffic.KindDropped},
		{"another SPI", PortNATT, bytes.Repeat([]byte{9}, 60), traffic.KindRaw},
		{"a forgery", PortNATT, bad, traffic.KindDropped},
		{"a replay", PortNATT, replay, traffic.KindDropped},
		{"a control message", PortNATT, seal(out, func(b *pktbuf.Buf) { b.SetBytes(zlb) }), traffic.KindMessage},
		{"an echo", PortNATT, seal(out, frameOf(wireppp.ProtocolLCP, []byte{9, 1, 0, 4})), traffic.KindControl},
		{"another session's", PortNATT, seal(out, func(b *pktbuf.Buf) {
			b.SetBytes([]byte{0xff, 3, 0, 0x21})
			l2tpdata.Prepend(b, 3, sessionID+1, nil)
		}), traffic.KindDropped},
	} {
		got := receive(path.Link, tt.port, tt.b)
		if got.Kind != tt.want {
			t.Errorf("%s is %v, want %v", tt.name, got.Kind, tt.want)
		}
		switch got.Kind {
		case traffic.KindRaw:
			if !bytes.Equal(got.Buf.Bytes(), tt.b) {
				t.Errorf("%s was touched: % x", tt.name, got.Buf.Bytes())
			}
		case traffic.KindMessage:
			if !bytes.Equal(got.Buf.Bytes(), zlb) {
				t.Errorf("%s: % x", tt.name, got.Buf.Bytes())
			}
			path.Link.Control(got.Kind, got.Buf.Bytes()) // of no tunnel: only must not do harm
		case traffic.KindControl:
			if !bytes.Equal(got.Buf.Bytes(), []byte{0xff, 3, 0xc0, 0x21, 9, 1, 0, 4}) {
				t.Errorf("%s: % x", tt.name, got.Buf.Bytes())
			}
			path.Link.Control(got.Kind, got.Buf.Bytes())
		}
	}
	if c.Lost() != 2 {
		t.Errorf("%d lost, want 2", c.Lost())
	}
	c.Die()
	if send(path.Link, inner(1)) != nil {
		t.Error("a dead client sends")
	}
}
