package plain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/internal/simclient/traffic"
	"concentrator/internal/tenant"
	wiregre "concentrator/internal/wire/gre"
	wirel2tp "concentrator/internal/wire/l2tp"
	wireppp "concentrator/internal/wire/ppp"
	wire "concentrator/internal/wire/pptp"
)

var agreed = simppp.Network{Address: netip.MustParseAddr("10.7.0.2"), MRU: 1400, PFC: true, ACFC: true}

// inner is inner packet number n.
func inner(n int) []byte {
	p := bytes.Repeat([]byte{byte(n)}, 100+n%50)
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint32(p[20:], uint32(n))
	return p
}

// far is the server's end of a call.
type far struct {
	gre      *gre.Session
	pool     *pktbuf.Pool
	sender   *mppe.Sender
	receiver *mppe.Receiver
	scratch  *mppe.Scratch
}

// newCall is a client with a call that stands, and the server's end of it.
func newCall(t *testing.T, p *mppe.Params) (*Client, traffic.Path, *far, *[][]byte) {
	t.Helper()
	sent := &[][]byte{}
	c := NewPPTP(Config{Send: func(b []byte) { *sent = append(*sent, bytes.Clone(b)) }}, simpptp.Config{}, wire.OutgoingCallRequest{CallID: 5})
	l := c.line.(*pptpLine)
	if _, err := c.Path(); !errors.Is(err, ErrDown) {
		t.Errorf("before the login: %v", err)
	}
	l.change(func(d *data) { d.begin(6) })
	pool := pktbuf.NewPool(gre.Window)
	f := &far{gre: gre.NewSession(5, pool), pool: pool, scratch: mppe.NewScratch()}
	if p != nil {
		up, down := *p, *p
		up.StartKey, down.StartKey = [16]byte{1}, [16]byte{2}
		l.MPPEReceive(down)
		l.MPPEOpen(up)
		f.sender, f.receiver = mppe.NewSender(down), mppe.NewReceiver(up)
	}
	c.carry(true, agreed)
	path, err := c.Path()
	if err != nil {
		t.Fatal(err)
	}
	if path.Protocol != tenant.ProtocolPPTP || path.Address != agreed.Address || path.MTU != 1400 || path.Gate != c.cfg.Gate {
		t.Errorf("%+v", path)
	}
	return c, path, f, sent
}

// send has the client's fast way send an inner packet, and returns what would go out.
func send(t *testing.T, k traffic.Link, x *mppe.Scratch, p []byte) []byte {
	t.Helper()
	var b pktbuf.Buf
	b.SetBytes(p)
	o := traffic.Outgoing{Buf: &b}
	if !k.Pack(&o) {
		t.Fatal("can't pack")
	}
	if o.Sender != nil && !o.Sender.Seal(&b, x) {
		t.Fatal("can't seal")
	}
	if !k.Finish(&o) {
		t.Fatal("can't finish")
	}
	return bytes.Clone(b.Bytes())
}

