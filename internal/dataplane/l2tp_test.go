package dataplane

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/l2tpdata"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	"concentrator/internal/wire/esphdr"
	wirel2tp "concentrator/internal/wire/l2tp"
	"concentrator/internal/wire/ppp"
)

// outside collects what a dataplane hands to the control side: IKE, plain L2TP, and a peer's control messages.
type outside struct {
	mu     sync.Mutex
	events []event
	signal chan struct{}
}

// event is one call of a sink.
type event struct {
	what   string // IKE, plain, control, stray, moved, used, limit
	remote netip.AddrPort
	local  netip.AddrPort
	port   uint16
	spi    uint32 // or a tunnel ID
	hard   bool
	msg    []byte
}

func newOutside() *outside { return &outside{signal: make(chan struct{}, 1000)} }

func (o *outside) add(e event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	o.signal <- struct{}{}
}

func (o *outside) IKE(local, remote netip.AddrPort, msg []byte) {
	o.add(event{what: "IKE", local: local, remote: remote, msg: msg})
}

func (o *outside) PlainL2TP(local netip.Addr, remote netip.AddrPort, msg []byte) {
	o.add(event{what: "plain", local: netip.AddrPortFrom(local, 0), remote: remote, msg: msg})
}

func (o *outside) Control(port uint16, msg []byte) {
	o.add(event{what: "control", port: port, msg: msg})
}

func (o *outside) Stray(port, tunnel uint16) {
	o.add(event{what: "stray", port: port, spi: uint32(tunnel)})
}

func (o *outside) Moved(remote netip.AddrPort)   { o.add(event{what: "moved", remote: remote}) }
func (o *outside) SAUsed(spi uint32)             { o.add(event{what: "used", spi: spi}) }
func (o *outside) SALimit(spi uint32, hard bool) { o.add(event{what: "limit", spi: spi, hard: hard}) }
func (o *outside) Broken(detail string)          { o.add(event{what: "broken: " + detail}) }

// next waits for the next event, which must be of that kind.
func (o *outside) next(t testing.TB, what string) event {
	t.Helper()
	select {
	case <-o.signal:
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.events[0]
	o.events = o.events[1:]
	if e.what != what {
		t.Fatalf("%+v came, want %s", e, what)
	}
	return e
}

// none fails if an event waits.
func (o *outside) none(t testing.TB) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.events) > 0 {
		t.Fatalf("%+v came", o.events[0])
	}
}

// suite is a pair of algorithms with keys of the right length.
type suite struct {
	e      esphdr.Encryption
	i      esphdr.Integrity
	keyLen int
}

var gcm = suite{esphdr.AESGCM16, esphdr.IntegrityUnset, 20}

func (s suite) params(spi uint32, seed byte) esp.Params {
	return esp.Params{
		SPI: spi, Encryption: s.e, Key: bytes.Repeat([]byte{seed}, s.keyLen),
		Integrity: s.i, AuthKey: bytes.Repeat([]byte{seed ^ 0xff}, s.i.KeyLen()),
	}
}

// ipsecEnd is a client's end of a pair of SAs with a peer, and its L2TP session.
type ipsecEnd struct {
	l      *lab
	g      *Datagrams
	peer   *Peer
	out    *outside
	spi    uint32 // ours
	seal   *esp.Outbound
	open   *esp.Inbound
	encap  bool
	remote netip.AddrPort
	sport  uint16 // of its L2TP
	tunnel uint16 // that we gave it
	call   *Call
	sink   *sink
	dev    *fakeDevice
	fd     int // far end of the face
}

const peerSPI = 0x1234567

