package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/gre"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/dataplane/tun"
	wiregre "concentrator/internal/wire/gre"
	"concentrator/internal/wire/ppp"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Second

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func sum16(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ipv4 builds an inner packet.
func ipv4(src, dst string, protocol byte, df bool, payload []byte) []byte {
	p := make([]byte, 20, 20+len(payload))
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(p[4:], 4711)
	if df {
		p[6] = 0x40
	}
	a, b := addr(src).As4(), addr(dst).As4()
	copy(p[12:], a[:])
	copy(p[16:], b[:])
	binary.BigEndian.PutUint16(p[10:], sum16(p))
	return append(p, payload...)
}

// echo builds an inner ICMP echo request with n octets of data.
func echo(src, dst string, seq uint16, n int, df bool) []byte {
	m := make([]byte, 8+n)
	m[0] = 8
	binary.BigEndian.PutUint16(m[4:], 77)
	binary.BigEndian.PutUint16(m[6:], seq)
	for i := range n {
		m[8+i] = byte(i)
	}
	binary.BigEndian.PutUint16(m[2:], sum16(m))
	return ipv4(src, dst, 1, df, m)
}

// syn builds an inner TCP segment with the SYN flag and an MSS option.
func syn(src, dst string, port, mss uint16) []byte {
	t := make([]byte, 24)
	binary.BigEndian.PutUint16(t, 40000)
	binary.BigEndian.PutUint16(t[2:], port)
	binary.BigEndian.PutUint32(t[4:], 1000)
	t[12], t[13] = 6<<4, 2
	binary.BigEndian.PutUint16(t[14:], 65535)
	t[20], t[21] = 2, 4
	binary.BigEndian.PutUint16(t[22:], mss)
	a, b := addr(src).As4(), addr(dst).As4()
	pseudo := slices.Concat(a[:], b[:], []byte{0, 6, 0, byte(len(t))}, t)
	binary.BigEndian.PutUint16(t[16:], sum16(pseudo))
	return ipv4(src, dst, 6, true, t)
}

// mssOf reads the MSS option of an inner SYN and says whether the TCP checksum is right.
func mssOf(p []byte) (mss uint16, valid bool) {
	head := int(p[0]&0xf) * 4
	t := p[head:]
	pseudo := slices.Concat(p[12:20], []byte{0, 6, 0, byte(len(t))}, t)
	for at := 20; at+4 <= int(t[12]>>4)*4; {
		switch t[at] {
		case 2:
			return binary.BigEndian.Uint16(t[at+2:]), sum16(pseudo) == 0
		case 1:
			at++
		default:
			at += max(2, int(t[at+1]))
		}
	}
	return 0, sum16(pseudo) == 0
}

var (
	keyUp   = mppe.Params{Bits: 128, StartKey: [16]byte{1, 2, 3}}
	keyDown = mppe.Params{Bits: 128, StartKey: [16]byte{9, 8, 7}}
)

// client is the far end of one call: it makes and reads enhanced GRE packets.
type client struct {
	t       testing.TB
	callID  uint16 // the server's
	own     uint16
	gre     *gre.Session
	encrypt *mppe.Sender
	decrypt *mppe.Receiver
	scratch *mppe.Scratch
}

func newClient(t testing.TB, callID, own uint16) *client {
	return &client{t: t, callID: callID, own: own, gre: gre.NewSession(callID, pktbuf.NewPool(64)), scratch: mppe.NewScratch()}
}

func (c *client) withMPPE(up, down mppe.Params) *client {
	c.encrypt, c.decrypt = mppe.NewSender(up), mppe.NewReceiver(down)
	return c
}

// frame makes a GRE packet of a control frame, or of data in the clear.
func (c *client) frame(protocol uint16, info []byte) []byte {
	c.t.Helper()
	var b pktbuf.Buf
	if !b.SetBytes(append(ppp.AppendHeader(nil, protocol, false, false), info...)) || !c.gre.Wrap(&b) {
		c.t.Fatal("frame does not fit")
	}
	return slices.Clone(b.Bytes())
}

// data makes a GRE packet of an inner packet, encrypted if there is a key.
func (c *client) data(inner []byte) []byte {
	c.t.Helper()
	if c.encrypt == nil {
		return c.frame(ppp.ProtocolIPv4, inner)
	}
	var b pktbuf.Buf
	if !b.SetBytes(append([]byte{0, 0x21}, inner...)) || !c.encrypt.Seal(&b, c.scratch) {
		c.t.Fatal("packet does not fit")
	}
	return c.frame(ppp.ProtocolCompressed, b.Bytes())
}

// read takes a GRE packet apart: the protocol and what it carries, decrypted. A bare acknowledgement has protocol 0.
func (c *client) read(packet []byte) (h wiregre.Header, protocol uint16, info []byte) {
	c.t.Helper()
	h, payload, err := wiregre.ParseHeader(packet)
	if err != nil {
		c.t.Fatalf("what came is not GRE: %v: % x", err, packet)
	}
	if h.CallID != c.own {
		c.t.Fatalf("call ID is %d, want %d", h.CallID, c.own)
	}
	if !h.HasSeq {
		return h, 0, nil
	}
	protocol, info, err = ppp.ParseFrame(payload)
	if err != nil {
		c.t.Fatalf("what came is not PPP: %v: % x", err, payload)
	}
	if protocol != ppp.ProtocolCompressed || c.decrypt == nil {
		return h, protocol, slices.Clone(info)
	}
	var b pktbuf.Buf
	b.SetBytes(info)
	anything := func([]byte, int, bool) bool { return true }
	if v := c.decrypt.Open(&b, h.Seq, anything, 0, c.scratch); !v.Passed() {
		c.t.Fatalf("can't decrypt: %v", v)
	}
	protocol, info, err = ppp.ParseFrame(b.Bytes())
	if err != nil {
		c.t.Fatalf("what was decrypted is not PPP: %v", err)
	}
	return h, protocol, slices.Clone(info)
}

// outer puts the IPv4 header before a GRE packet that a raw socket would show.
func outer(src, dst string, packet []byte) []byte {
	return ipv4(src, dst, unix.IPPROTO_GRE, false, packet)
}

// sink collects what a call hands out.
type sink struct {
	mu     sync.Mutex
	frames chan frame
	lost   int
	broken []string
}

type frame struct {
	protocol uint16
	packet   string
}

func newSink() *sink { return &sink{frames: make(chan frame, 1000)} }

func (k *sink) Deliver(protocol uint16, packet []byte) {
	select {
	case k.frames <- frame{protocol, string(packet)}:
	default:
	}
}

// Broken implements Sink.
func (k *sink) Broken(detail string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = append(k.broken, detail)
}

func (k *sink) OutOfSync() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost++
}