// take reads a packet at the server: a PPP frame's protocol and content.
func (f *far) take(t *testing.T, packet []byte) (uint16, []byte) {
	t.Helper()
	h, payload, err := wiregre.ParseHeader(packet)
	if err != nil || h.CallID != 6 || !h.HasSeq || f.gre.Place(h.Seq) != gre.Next {
		t.Fatalf("%+v, %v", h, err)
	}
	protocol, info, err := wireppp.ParseFrame(payload)
	if err != nil {
		t.Fatal(err)
	}
	var b pktbuf.Buf
	b.SetBytes(info)
	evidence := gre.Clear
	if protocol == wireppp.ProtocolCompressed {
		if v := f.receiver.Open(&b, h.Seq, credible, 1, f.scratch); v != mppe.OK {
			t.Fatalf("MPPE: %v", v)
		}
		evidence = gre.Verified
		if protocol, info, err = wireppp.ParseFrame(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if f.gre.Accept(h.Seq, &b, evidence, 1) != gre.Deliver {
		t.Fatal("out of order")
	}
	return protocol, info
}

// make makes a packet for the client.
func (f *far) make(protocol uint16, info []byte) []byte {
	var b pktbuf.Buf
	b.SetBytes(info)
	if protocol == wireppp.ProtocolIPv4 && f.sender != nil {
		binary.BigEndian.PutUint16(b.Prepend(2), protocol)
		f.sender.Seal(&b, f.scratch)
		protocol = wireppp.ProtocolCompressed
	}
	h := wireppp.AppendHeader(nil, protocol, false, false)
	copy(b.Prepend(len(h)), h)
	f.gre.Wrap(&b)
	return bytes.Clone(b.Bytes())
}

// receive has the client's fast way take a packet.
func receive(k traffic.Link, x *mppe.Scratch, packet []byte, now time.Time) traffic.Incoming {
	var b pktbuf.Buf
	b.SetBytes(packet)
	in := traffic.Incoming{Buf: &b}
	k.Unpack(&in, now)
	if in.Kind != traffic.KindData {
		return in
	}
	if in.Receiver != nil {
		in.MPPE = in.Receiver.Open(&b, in.Seq, in.Credible, traffic.Nanos(now), x)
	}
	k.Opened(&in, now)
	return in
}

// TestPPTPWay: packets both ways in clear and encrypted, with the client's own frames between them, and acknowledgements.
func TestPPTPWay(t *testing.T) {
	for name, p := range map[string]*mppe.Params{"clear": nil, "MPPE 128": {Bits: 128}, "MPPE 40": {Bits: 40}} {
		t.Run(name, func(t *testing.T) {
			c, path, f, sent := newCall(t, p)
			k, x, now := path.Link, mppe.NewScratch(), time.Now()
			for n := range 300 {
				protocol, info := f.take(t, send(t, k, x, inner(n)))
				if protocol != wireppp.ProtocolIPv4 || !bytes.Equal(info, inner(n)) {
					t.Fatalf("packet %d: protocol %x, % x", n, protocol, info)
				}
				if n%20 == 3 { // what the client sends by itself has the next number
					pppEvents{c}.SendFrame(wireppp.ProtocolLCP, []byte{10, byte(n), 0, 4})
					if protocol, info := f.take(t, (*sent)[len(*sent)-1]); protocol != wireppp.ProtocolLCP || info[1] != byte(n) {
						t.Fatalf("protocol %x, % x", protocol, info)
					}
				}
			}
			acks := 0
			var ack pktbuf.Buf
			for n := range 300 {
				if n%30 == 7 {
					in := receive(k, x, f.make(wireppp.ProtocolLCP, []byte{9, byte(n), 0, 4}), now)
					if want := []byte{0xff, 3, 0xc0, 0x21, 9, byte(n), 0, 4}; in.Kind != traffic.KindControl || !bytes.HasSuffix(want, in.Buf.Bytes()) {
						t.Fatalf("a control frame is %v, % x", in.Kind, in.Buf.Bytes())
					}
				}
				packet := f.make(wireppp.ProtocolIPv4, inner(n))
				if in := receive(k, x, packet, now); in.Kind != traffic.KindData || !bytes.Equal(in.Buf.Bytes(), inner(n)) {
					t.Fatalf("packet %d is %v: % x", n, in.Kind, in.Buf.Bytes())
				}
				if in := receive(k, x, packet, now); in.Kind != traffic.KindDropped {
					t.Fatalf("packet %d again is %v", n, in.Kind)
				}
				if k.Owed(&ack, now) {
					acks++
					h, _, err := wiregre.ParseHeader(ack.Bytes())
					if err != nil || h.HasSeq || !h.HasAck {
						t.Fatalf("%+v, %v", h, err)
					}
				}
			}
			if acks < 300/gre.AckEvery-1 || acks > 330/gre.AckEvery {
				t.Errorf("%d acknowledgements", acks)
			}
		})
	}
}

// TestPPTPDisorder: what comes early is handed on at once and only once, what is lost holds nothing up, and the place in the
// stream is kept: the client's own way goes on from it.
func TestPPTPDisorder(t *testing.T) {
	_, path, f, _ := newCall(t, &mppe.Params{Bits: 128})
	k, x, now := path.Link, mppe.NewScratch(), time.Now()
	var packets [][]byte
	for n := range 400 {
		packets = append(packets, f.make(wireppp.ProtocolIPv4, inner(n)))
	}
	got := map[int]int{}
	take := func(n int) {
		if in := receive(k, x, packets[n], now); in.Kind == traffic.KindData {
			if !bytes.Equal(in.Buf.Bytes(), inner(n)) {
				t.Fatalf("packet %d: % x", n, in.Buf.Bytes())
			}
			got[n]++
		}
		var b pktbuf.Buf
		k.Owed(&b, now)
		now = now.Add(time.Millisecond)
	}
	lost := map[int]bool{}
	for n := 0; n < len(packets)-1; n++ {
		switch {
		case n%40 == 11: // exchanged
			take(n + 1)
			take(n)
			n++
		case n%40 == 31:
			lost[n] = true
		default:
			take(n)
		}
	}
	for n := range len(packets) - 1 {
		want := 1
		if lost[n] {
			want = 0
		}
		if got[n] != want {
			t.Errorf("packet %d was handed on %d times, want %d", n, got[n], want)
		}
	}
	take(len(packets) - 1)
	if got[len(packets)-1] != 1 {
		t.Error("the last one did not come")
	}
}

// TestPPTPRefuses: what is not the session's, or not encrypted as it should be.
func TestPPTPRefuses(t *testing.T) {
	c, path, f, _ := newCall(t, &mppe.Params{Bits: 128})
	k, x, now := path.Link, mppe.NewScratch(), time.Now()
	good := f.make(wireppp.ProtocolIPv4, inner(1))
	other := bytes.Clone(good)
	other[7]++
	f.sender = nil
	for name, p := range map[string][]byte{
		"another call": other, "no GRE": {1, 2, 3}, "in clear": f.make(wireppp.ProtocolIPv4, inner(2)),
		"garbage": append(bytes.Clone(good[:len(good)-40]), bytes.Repeat([]byte{7}, 40)...)[:30],
	} {
		if in := receive(k, x, p, now); in.Kind != traffic.KindDropped {
			t.Errorf("%s is %v", name, in.Kind)
		}
	}
	var ack pktbuf.Buf
	f.gre.Ack(&ack)
	if in := receive(k, x, ack.Bytes(), now); in.Kind != traffic.KindNothing {
		t.Errorf("an acknowledgement is %v", in.Kind)
	}
	if in := receive(k, x, good, now); in.Kind != traffic.KindData {
		t.Errorf("the packet itself is %v", in.Kind)
	}
	c.carry(false, simppp.Network{})
	if k.Pack(&traffic.Outgoing{Buf: &ack}) {
		t.Error("a link that is down sends")
	}
}

func TestStateful(t *testing.T) {
	c, _, _, _ := newCall(t, &mppe.Params{Bits: 128})
	c.line.(*pptpLine).MPPEReceive(mppe.Params{Bits: 128, Stateful: true})
	if _, err := c.Path(); !errors.Is(err, ErrStateful) {
		t.Error(err)
	}
}

// TestL2TPWay: both ways, with and without sequence numbers, which begin when the server's do.
func TestL2TPWay(t *testing.T) {
	c := NewL2TP(Config{Send: func([]byte) {}}, siml2tp.Xl2tpd("host", 3))
	l := c.line.(*l2tpLine)
	l.change(func(d *l2tpCall) { d.tunnel, d.session = 8, 9 })
	c.carry(true, agreed)
	path, err := c.Path()
	if err != nil || path.Protocol != tenant.ProtocolL2TP {
		t.Fatal(path, err)
	}
	k, now := path.Link, time.Now()
	up := func(n int) wirel2tp.Header {
		t.Helper()
		var b pktbuf.Buf
		b.SetBytes(send(t, k, nil, inner(n)))
		h, v := l2tpdata.Strip(&b)
		protocol, info, err := wireppp.ParseFrame(b.Bytes())
		if v != l2tpdata.OK || h.TunnelID != 8 || h.SessionID != 9 || err != nil || protocol != wireppp.ProtocolIPv4 || !bytes.Equal(info, inner(n)) {
			t.Fatalf("%+v %v, protocol %x, % x", h, v, protocol, info)
		}
		return h
	}
	down := func(protocol uint16, info []byte, tunnel uint16, seq *l2tpdata.Sequencer) traffic.Incoming {
		var b pktbuf.Buf
		b.SetBytes(info)
		h := wireppp.AppendHeader(nil, protocol, true, true)
		copy(b.Prepend(len(h)), h)
		l2tpdata.Prepend(&b, tunnel, sessionID, seq)
		return receive(k, nil, b.Bytes(), now)
	}
	if up(1).HasSequence {
		t.Error("numbered, and nobody wants it")
	}
	if in := down(wireppp.ProtocolIPv4, inner(2), 3, nil); in.Kind != traffic.KindData || !bytes.Equal(in.Buf.Bytes(), inner(2)) {
		t.Errorf("%v: % x", in.Kind, in.Buf.Bytes())
	}
	if in := down(wireppp.ProtocolIPCP, []byte{1, 1, 0, 4}, 3, nil); in.Kind != traffic.KindControl {
		t.Errorf("IPCP is %v", in.Kind)
	}
	if in := down(wireppp.ProtocolIPv4, inner(2), 4, nil); in.Kind != traffic.KindDropped {
		t.Errorf("another tunnel's is %v", in.Kind)
	}
	if in := receive(k, nil, wirel2tp.AppendZLB(nil, wirel2tp.Header{TunnelID: 3}), now); in.Kind != traffic.KindRaw || in.Buf.Len() != 12 {
		t.Errorf("a control message is %v with %d octets", in.Kind, in.Buf.Len())
	}
	var seq l2tpdata.Sequencer
	for n := range 3 {
		if in := down(wireppp.ProtocolIPv4, inner(n), 3, &seq); in.Kind != traffic.KindData {
			t.Errorf("numbered packet %d is %v", n, in.Kind)
		}
		if h := up(n); !h.HasSequence || h.Ns != uint16(n) {
			t.Errorf("packet %d: %+v", n, h)
		}
	}
	seq = l2tpdata.Sequencer{}
	if in := down(wireppp.ProtocolIPv4, inner(0), 3, &seq); in.Kind != traffic.KindDropped {
		t.Errorf("a late packet is %v", in.Kind)
	}
}