// datagrams opens the UDP sockets.
func (l *lab) datagrams(spec DatagramSpec) (*Datagrams, *outside) {
	l.t.Helper()
	o := newOutside()
	spec.Address, spec.Sink = addr(serverIP), o
	g, err := l.d.OpenDatagrams(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	return g, o
}

// ipsec makes a peer with one pair of SAs.
func (l *lab) ipsec(g *Datagrams, o *outside, s suite, encap bool, shard int) *ipsecEnd {
	l.t.Helper()
	e := &ipsecEnd{l: l, g: g, out: o, encap: encap, remote: netip.MustParseAddrPort(clientIP + ":61234"), sport: 1701}
	if !encap {
		e.remote = netip.MustParseAddrPort(clientIP + ":500")
	}
	var err error
	if e.peer, err = l.d.OpenPeer(PeerSpec{Datagrams: g, Local: addr(serverIP), Remote: e.remote, Shard: shard, Sink: o}); err != nil {
		l.t.Fatal(err)
	}
	e.rekey(s)
	if e.tunnel, err = e.peer.NewTunnelID(); err != nil {
		l.t.Fatal(err)
	}
	e.fd = l.o.esp[""][e.peer.Shard()]
	if encap {
		e.fd = l.o.udp[4500][e.peer.Shard()]
	}
	return e
}

// rekey installs a new pair of SAs and makes it the one in use at both ends.
func (e *ipsecEnd) rekey(s suite) (old uint32) {
	t := e.l.t
	t.Helper()
	old = e.spi
	var err error
	if e.spi, err = e.peer.NewSPI(); err != nil {
		t.Fatal(err)
	}
	if int(e.spi)%16 != e.peer.Shard() || e.spi < 256 {
		t.Fatalf("SPI %#x does not name shard %d", e.spi, e.peer.Shard())
	}
	up, down := s.params(e.spi, byte(e.spi>>4)), s.params(peerSPI, byte(e.spi>>5))
	if err := e.peer.AddSA(SASpec{up, down, e.encap}); err != nil {
		t.Fatal(err)
	}
	e.peer.UseSA(e.spi)
	if e.seal, err = esp.NewOutbound(up); err != nil {
		t.Fatal(err)
	}
	if e.open, err = esp.NewInbound(down); err != nil {
		t.Fatal(err)
	}
	return old
}

// session opens an L2TP session with a network behind it.
func (e *ipsecEnd) session(n *Network, dev *fakeDevice, inner string) *ipsecEnd {
	t := e.l.t
	t.Helper()
	e.sink = newSink()
	spec := CallSpec{Local: addr(serverIP), Remote: addr(clientIP), Sink: e.sink, L2TP: &L2TPSpec{
		Peer: e.peer, Port: e.sport, LocalTunnel: e.tunnel, PeerTunnel: 7, PeerSession: 9,
	}}
	if e.peer == nil {
		spec.L2TP.Datagrams = e.g
	}
	var err error
	if e.call, err = e.l.d.OpenCall(spec); err != nil {
		t.Fatal(err)
	}
	if err := e.call.Attach(n, SessionSpec{Address: addr(inner), MTU: 1400}); err != nil {
		t.Fatal(err)
	}
	e.call.SetOpen(true)
	e.dev = dev
	e.call.Counters() // the shard has done it all
	return e
}

// message seals an L2TP message.
func (e *ipsecEnd) message(msg []byte) []byte {
	e.l.t.Helper()
	var b pktbuf.Buf
	b.SetBytes(msg)
	udp := b.Prepend(8)
	binary.BigEndian.PutUint16(udp, e.sport)
	binary.BigEndian.PutUint16(udp[2:], 1701)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(msg)))
	udp[6], udp[7] = 0, 0
	if v := e.seal.Seal(&b, 17); v != esp.OK {
		e.l.t.Fatalf("can't seal: %v", v)
	}
	return slices.Clone(b.Bytes())
}

// data makes a data message of a PPP frame.
func (e *ipsecEnd) data(protocol uint16, info []byte) []byte {
	frame := append(ppp.AppendHeader(nil, protocol, false, false), info...)
	h := wirel2tp.Header{HasLength: true, TunnelID: e.tunnel, SessionID: e.call.ID()}
	h.Length = uint16(h.Len() + len(frame))
	b, _ := h.AppendBinary(nil)
	return append(b, frame...)
}

// up sends an ESP packet from the client's present place.
func (e *ipsecEnd) up(p []byte) { e.upTo(e.fd, p) }

func (e *ipsecEnd) upTo(fd int, p []byte) {
	e.l.t.Helper()
	if e.encap {
		write(e.l.t, fd, append(fakeUDPHeader(e.remote, addr(serverIP)), p...))
		return
	}
	write(e.l.t, fd, ipv4(clientIP, serverIP, unix.IPPROTO_ESP, false, p))
}

// down waits for an ESP packet at the client and opens it: the port that it went to and the L2TP message.
func (e *ipsecEnd) down() (to netip.AddrPort, port uint16, msg []byte) {
	t := e.l.t
	t.Helper()
	p := receive(t, e.fd)
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[4:])), 0)
	if e.encap {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p)), binary.BigEndian.Uint16(p[8:]))
		p = p[10:]
	} else {
		p = p[8:]
	}
	var b pktbuf.Buf
	b.SetBytes(p)
	if next, v := e.open.Open(&b); v != esp.OK || next != 17 {
		t.Fatalf("can't open what came: %v, next header %d", v, next)
	}
	u := b.Bytes()
	if binary.BigEndian.Uint16(u) != 1701 {
		t.Fatalf("from port %d", binary.BigEndian.Uint16(u))
	}
	return to, binary.BigEndian.Uint16(u[2:]), slices.Clone(u[8:])
}

func (e *ipsecEnd) inside() []byte {
	e.l.t.Helper()
	p := receive(e.l.t, e.dev.far[e.call.Shard()])
	return p[tun.HeaderLen:]
}

func (e *ipsecEnd) waitDrop(d Drop, n uint64) {
	e.l.t.Helper()
	shard := 0
	if e.call != nil {
		shard = e.call.Shard()
	} else if e.peer != nil {
		shard = e.peer.Shard()
	}
	(&session{l: e.l, call: &Call{shard: e.l.d.shards[shard]}}).waitDrop(d, n)
}

