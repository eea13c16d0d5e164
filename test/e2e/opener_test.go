package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/tun"
)

// opener is a netio.Opener whose sockets and queues are pairs of local sockets: one end is a shard's, the other the
// internet's or the inside network's.
type opener struct {
	arrive func(f frame)                    // a packet of the server to a client
	inside func(d *device, packet []byte)   // a packet of a client into its network
	lost   func(where string, reason error) // what must not happen

	readers sync.WaitGroup
	mu      sync.Mutex // guards what follows
	udp     map[uint16][]*os.File
	esp     []*os.File
	far     []*os.File
}

// frame is a datagram on the outside: UDP with the server's port 500, 4500 or 1701, or ESP with port 0.
type frame struct {
	port   uint16
	client netip.AddrPort // outer; port 0 with ESP
	server netip.Addr
	data   []byte
}

func newOpener() *opener { return &opener{udp: map[uint16][]*os.File{}} }

// pair makes two ends; what comes to the far one is read by a goroutine of its own.
func (o *opener) pair(name string, read func(b []byte)) (near int, far *os.File, err error) {
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, fd := range p {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<20); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	far = os.NewFile(uintptr(p[1]), name)
	o.mu.Lock()
	o.far = append(o.far, far)
	o.mu.Unlock()
	o.readers.Go(func() {
		b := make([]byte, 70000)
		for {
			n, err := far.Read(b)
			if err != nil || n == 0 {
				return // the near end is closed
			}
			read(slices.Clone(b[:n]))
		}
	})
	return p[0], far, nil
}

// close ends the far ends.
func (o *opener) close() {
	o.mu.Lock()
	far := o.far
	o.mu.Unlock()
	for _, f := range far {
		_ = f.Close() // its reader ends by it
	}
	o.readers.Wait()
}

// send puts a packet of a client onto the outside.
func (o *opener) send(f frame) {
	o.mu.Lock()
	ends := o.esp
	if f.port != 0 {
		ends = o.udp[f.port]
	}
	o.mu.Unlock()
	if len(ends) == 0 {
		return // nothing listens
	}
	shard := int(f.client.Port()) % len(ends)
	if spi := f.data; f.port == 0 || f.port == 4500 && len(spi) >= 4 && binary.BigEndian.Uint32(spi) != 0 {
		shard = int(spi[3]&0xf) % len(ends)
	}
	b := append(udpHeader(f.client, f.server), f.data...)
	if f.port == 0 {
		b = ipv4(f.client.Addr(), f.server, syscall.IPPROTO_ESP, f.data)
	}
	if _, err := ends[shard].Write(b); err != nil && !errors.Is(err, os.ErrClosed) {
		o.lost("to the server", err)
	}
}

// udpHeader is what stands before a datagram on a pair: the client's address and port and the server's address.
func udpHeader(client netip.AddrPort, server netip.Addr) []byte {
	a, b := client.Addr().As4(), server.As4()
	return slices.Concat(a[:], b[:], binary.BigEndian.AppendUint16(nil, client.Port()))
}

const udpHeaderLen = 10

// OpenGRE implements netio.Opener, as the methods below do.
func (*opener) OpenGRE(string, int, int) (netio.Socket, error) {
	return nil, errors.New("there is no GRE here")
}

func (o *opener) OpenESP(_ string, shard, _ int) (netio.Socket, error) {
	near, far, err := o.pair("ESP", func(b []byte) {
		o.arrive(frame{client: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), 0), server: netip.AddrFrom4([4]byte(b[4:])), data: b[udpHeaderLen:]})
	})
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.esp = append(o.esp[:shard:shard], far)
	return &rawSocket{socket{near}}, nil
}

func (o *opener) OpenUDP(_ string, at netip.AddrPort, shards int) (out []netio.UDPSocket, err error) {
	var ends []*os.File
	for range shards {
		near, far, err := o.pair("UDP", func(b []byte) {
			client := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[8:]))
			o.arrive(frame{port: at.Port(), client: client, server: netip.AddrFrom4([4]byte(b[4:])), data: b[udpHeaderLen:]})
		})
		if err != nil {
			return nil, err
		}
		ends, out = append(ends, far), append(out, &udpSocket{socket{near}})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.udp[at.Port()] = ends
	return out, nil
}

func (*opener) ListenUDP(_ string, addr netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
}

func (*opener) Dial(ctx context.Context, spec netio.DialSpec) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, spec.Network, spec.Remote.String())
}