// fakeOpener is an Opener of pairs of local sockets: one end is the shard's, the other the test's.
type fakeOpener struct {
	mu      sync.Mutex
	gre     map[string][]int // far ends, by namespace and shard
	esp     map[string][]int // the same
	udp     map[uint16][]int // far ends of the last opened, by port and shard
	devices map[string]*fakeDevice
	made    map[string]bool
	addErr  error
	openErr error
	remove  func() // called while a namespace is removed; nil for none
}

func newFakeOpener() *fakeOpener {
	return &fakeOpener{gre: map[string][]int{}, esp: map[string][]int{}, udp: map[uint16][]int{}, devices: map[string]*fakeDevice{}, made: map[string]bool{}}
}

func pair() (near, far int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	}
	return p[0], p[1], err
}

func (o *fakeOpener) OpenGRE(namespace string, shard, _ int) (netio.Socket, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.openErr != nil && shard > 0 {
		return nil, o.openErr
	}
	near, far, err := pair()
	if err != nil {
		return nil, err
	}
	o.gre[namespace] = append(o.gre[namespace], far)
	return &fakeSocket{fd: near}, nil
}

func (o *fakeOpener) OpenESP(namespace string, shard, _ int) (netio.Socket, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	near, far, err := pair()
	if err != nil {
		return nil, err
	}
	o.esp[namespace] = append(o.esp[namespace][:shard], far)
	return &fakeSocket{fd: near}, nil
}

func (o *fakeOpener) OpenUDP(_ string, at netip.AddrPort, shards int) (out []netio.UDPSocket, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.udp[at.Port()] = nil
	for range shards {
		near, far, err := pair()
		if err != nil {
			return nil, err
		}
		o.udp[at.Port()] = append(o.udp[at.Port()], far)
		out = append(out, &fakeUDP{fakeSocket{fd: near}})
	}
	return out, nil
}

func (o *fakeOpener) OpenTUN(spec tun.Spec) (netio.Device, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := &fakeDevice{o: o, spec: spec, prefixes: map[netip.Prefix]int{}}
	for range spec.Queues {
		near, far, err := pair()
		if err != nil {
			return nil, err
		}
		d.queues, d.far = append(d.queues, near), append(d.far, far)
	}
	o.devices[spec.Namespace+"/"+spec.Device] = d
	if spec.Namespace != "" {
		o.made[spec.Namespace] = true
	}
	return d, nil
}