// wantFrame checks a data message at the client and returns what its PPP frame holds.
func (e *ipsecEnd) wantFrame(msg []byte, protocol uint16) []byte {
	t := e.l.t
	t.Helper()
	h, frame, err := wirel2tp.ParseHeader(msg)
	if err != nil || h.Control || h.TunnelID != 7 || h.SessionID != 9 || !h.HasLength {
		t.Fatalf("no data message of the session: %+v %v", h, err)
	}
	got, info, err := ppp.ParseFrame(frame)
	if err != nil || got != protocol {
		t.Fatalf("PPP protocol %#x, want %#x: %v", got, protocol, err)
	}
	return info
}

var suites = map[string]suite{
	"AES-128-CBC-SHA1":   {esphdr.AESCBC, esphdr.HMACSHA1_96, 16},
	"AES-256-CBC-SHA256": {esphdr.AESCBC, esphdr.HMACSHA256_128, 32},
	"AES-128-GCM":        gcm,
	"3DES-CBC-SHA1":      {esphdr.TripleDES, esphdr.HMACSHA1_96, 24},
}

// TestIPsecBothWays: data, PPP control and L2TP control, raw and in UDP, by each suite.
func TestIPsecBothWays(t *testing.T) {
	for name, s := range suites {
		for _, encap := range []bool{false, true} {
			t.Run(name+map[bool]string{false: "/raw", true: "/udp"}[encap], func(t *testing.T) {
				l := newLab(t, 2)
				n, dev := l.network(acme)
				g, o := l.datagrams(DatagramSpec{IPsec: true})
				e := l.ipsec(g, o, s, encap, 1).session(n, dev, "10.50.0.7")

				inner := echo("10.50.0.7", "192.0.2.9", 1, 1300, true)
				e.up(e.message(e.data(ppp.ProtocolIPv4, inner)))
				if got := e.inside(); !bytes.Equal(got, inner) {
					t.Fatalf("inside came % x", got)
				}
				if used := o.next(t, "used"); used.spi != e.spi {
					t.Errorf("SA %#x used, want %#x", used.spi, e.spi)
				}
				back := echo("192.0.2.9", "10.50.0.7", 2, 1300, true)
				write(t, dev.far[e.call.Shard()], append(make([]byte, tun.HeaderLen), back...))
				to, port, msg := e.down()
				if port != e.sport || encap && to != e.remote || to.Addr() != e.remote.Addr() {
					t.Errorf("sent to %v, port %d", to, port)
				}
				if got := e.wantFrame(msg, ppp.ProtocolIPv4); !bytes.Equal(got, back) {
					t.Errorf("the client got % x", got)
				}
				e.up(e.message(e.data(ppp.ProtocolLCP, []byte{9, 1, 0, 8, 1, 2, 3, 4})))
				if f := <-e.sink.frames; f.protocol != ppp.ProtocolLCP || f.packet != "\x09\x01\x00\x08\x01\x02\x03\x04" {
					t.Errorf("the session got %#x % x", f.protocol, f.packet)
				}
				e.call.SendControl(ppp.ProtocolLCP, []byte{10, 1, 0, 8, 0, 0, 0, 0})
				_, _, msg = e.down()
				e.wantFrame(msg, ppp.ProtocolLCP)

				hello := []byte{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0}
				binary.BigEndian.PutUint16(hello[4:], e.tunnel)
				e.up(e.message(hello))
				if c := o.next(t, "control"); c.port != e.sport || !bytes.Equal(c.msg, hello) {
					t.Errorf("control side got %+v", c)
				}
				e.peer.SendControl(e.sport, hello)
				if _, _, msg = e.down(); !bytes.Equal(msg, hello) {
					t.Errorf("the client got % x", msg)
				}
				k := e.call.Counters()
				if k.InPackets != 1 || k.OutPackets != 1 || k.InBytes != uint64(len(inner)) || k.OutBytes != uint64(len(back)) {
					t.Errorf("counters %+v", k)
				}
				if s := l.d.ShardStats()[1]; s.WrongShard != 0 {
					t.Errorf("%d packets on the wrong shard", s.WrongShard)
				}
				o.none(t)
			})
		}
	}
}