func (*opener) ListenTCP(string, netip.AddrPort) (net.Listener, error) {
	return nil, errors.New("there is no TCP here")
}

func (o *opener) OpenTUN(spec tun.Spec) (netio.Device, error) {
	d := &device{steer: map[netip.Prefix]int{}}
	for range spec.Queues {
		near, far, err := o.pair("TUN", func(b []byte) { o.inside(d, b[tun.HeaderLen:]) })
		if err != nil {
			return nil, err
		}
		d.near, d.far = append(d.near, near), append(d.far, far)
	}
	return d, nil
}

func (*opener) RemoveNamespace(string) error { return nil }

// socket is what both kinds of sockets have in common. Each message has its addresses before it.
type socket struct{ fd int }

func (s socket) FD() int      { return s.fd }
func (s socket) Close() error { return syscall.Close(s.fd) }

func (socket) Backlogged() bool { return false }

func (s socket) WriteBatch(msgs []netio.Message) (sent int) {
	for i := range msgs {
		m := &msgs[i]
		h := udpHeader(netip.AddrPortFrom(netip.AddrFrom4(m.To), m.Port), netip.AddrFrom4(m.From))
		if _, err := syscall.Write(s.fd, append(h, m.Data...)); err != nil {
			errors.As(err, &m.Errno)
			continue
		}
		sent++
	}
	return sent
}

// rawSocket is raw ESP, read with its IPv4 header.
type rawSocket struct{ socket }

func (s *rawSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	for i := range bufs {
		n, err := syscall.Read(s.fd, bufs[i])
		if err != nil || n == 0 {
			return soFar(i)
		}
		sizes[i] = n
	}
	return len(bufs), nil
}

// soFar ends a batch of n packets.
func soFar(n int) (int, error) {
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, nil
}

// Admit implements netio.Socket: what a filter would keep away, the shard refuses too.
func (*rawSocket) Admit(uint32, bool) error { return nil }

// Refused implements netio.Socket.
func (*rawSocket) Refused() (unknown, malformed uint64, err error) { return 0, 0, nil }

// WantTOS implements netio.UDPSocket.
func (*udpSocket) WantTOS() error { return nil }

// udpSocket is one port.
type udpSocket struct{ socket }

func (s *udpSocket) ReadBatch(bufs [][]byte, in []netio.Datagram) (int, error) {
	raw := make([]byte, 70000)
	for i := range bufs {
		n, err := syscall.Read(s.fd, raw)
		if err != nil || n < udpHeaderLen {
			return soFar(i)
		}
		p := raw[udpHeaderLen:n]
		size := copy(bufs[i], p)
		in[i] = netio.Datagram{Size: size, From: [4]byte(raw), To: [4]byte(raw[4:]), FromPort: binary.BigEndian.Uint16(raw[8:])}
		if size < len(p) {
			in[i].Rest = p[size:]
			return i + 1, nil // the rest is borrowed until the next batch
		}
	}
	return len(bufs), nil
}

// device is a TUN device.
type device struct {
	near []int
	far  []*os.File

	mu     sync.Mutex // guards what follows
	steer  map[netip.Prefix]int
	closed bool
}

func (d *device) Queues() []int            { return d.near }
func (*device) Dropped() (uint64, error)   { return 0, nil }
func (*device) Warnings() []string         { return nil }
func (*device) Offloads() tun.Offloads     { return tun.Offloads{} } // single packets only
func (*device) Configure(tun.Config) error { return nil }

func (d *device) Add(p netip.Prefix, queue int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steer[p] = queue
	return nil
}

func (d *device) Remove(p netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.steer, p)
	return nil
}

func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("closed twice")
	}
	d.closed = true
	var errs []error
	for _, fd := range d.near {
		errs = append(errs, syscall.Close(fd))
	}
	return errors.Join(errs...)
}

// write sends an inner packet to the queue that its destination is steered to; false if there is none.
func (d *device) write(packet []byte) bool {
	to := netip.AddrFrom4([4]byte(packet[16:]))
	d.mu.Lock()
	queue, best := -1, -1
	for p, q := range d.steer {
		if p.Contains(to) && p.Bits() > best {
			queue, best = q, p.Bits()
		}
	}
	d.mu.Unlock()
	if queue < 0 {
		return false
	}
	_, err := d.far[queue].Write(append(make([]byte, tun.HeaderLen), packet...))
	return err == nil
}