func (o *fakeOpener) ListenUDP(string, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

func (o *fakeOpener) Dial(context.Context, netio.DialSpec) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (o *fakeOpener) ListenTCP(_ string, at netip.AddrPort) (net.Listener, error) {
	return net.Listen("tcp4", at.String())
}

func (o *fakeOpener) RemoveNamespace(name string) error {
	if o.remove != nil {
		o.remove()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.made, name)
	return nil
}

// fakeSocket writes each message with its addresses before it.
type fakeSocket struct{ fd int }

func (s *fakeSocket) FD() int { return s.fd }

func (s *fakeSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	for i := range bufs {
		n, err := unix.Read(s.fd, bufs[i])
		if err != nil && i == 0 {
			return 0, err
		}
		if err != nil {
			return i, nil
		}
		sizes[i] = n
	}
	return len(bufs), nil
}

func (s *fakeSocket) WriteBatch(msgs []netio.Message) (sent int) {
	for i := range msgs {
		m := &msgs[i]
		if _, err := unix.Write(s.fd, slices.Concat(m.From[:], m.To[:], m.Data)); err != nil {
			errors.As(err, &m.Errno)
			continue
		}
		sent++
	}
	return sent
}

func (s *fakeSocket) Backlogged() bool { return false }

func (s *fakeSocket) Close() error { return unix.Close(s.fd) }

// Admit and Refused do nothing: what a filter keeps away must be refused by the shard as well.
func (s *fakeSocket) Admit(uint32, bool) error         { return nil }
func (s *fakeSocket) Refused() (uint64, uint64, error) { return 0, 0, nil }

// fakeUDP reads datagrams with the peer's address and port and our address before them, and writes them so too.
type fakeUDP struct{ fakeSocket }

// fakeUDPHeader is what stands before a datagram.
func fakeUDPHeader(from netip.AddrPort, to netip.Addr) []byte {
	a, b := from.Addr().As4(), to.As4()
	return slices.Concat(a[:], b[:], binary.BigEndian.AppendUint16(nil, from.Port()))
}

func (s *fakeUDP) ReadBatch(bufs [][]byte, in []netio.Datagram) (int, error) {
	raw := make([]byte, 70000)
	n, err := unix.Read(s.fd, raw)
	if err != nil {
		return 0, err
	}
	p := raw[10:n]
	size := copy(bufs[0], p)
	in[0] = netio.Datagram{
		Size: size, From: [4]byte(raw), To: [4]byte(raw[4:]), FromPort: binary.BigEndian.Uint16(raw[8:]),
	}
	if size < len(p) {
		in[0].Rest = p[size:]
	}
	return 1, nil
}

func (s *fakeUDP) WriteBatch(msgs []netio.Message) (sent int) {
	for i := range msgs {
		m := &msgs[i]
		to := netip.AddrPortFrom(netip.AddrFrom4(m.To), m.Port)
		if _, err := unix.Write(s.fd, append(fakeUDPHeader(to, netip.AddrFrom4(m.From)), m.Data...)); err != nil {
			errors.As(err, &m.Errno)
			continue
		}
		sent++
	}
	return sent
}

func (s *fakeUDP) WantTOS() error { return nil }

type fakeDevice struct {
	o           *fakeOpener
	spec        tun.Spec
	queues, far []int
	mu          sync.Mutex
	config      tun.Config
	prefixes    map[netip.Prefix]int
	closed      bool
	lost        atomic.Uint64
}

func (d *fakeDevice) Queues() []int            { return d.queues }
func (d *fakeDevice) Dropped() (uint64, error) { return d.lost.Load(), nil }
func (d *fakeDevice) Warnings() []string       { return nil }

// Offloads says none: what the tests look at are single packets.
func (d *fakeDevice) Offloads() tun.Offloads { return tun.Offloads{} }

func (d *fakeDevice) Configure(c tun.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = c
	return nil
}

func (d *fakeDevice) Add(p netip.Prefix, queue int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.o.addErr != nil && p.Bits() < 32 {
		return d.o.addErr
	}
	d.prefixes[p] = queue
	return nil
}

func (d *fakeDevice) Remove(p netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.prefixes, p)
	return nil
}

func (d *fakeDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("closed twice")
	}
	d.closed = true
	var errs []error
	for _, fd := range d.queues {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// receive waits for the next packet at a far end.
func receive(t testing.TB, fd int) []byte {
	t.Helper()
	p, ok := tryReceive(t, fd, patience)
	if !ok {
		t.Fatal("nothing came")
	}
	return p
}

func tryReceive(t testing.TB, fd int, wait time.Duration) ([]byte, bool) {
	t.Helper()
	b := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, b)
		if err == nil {
			return b[:n], true
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait/time.Millisecond))
		if err == nil && ready == 0 {
			return nil, false
		}
	}
}

func write(t testing.TB, fd int, p []byte) {
	t.Helper()
	if _, err := unix.Write(fd, p); err != nil {
		t.Fatal(err)
	}
}