func TestIPsecDrops(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	other := l.ipsec(g, newOutside(), gcm, true, 0)
	raw := l.ipsec(g, newOutside(), gcm, false, 0)
	inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	good := e.data(ppp.ProtocolIPv4, inner)
	e.up(e.message(good))
	e.inside()
	o.next(t, "used")

	replayed := e.message(good)
	e.up(slices.Clone(replayed))
	e.inside()
	e.up(replayed)
	e.waitDrop(DropESPReplay, 1)

	broken := e.message(good)
	broken[len(broken)-1] ^= 1
	e.up(broken)
	e.waitDrop(DropESPAuth, 1)

	e.up([]byte{0, 0, 1, 0, 0, 0, 0, 1})
	e.waitDrop(DropESPUnknownSPI, 1)
	e.up([]byte{0, 0, 0, 1, 0, 0})
	e.waitDrop(DropESPMalformed, 1)
	short := e.message(good)
	e.up(short[:12])
	e.waitDrop(DropESPMalformed, 2)
	e.up([]byte{0xff}) // a keepalive counts nowhere

	// A UDP SA's packet as raw ESP, and the other way round.
	write(t, l.o.esp[""][0], ipv4(clientIP, serverIP, unix.IPPROTO_ESP, false, e.message(good)))
	e.waitDrop(DropESPWrongAddress, 1)
	e.up(raw.message(good))
	e.waitDrop(DropESPWrongAddress, 2)
	write(t, l.o.esp[""][0], ipv4("203.0.113.77", serverIP, unix.IPPROTO_ESP, false, raw.message(good)))
	e.waitDrop(DropESPWrongAddress, 3)
	e.up([]byte{0xff})

	// Another peer's SA does not carry this one's session, nor does another tunnel's ID.
	other.up(other.message(good))
	e.waitDrop(DropL2TPWrongPeer, 1)
	other.out.next(t, "used")
	if s := other.out.next(t, "stray"); s.port != e.sport || s.spi != uint32(e.tunnel) {
		t.Errorf("stray %+v", s)
	}
	other.up(other.message(good))
	e.waitDrop(DropL2TPWrongPeer, 2)
	other.out.none(t) // once a second is enough
	tunnel := e.tunnel
	e.tunnel++
	e.up(e.message(e.data(ppp.ProtocolIPv4, inner)))
	e.waitDrop(DropL2TPWrongPeer, 3)
	o.next(t, "stray")
	e.tunnel = tunnel

	// Inside the SA: other protocols, other ports, no session, no L2TP.
	for _, c := range []struct {
		drop   Drop
		next   uint8
		packet []byte
	}{
		{DropESPNextHeader, 1, inner},
		{DropESPDummy, 59, inner},
		{DropL2TPWrongPort, 17, []byte{0x6, 0xa5, 0, 53, 0, 9, 0, 0, 1}},
		{DropL2TPMalformed, 17, []byte{0x6, 0xa5, 0x6, 0xa5, 0, 99, 0, 0, 1}},
		{DropL2TPMalformed, 17, []byte{0x6, 0xa5, 0x6, 0xa5, 0, 9, 0, 0, 1}},
		{DropL2TPUnknownSession, 17, []byte{0x6, 0xa5, 0x6, 0xa5, 0, 16, 0, 0, 0, 2, 0, 1, 0, 1, 0, 0}},
	} {
		before := l.d.ShardStats()[0].Drops[c.drop]
		var b pktbuf.Buf
		b.SetBytes(c.packet)
		if v := e.seal.Seal(&b, c.next); v != esp.OK {
			t.Fatal(v)
		}
		e.up(slices.Clone(b.Bytes()))
		e.waitDrop(c.drop, before+1)
	}

	// Outbound without an SA.
	e.peer.FreeSPI(e.spi)
	write(t, dev.far[0], append(make([]byte, tun.HeaderLen), echo("192.0.2.9", "10.50.0.7", 2, 100, true)...))
	e.waitDrop(DropESPNoSA, 1)
	e.peer.SendControl(1701, []byte{1})
	e.waitDrop(DropESPNoSA, 2)

	e.peer.Close()
	e.up(e.message(good))
	e.waitDrop(DropESPUnknownSPI, 2)
	if _, err := e.peer.NewSPI(); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed peer gives out SPIs: %v", err)
	}
	o.none(t)
}

// TestIPsecChecksum: outside UDP encapsulation an inner checksum must be right, inside it is not looked at.
func TestIPsecChecksum(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	zlb := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, encap := range []bool{false, true} {
		e := l.ipsec(g, o, gcm, encap, 0)
		var b pktbuf.Buf
		b.SetBytes(slices.Concat([]byte{0x6, 0xa5, 0x6, 0xa5, 0, 20, 0xbe, 0xef}, zlb))
		e.seal.Seal(&b, 17)
		e.up(slices.Clone(b.Bytes()))
		o.next(t, "used")
		if encap {
			o.next(t, "control")
		} else {
			e.waitDrop(DropL2TPChecksum, 1)
		}
	}
	o.none(t)
}

