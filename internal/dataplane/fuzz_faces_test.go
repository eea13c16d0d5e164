package dataplane

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netio"
	"concentrator/internal/dataplane/tun"
)

// fuzzOpener gives sockets that are queues in memory, and devices that are pairs of local sockets.
type fuzzOpener struct {
	w       *fuzzWorld
	sockets []*fuzzSocket // that are open
	device  *fuzzTUN      // the last that was opened
	devices int           // that are open
	offload bool          // of devices to come
	refuse  bool          // to add prefixes
	errno   unix.Errno    // of what is sent
}

func (o *fuzzOpener) begin() { o.offload, o.refuse, o.errno = false, false, 0 }

func (o *fuzzOpener) socket(kind faceKind, shard int) (*fuzzSocket, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC) // something to wait for that never comes
	if err != nil {
		return nil, err
	}
	s := &fuzzSocket{o: o, kind: kind, shard: shard, fd: fd, admitted: map[uint32]bool{}}
	o.sockets = append(o.sockets, s)
	return s, nil
}

func (o *fuzzOpener) OpenGRE(_ string, shard, _ int) (netio.Socket, error) {
	return o.socket(faceGRE, shard)
}

func (o *fuzzOpener) OpenESP(_ string, shard, _ int) (netio.Socket, error) {
	return o.socket(faceESP, shard)
}

func (o *fuzzOpener) OpenUDP(_ string, at netip.AddrPort, shards int) (out []netio.UDPSocket, err error) {
	kind := map[uint16]faceKind{portIKE: faceIKE, portNATT: faceNATT, portL2TP: faceL2TP}[at.Port()]
	for i := range shards {
		s, err := o.socket(kind, i)
		if err != nil {
			return nil, err
		}
		out = append(out, fuzzUDP{s})
	}
	return out, nil
}

func (o *fuzzOpener) OpenTUN(spec tun.Spec) (netio.Device, error) {
	d := &fuzzTUN{o: o, offloads: tun.Offloads{TSO: o.offload, USO: o.offload}}
	for range spec.Queues {
		near, far, err := pair()
		if err != nil {
			return nil, err
		}
		d.queues, d.far, d.waiting = append(d.queues, near), append(d.far, far), append(d.waiting, 0)
	}
	o.device = d
	o.devices++
	return d, nil
}

func (o *fuzzOpener) ListenUDP(string, netip.AddrPort) (net.PacketConn, error) {
	return nil, errors.ErrUnsupported
}

func (o *fuzzOpener) ListenTCP(string, netip.AddrPort) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}

func (o *fuzzOpener) Dial(context.Context, netio.DialSpec) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (o *fuzzOpener) RemoveNamespace(string) error { return nil }

// find is the socket of a kind that is open on a shard; nil if none is.
func (o *fuzzOpener) find(kind faceKind, shard int) *fuzzSocket {
	for _, s := range o.sockets {
		if s.kind == kind && s.shard == shard {
			return s
		}
	}
	return nil
}

// waiting is how much a face has to read.
func (o *fuzzOpener) waiting(f *face) int {
	if f.udp != nil {
		return f.udp.(fuzzUDP).waiting()
	}
	return f.sock.(*fuzzSocket).waiting()
}

// fuzzDatagram is a packet that waits in a socket: a raw one from its IP header on, or a datagram and where it came from.
type fuzzDatagram struct {
	data []byte
	netio.Datagram
}

// fuzzSocket is a socket of any kind.
type fuzzSocket struct {
	o        *fuzzOpener
	kind     faceKind
	shard    int
	fd       int
	queue    []fuzzDatagram
	broken   int // how many reads fail
	admitted map[uint32]bool
}

func (s *fuzzSocket) FD() int          { return s.fd }
func (s *fuzzSocket) waiting() int     { return len(s.queue) + s.broken }
func (s *fuzzSocket) Backlogged() bool { return len(s.queue) > netio.BatchSize }

func (s *fuzzSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	return s.read(len(bufs), func(i int, p fuzzDatagram) {
		copy(bufs[i], p.data)
		sizes[i] = len(p.data)
	})
}

func (s *fuzzSocket) read(n int, each func(i int, p fuzzDatagram)) (int, error) {
	switch {
	case s.fd < 0:
		s.o.w.t.Fatalf("a closed %v socket is read", s.kind)
	case s.broken > 0:
		s.broken--
		return 0, unix.EIO
	case len(s.queue) == 0:
		return 0, unix.EAGAIN
	}
	n = min(n, len(s.queue), netio.BatchSize)
	for i, p := range s.queue[:n] {
		each(i, p)
	}
	s.queue = s.queue[n:]
	return n, nil
}

func (s *fuzzSocket) WriteBatch(msgs []netio.Message) (sent int) {
	if s.fd < 0 {
		s.o.w.t.Fatalf("a closed %v socket is written to", s.kind)
	}
	for i := range msgs {
		msgs[i].Errno = s.o.errno
		s.o.w.left(s, &msgs[i])
	}
	return len(msgs)
}

func (s *fuzzSocket) Admit(id uint32, yes bool) error {
	if s.admitted[id] = yes; !yes {
		delete(s.admitted, id)
	}
	return nil
}

func (s *fuzzSocket) Refused() (uint64, uint64, error) { return 0, 0, nil }

func (s *fuzzSocket) Close() error {
	err := unix.Close(s.fd)
	s.o.w.inflight -= len(s.queue)
	s.fd, s.queue, s.broken = -1, nil, 0
	s.o.sockets = slices.DeleteFunc(s.o.sockets, func(o *fuzzSocket) bool { return o == s })
	return err
}

// fuzzUDP is a fuzzSocket for datagrams.
type fuzzUDP struct{ *fuzzSocket }

func (fuzzUDP) WantTOS() error { return nil }

func (s fuzzUDP) ReadBatch(bufs [][]byte, in []netio.Datagram) (int, error) {
	return s.read(len(bufs), func(i int, p fuzzDatagram) {
		in[i] = p.Datagram
		in[i].Size = copy(bufs[i], p.data)
		if in[i].Size < len(p.data) && s.kind != faceL2TP {
			in[i].Rest = p.data[in[i].Size:]
		}
		in[i].Cut = p.Cut || s.kind == faceL2TP && in[i].Size < len(p.data)
	})
}

// fuzzTUN is a device.
type fuzzTUN struct {
	o           *fuzzOpener
	queues, far []int
	waiting     []int // by queue, what was put into far
	offloads    tun.Offloads
	hangUp      bool // it was deleted
	closed      bool
}

func (d *fuzzTUN) Queues() []int              { return d.queues }
func (d *fuzzTUN) Offloads() tun.Offloads     { return d.offloads }
func (d *fuzzTUN) Dropped() (uint64, error)   { return 0, nil }
func (d *fuzzTUN) Warnings() []string         { return nil }
func (d *fuzzTUN) Configure(tun.Config) error { return nil }

func (d *fuzzTUN) Add(p netip.Prefix, _ int) error {
	if d.o.refuse && p.Bits() < 32 {
		return tun.ErrRouteExists
	}
	return nil
}

func (d *fuzzTUN) Remove(netip.Prefix) error { return nil }

func (d *fuzzTUN) Close() error {
	if d.closed {
		return errors.New("closed twice")
	}
	d.closed = true
	d.o.devices--
	var errs []error
	for _, fd := range slices.Concat(d.queues, d.far) {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

func event32(slot int) unix.EpollEvent { return unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(slot)} }

func hangUp32(slot int) unix.EpollEvent {
	return unix.EpollEvent{Events: unix.EPOLLERR | unix.EPOLLHUP, Fd: int32(slot)}
}