// lab is a dataplane on a fakeOpener.
type lab struct {
	t *testing.T
	o *fakeOpener
	d *Dataplane
}

const (
	serverIP = "198.51.100.1"
	clientIP = "203.0.113.9"
)

func newLab(t *testing.T, shards int) *lab {
	t.Helper()
	o := newFakeOpener()
	d, err := Start(Config{Shards: shards, Opener: o, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Stop()
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, fds := range slices.Concat(slices.Collect(maps.Values(o.gre)), slices.Collect(maps.Values(o.esp)), slices.Collect(maps.Values(o.udp))) {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}
		for _, dev := range o.devices {
			for _, fd := range dev.far {
				_ = unix.Close(fd)
			}
		}
	})
	l := &lab{t, o, d}
	if err := d.OpenGRE(""); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) network(spec NetworkSpec) (*Network, *fakeDevice) {
	l.t.Helper()
	n, err := l.d.OpenNetwork(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	return n, l.o.devices[spec.Namespace+"/"+spec.Device]
}

var acme = NetworkSpec{
	Tenant: "acme", Namespace: "acme", Device: "vpn0", Gateways: []netip.Addr{addr("10.50.0.1")},
	Routes: []netip.Prefix{prefix("10.50.0.0/24")},
}

// session is an open call with both ends.
type session struct {
	l      *lab
	call   *Call
	client *client
	sink   *sink
	wire   int // far end of its shard's GRE socket
	dev    *fakeDevice
	far    int // far end of its shard's queue
}

func (l *lab) call() *session {
	l.t.Helper()
	k := newSink()
	c, err := l.d.OpenCall(CallSpec{Local: addr(serverIP), Remote: addr(clientIP), PeerCallID: 99, Sink: k})
	if err != nil {
		l.t.Fatal(err)
	}
	return &session{l: l, call: c, client: newClient(l.t, c.ID(), 99), sink: k, wire: l.o.gre[""][c.Shard()]}
}

func (l *lab) open(n *Network, dev *fakeDevice, spec SessionSpec) *session {
	l.t.Helper()
	s := l.call()
	if err := s.call.Attach(n, spec); err != nil {
		l.t.Fatal(err)
	}
	s.call.SetOpen(true)
	s.dev, s.far = dev, dev.far[s.call.Shard()]
	return s
}

// encrypted installs keys on both ends.
func (s *session) encrypted() *session {
	s.call.SetDecrypt(keyUp)
	s.call.SetEncrypt(keyDown)
	s.client.withMPPE(keyUp, keyDown)
	return s
}

// sync returns when the shard has done all that was asked of it.
func (s *session) sync() { s.call.Counters() }

// up sends a GRE packet as the client's.
func (s *session) up(packet []byte) {
	s.l.t.Helper()
	s.sync() // commands first
	write(s.l.t, s.wire, outer(clientIP, serverIP, packet))
}

// inside waits for the next packet in the network and takes the virtio header off.
func (s *session) inside() []byte {
	s.l.t.Helper()
	p := receive(s.l.t, s.far)
	if len(p) < tun.HeaderLen || !slices.Equal(p[:tun.HeaderLen], make([]byte, tun.HeaderLen)) {
		s.l.t.Fatalf("no plain virtio header: % x", p)
	}
	return p[tun.HeaderLen:]
}

// down puts an inner packet into the session's queue.
func (s *session) down(inner []byte) {
	s.l.t.Helper()
	s.sync()
	write(s.l.t, s.far, append(make([]byte, tun.HeaderLen), inner...))
}

// atClient waits for the next packet at the client that is not a bare acknowledgement.
func (s *session) atClient() (h wiregre.Header, protocol uint16, info []byte) {
	s.l.t.Helper()
	for {
		p := receive(s.l.t, s.wire)
		if from, to := netip.AddrFrom4([4]byte(p)), netip.AddrFrom4([4]byte(p[4:])); from != addr(serverIP) || to != addr(clientIP) {
			s.l.t.Fatalf("sent from %v to %v", from, to)
		}
		if h, protocol, info = s.client.read(p[8:]); protocol != 0 {
			return h, protocol, info
		}
	}
}

// waitDrop waits until the call, or its shard, has counted n drops.
func (s *session) waitDrop(d Drop, n uint64) {
	s.l.t.Helper()
	var got uint64
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if got = s.l.d.ShardStats()[s.call.Shard()].Drops[d]; got >= n {
			break
		}
	}
	if got != n {
		s.l.t.Fatalf("%d drops for %v, want %d; all: %v", got, d, n, s.l.d.ShardStats()[s.call.Shard()].Drops.Map())
	}
}