// TestNATMoves: the newest valid packet tells where the peer is; an older or a forged one does not.
func TestNATMoves(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	good := e.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))
	old, late := e.remote, e.message(good)
	e.remote = netip.MustParseAddrPort("203.0.113.10:4242")
	e.up(e.message(good))
	e.inside()
	if m := o.next(t, "moved"); m.remote != e.remote {
		t.Errorf("moved to %v", m.remote)
	}
	o.next(t, "used")
	moved := e.remote
	e.remote = old
	e.up(late)
	e.inside()
	e.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 8, 0, 0, 0, 0})
	if to, _, _ := e.down(); to != moved {
		t.Errorf("sent to %v, want %v", to, moved)
	}
	o.none(t)
	e.peer.SetRemote(old)
	e.peer.Keepalive()
	if p := receive(t, e.fd); !bytes.Equal(p, append(fakeUDPHeader(old, addr(serverIP)), 0xff)) {
		t.Errorf("no keepalive: % x", p)
	}
}

// TestRekey: the old SA is heard until it is taken out, what we send goes by the new one at once.
func TestRekey(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	good := e.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))
	first := e.seal
	old := e.rekey(gcm)
	second := e.seal
	for range 2 {
		for _, sa := range []*esp.Outbound{first, second} {
			e.seal = sa
			e.up(e.message(good))
			e.inside()
		}
		e.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 8, 0, 0, 0, 0})
		e.down() // by the new SA, or it would not open
	}
	e.peer.FreeSPI(old)
	e.seal = first
	e.up(e.message(good))
	e.waitDrop(DropESPUnknownSPI, 1)
	e.seal = second
	e.up(e.message(good))
	e.inside()
}

// TestHearsBeforeOpen: the client may send IP as soon as it has our IPCP Ack; what goes to it waits.
func TestHearsBeforeOpen(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	e.call.SetOpen(false)
	if err := e.call.Attach(n, SessionSpec{Address: addr("10.50.0.7"), MTU: 1300}); err != nil {
		t.Fatal(err)
	}
	good := e.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))
	e.up(e.message(good))
	e.inside()
	write(t, dev.far[0], append(make([]byte, tun.HeaderLen), echo("192.0.2.9", "10.50.0.7", 2, 100, true)...))
	e.waitDrop(DropNotOpen, 1)
	e.call.SetOpen(false)
	e.call.Counters()
	e.up(e.message(good))
	e.waitDrop(DropNotOpen, 2)
}

// TestEarlyControl: what is said before the first outbound SA is there is said with it, not lost.
func TestEarlyControl(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := &ipsecEnd{l: l, g: g, out: o, encap: true, remote: netip.MustParseAddrPort(clientIP + ":61234"), sport: 1701}
	var err error
	if e.peer, err = l.d.OpenPeer(PeerSpec{Datagrams: g, Local: addr(serverIP), Remote: e.remote, Sink: o}); err != nil {
		t.Fatal(err)
	}
	e.fd = l.o.udp[4500][0]
	for i := range byte(maxEarly + 2) {
		e.peer.SendControl(1701, []byte{i})
	}
	e.rekey(gcm)
	for i := range byte(maxEarly) {
		if _, _, msg := e.down(); !bytes.Equal(msg, []byte{i}) {
			t.Errorf("% x came, want %d", msg, i)
		}
	}
	e.waitDrop(DropESPNoSA, 2)
	e.peer.FreeSPI(e.spi)
	e.peer.SendControl(1701, []byte{9}) // the client has been there: this is no beginning
	e.waitDrop(DropESPNoSA, 3)
}

// TestOutboundAgain: an outbound SA that comes into use again goes on with its sequence numbers.
func TestOutboundAgain(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0)
	hello := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	first, firstSPI := e.open, e.spi
	e.peer.SendControl(1701, hello)
	e.down()
	e.rekey(gcm)
	e.peer.SendControl(1701, hello)
	e.down()
	e.peer.FreeSPI(e.spi)
	e.peer.UseSA(firstSPI)
	e.open = first
	e.peer.SendControl(1701, hello)
	e.down() // a number that was used would be a replay to the client
	if n := first.Packets(); n != 2 {
		t.Errorf("the client has seen number %d, want 2", n)
	}
	e.peer.FreeSPI(firstSPI)
	e.peer.SendControl(1701, hello)
	e.waitDrop(DropESPNoSA, 1)
}

// TestFirstPacketSwitches: what answers the first packet of a new pair leaves by it, whatever the control side knows; the
// first packet of an older one changes nothing.
func TestFirstPacketSwitches(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0)
	hello := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	var pairs []*ipsecEnd
	for range 3 { // none of which the control side has been told to use
		x := *e
		if x.spi, _ = e.peer.NewSPI(); x.spi == 0 {
			t.Fatal("no SPI")
		}
		up, down := gcm.params(x.spi, byte(len(pairs)+10)), gcm.params(peerSPI, byte(len(pairs)+20))
		if err := e.peer.AddSA(SASpec{up, down, true}); err != nil {
			t.Fatal(err)
		}
		var err error
		if x.seal, err = esp.NewOutbound(up); err != nil {
			t.Fatal(err)
		}
		if x.open, err = esp.NewInbound(down); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, &x)
	}
	answer := func(from *ipsecEnd) {
		t.Helper()
		e.peer.SendControl(1701, hello)
		from.down()
	}
	answer(e)
	for _, x := range pairs[1:] {
		x.up(x.message(hello))
		o.next(t, "used")
		o.next(t, "control")
		answer(x)
	}
	pairs[0].up(pairs[0].message(hello)) // late
	o.next(t, "used")
	o.next(t, "control")
	answer(pairs[2])
	e.peer.UseSA(pairs[0].spi) // by order
	answer(pairs[0])
	e.peer.UseSA(4711<<16 | 3<<4) // is not there
	answer(pairs[0])
	o.none(t)
}

// TestCutICV: a client that cuts the check value of SHA2-256 gets ours cut, in this pair and in those to come.
func TestCutICV(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, suites["AES-256-CBC-SHA256"], true, 0)
	hello := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	e.wantICV("before the first packet", 16)
	for range 3 {
		e.seal.Truncate()
		e.up(e.message(hello))
		o.next(t, "used")
		o.next(t, "control")
		e.wantICV("after it", 12)
		forged := append(e.message(hello), 1, 2, 3, 4) // a packet of its own, as long as a whole one
		e.up(forged)
		e.up(e.message(hello))
		o.next(t, "control")
		e.wantICV("after a forgery", 12)
		e.rekey(suites["AES-256-CBC-SHA256"])
		e.wantICV("after a rekey", 12)
	}
	e.waitDrop(DropESPAuth, 3)
}

// wantICV wants what we send to have an ICV of n octets that is good. It doesn't matter to e what it has got before.
func (e *ipsecEnd) wantICV(when string, n int) {
	t := e.l.t
	t.Helper()
	e.peer.SendControl(1701, []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0})
	p := receive(t, e.fd)[10:] // as ESP in UDP
	if got := len(p) - (8 + 16 + 32); got != n {
		t.Errorf("%s: an ICV of %d octets, want %d", when, got, n)
		return
	}
	in, err := esp.NewInbound(suites["AES-256-CBC-SHA256"].params(peerSPI, byte(e.spi>>5)))
	if err != nil {
		t.Fatal(err)
	}
	var b pktbuf.Buf
	b.SetBytes(p)
	if _, v := in.Open(&b); v != esp.OK {
		t.Errorf("%s: what came is %v", when, v)
	}
}

// TestMergedICV: what one of two peers has shown of its ICV counts for both, whichever is merged into the other.
func TestMergedICV(t *testing.T) {
	const whole, cut, silent = 16, 12, 0
	for _, tt := range []struct{ from, into, want int }{
		{silent, silent, whole},
		{silent, cut, cut},
		{cut, silent, cut},
		{silent, whole, whole},
		{whole, silent, whole},
		{whole, cut, whole}, // cut on its way
		{cut, whole, whole},
	} {
		l := newLab(t, 1)
		g, o := l.datagrams(DatagramSpec{IPsec: true})
		var ends [2]*ipsecEnd
		for i, form := range []int{tt.from, tt.into} {
			e := l.ipsec(g, o, suites["AES-256-CBC-SHA256"], true, 0)
			ends[i] = e
			if form == silent {
				continue
			}
			p := e.message([]byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0})
			e.up(p[:len(p)-16+form])
			o.next(t, "used")
			o.next(t, "control")
		}
		from, into := ends[0], ends[1]
		if err := from.peer.Merge(into.peer); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("%d merged into %d", tt.from, tt.into)
		from.wantICV(what, tt.want) // by from's pair, which was the last in use
		into.peer.UseSA(into.spi)
		into.wantICV(what+", the other pair", tt.want)
	}
}

// TestLimits: each limit is told once.
func TestLimits(t *testing.T) {
	l := newLab(t, 1)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0)
	spi, err := e.peer.NewSPI()
	if err != nil {
		t.Fatal(err)
	}
	up := gcm.params(spi, 3)
	up.SoftPackets, up.HardPackets = 2, 4
	down := gcm.params(peerSPI, 4)
	down.SoftBytes = 1
	if err := e.peer.AddSA(SASpec{up, down, true}); err != nil {
		t.Fatal(err)
	}
	if e.seal, err = esp.NewOutbound(gcm.params(spi, 3)); err != nil {
		t.Fatal(err)
	}
	zlb := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	for range 6 {
		e.up(e.message(zlb))
	}
	o.next(t, "used")
	o.next(t, "control")
	if v := o.next(t, "limit"); v.spi != spi || v.hard {
		t.Errorf("%+v", v)
	}
	o.next(t, "control")
	o.next(t, "control")
	if v := o.next(t, "limit"); v.spi != spi || !v.hard {
		t.Errorf("%+v", v)
	}
	o.next(t, "control")
	e.waitDrop(DropESPExhausted, 2)

	e.peer.SendControl(1701, zlb)
	e.peer.SendControl(1701, zlb)
	if v := o.next(t, "limit"); v.spi != spi || v.hard {
		t.Errorf("%+v", v)
	}
	receive(t, e.fd)
	receive(t, e.fd)
	o.none(t)
}

// TestMerge: a client that came by another port goes on with its tunnel and session.
func TestMerge(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 1).session(n, dev, "10.50.0.7")
	fresh := l.ipsec(g, newOutside(), gcm, true, 1)
	fresh.remote = netip.MustParseAddrPort(clientIP + ":5999")
	fresh.peer.SetRemote(fresh.remote)
	if err := fresh.peer.Merge(e.peer); err != nil {
		t.Fatal(err)
	}
	good := e.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))
	fresh.up(fresh.message(good))
	e.inside()
	o.next(t, "used") // e's peer hears of it
	e.up(e.message(good))
	e.inside()
	o.next(t, "moved") // the old SA is still heard, from where it came
	o.next(t, "used")
	e.peer.SetRemote(fresh.remote)
	e.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 8, 0, 0, 0, 0})
	if to, _, msg := fresh.down(); to != fresh.remote {
		t.Errorf("sent to %v: % x", to, msg)
	}
	// What is still under way for the one that is gone reaches the other.
	fresh.peer.SendControl(1701, []byte{1, 2, 3})
	if _, _, msg := fresh.down(); !bytes.Equal(msg, []byte{1, 2, 3}) {
		t.Errorf("% x", msg)
	}
	fresh.peer.Close()
	fresh.up(fresh.message(good))
	e.inside()
	e.peer.FreeSPI(fresh.spi)
	fresh.up(fresh.message(good))
	e.waitDrop(DropESPUnknownSPI, 1)
	far := l.ipsec(g, newOutside(), gcm, true, 0)
	if err := far.peer.Merge(e.peer); !errors.Is(err, ErrSpec) {
		t.Errorf("merged over shards: %v", err)
	}
}

// TestIKE: messages come and go, marker and size included; none reaches L2TP or ESP.
func TestIKE(t *testing.T) {
	l := newLab(t, 2)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	from := netip.MustParseAddrPort(clientIP + ":500")
	msg := bytes.Repeat([]byte{7}, 300)
	write(t, l.o.udp[500][1], append(fakeUDPHeader(from, addr(serverIP)), msg...))
	if e := o.next(t, "IKE"); e.remote != from || e.local != netip.MustParseAddrPort(serverIP+":500") || !bytes.Equal(e.msg, msg) {
		t.Errorf("%+v", e)
	}
	long := bytes.Repeat([]byte{8}, 9000)
	write(t, l.o.udp[4500][0], slices.Concat(fakeUDPHeader(from, addr(serverIP)), make([]byte, 4), long))
	if e := o.next(t, "IKE"); e.local != netip.MustParseAddrPort(serverIP+":4500") || !bytes.Equal(e.msg, long) {
		t.Errorf("%d octets from %v", len(e.msg), e.remote)
	}
	for _, port := range []uint16{500, 4500} {
		want := fakeUDPHeader(from, addr(serverIP))
		if port == 4500 {
			want = append(want, 0, 0, 0, 0)
		}
		g.SendIKE(netip.AddrPortFrom(addr(serverIP), port), from, slices.Clone(msg))
		var got []byte
		for _, fd := range l.o.udp[port] {
			if p, any := tryReceive(t, fd, 0); any {
				got = p
			}
		}
		for range 100 {
			if got != nil {
				break
			}
			for _, fd := range l.o.udp[port] {
				if p, any := tryReceive(t, fd, patience/100); any {
					got = p
				}
			}
		}
		if !bytes.Equal(got, append(want, msg...)) {
			t.Errorf("port %d: sent % x", port, got)
		}
	}
}

// TestPlainL2TP: outside an SA L2TP is heard where that is wanted, and its data only from its own peer.
func TestPlainL2TP(t *testing.T) {
	l := newLab(t, 2)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{Plain: true})
	e := &ipsecEnd{l: l, g: g, sport: 1702, tunnel: 0x21}
	e.session(n, dev, "10.50.0.7")
	from := netip.MustParseAddrPort(clientIP + ":1702")
	fd := l.o.udp[1701][e.call.Shard()]
	send := func(fd int, from netip.AddrPort, msg []byte) {
		write(t, fd, append(fakeUDPHeader(from, addr(serverIP)), msg...))
	}
	zlb := []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	send(fd, from, zlb)
	if c := o.next(t, "plain"); c.remote != from || c.local.Addr() != addr(serverIP) || !bytes.Equal(c.msg, zlb) {
		t.Errorf("%+v", c)
	}
	inner := echo("10.50.0.7", "192.0.2.9", 1, 100, true)
	good := e.data(ppp.ProtocolIPv4, inner)
	send(fd, from, good)
	if got := e.inside(); !bytes.Equal(got, inner) {
		t.Errorf("inside came % x", got)
	}
	send(l.o.udp[1701][1-e.call.Shard()], from, good) // the wrong shard
	e.inside()
	send(fd, netip.MustParseAddrPort(clientIP+":1703"), good)
	send(fd, netip.MustParseAddrPort("203.0.113.77:1702"), good)
	e.waitDrop(DropL2TPWrongPeer, 2)
	send(fd, from, []byte{0, 3, 0, 1, 0, 1})
	e.waitDrop(DropL2TPMalformed, 1)

	write(t, dev.far[e.call.Shard()], append(make([]byte, tun.HeaderLen), echo("192.0.2.9", "10.50.0.7", 2, 100, true)...))
	p := receive(t, fd)
	if !bytes.Equal(p[:10], fakeUDPHeader(from, addr(serverIP))) {
		t.Errorf("sent to % x", p[:10])
	}
	e.wantFrame(p[10:], ppp.ProtocolIPv4)
	g.SendPlainL2TP(addr(serverIP), from, slices.Clone(zlb))

	g.SetPlain(false)
	e.call.Counters()
	send(fd, from, zlb)
	send(fd, from, good)
	e.waitDrop(DropL2TPCleartext, 2)
	for range 2 {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	g.SendPlainL2TP(addr(serverIP), from, slices.Clone(zlb)) // is lost, and that is all
	lost := uint64(0)
	for _, s := range l.d.ShardStats() {
		lost += s.Drops[DropWireSend]
	}
	if lost != 1 {
		t.Errorf("%d messages were not sent, want 1", lost)
	}
}

// TestSequencing: numbers go out where the peer requires them, and what comes late is dropped.
func TestSequencing(t *testing.T) {
	l := newLab(t, 1)
	n, dev := l.network(acme)
	g, o := l.datagrams(DatagramSpec{IPsec: true})
	e := l.ipsec(g, o, gcm, true, 0).session(n, dev, "10.50.0.7")
	e.call.SetSequencing(true)
	for want := range uint16(2) {
		e.call.SendControl(ppp.ProtocolLCP, []byte{9, 1, 0, 8, 0, 0, 0, 0})
		_, _, msg := e.down()
		h, _, err := wirel2tp.ParseHeader(msg)
		if err != nil || !h.HasSequence || h.Ns != want {
			t.Errorf("%+v, %v; want Ns %d", h, err, want)
		}
	}
	seq := &l2tpdata.Sequencer{}
	numbered := func() []byte {
		var b pktbuf.Buf
		b.SetBytes(append(ppp.AppendHeader(nil, ppp.ProtocolIPv4, false, false), echo("10.50.0.7", "192.0.2.9", 1, 100, true)...))
		l2tpdata.Prepend(&b, e.tunnel, e.call.ID(), seq)
		return slices.Clone(b.Bytes())
	}
	a, b := numbered(), numbered()
	e.up(e.message(b))
	e.inside()
	e.up(e.message(a))
	e.waitDrop(DropL2TPLate, 1)
	if k := e.call.Counters(); k.Lost != 1 || k.Drops[DropL2TPLate] != 1 {
		t.Errorf("%d lost, drops %v", k.Lost, k.Drops.Map())
	}
}

// TestIPsecWrongShard: a packet that the kernel gave to another shard finds its way, raw and in UDP.
func TestIPsecWrongShard(t *testing.T) {
	for _, encap := range []bool{false, true} {
		l := newLab(t, 2)
		n, dev := l.network(acme)
		g, o := l.datagrams(DatagramSpec{IPsec: true})
		e := l.ipsec(g, o, gcm, encap, 1).session(n, dev, "10.50.0.7")
		fd := l.o.esp[""][0]
		if encap {
			fd = l.o.udp[4500][0]
		}
		e.upTo(fd, e.message(e.data(ppp.ProtocolIPv4, echo("10.50.0.7", "192.0.2.9", 1, 100, true))))
		e.inside()
		if got := l.d.ShardStats()[0].WrongShard; got != 1 {
			t.Errorf("%d on the wrong shard", got)
		}
	}
}

func TestSPIQueue(t *testing.T) {
	q := newSPIQueue(3)
	seen := map[int]bool{}
	var first uint32
	for i := range spisPerShard {
		spi, ok := q.take()
		if !ok || spi%16 != 3 || spi < 256 || seen[spiSlot(spi)] {
			t.Fatalf("%#x, %v", spi, ok)
		}
		seen[spiSlot(spi)] = true
		if i == 0 {
			first = spi
		}
	}
	if _, ok := q.take(); ok {
		t.Error("one too many")
	}
	q.put(first)
	again, ok := q.take()
	if !ok || spiSlot(again) != spiSlot(first) || again == first {
		t.Errorf("%#x after %#x", again, first)
	}
}
