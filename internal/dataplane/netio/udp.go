package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/steer"
)

// restLen is how many octets of a datagram are kept beyond its buffer: enough for an IKE message with any chain of
// certificates. The kernel gives memory only to what is used.
const restLen = 16 << 10

// Ports whose datagrams name a shard.
const (
	portNATT = 4500 // RFC 3948
	portL2TP = 1701 // RFC 2661 section 8.1
)

// udpSocket is a UDPSocket on a descriptor. It keeps its system call arguments, so that no batch allocates.
type udpSocket struct {
	fd     int
	mu     sync.Mutex // guards closed
	closed bool

	out   outgoing
	in    [BatchSize]mmsghdr
	inIov [BatchSize][2]unix.Iovec // the buffer, then rest
	names [BatchSize]unix.RawSockaddrInet4
	infos [BatchSize]receiveControl
	rest  []byte // restLen for each; nil: what is longer than a buffer is of no use
}

var _ UDPSocket = (*udpSocket)(nil)

// newUDPSocket takes over a UDP socket's descriptor. long says that IKE comes to it, whose messages may be longer than a buffer.
func newUDPSocket(fd int, noOffload, long bool) *udpSocket {
	s := &udpSocket{fd: fd}
	if long {
		s.rest = make([]byte, BatchSize*restLen)
	}
	s.out.init()
	s.out.trains.on = !noOffload
	for i := range s.in {
		h := &s.in[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&s.infos[i]))
		h.Iov = &s.inIov[i][0]
		h.SetIovlen(1) // the kernel is quicker with one than with several
		if long {
			h.SetIovlen(len(s.inIov[i]))
			s.inIov[i][1].Base = unsafe.SliceData(s.restOf(i))
			s.inIov[i][1].SetLen(restLen)
		}
	}
	return s
}

func (s *udpSocket) restOf(i int) []byte { return s.rest[i*restLen:][:restLen:restLen] }

// FD implements UDPSocket.
func (s *udpSocket) FD() int { return s.fd }

// ReadBatch implements UDPSocket. Raw, because a call that can't block need not tell the scheduler.
func (s *udpSocket) ReadBatch(bufs [][]byte, in []Datagram) (int, error) {
	want := min(len(bufs), len(in), BatchSize)
	for i := range want {
		s.inIov[i][0].Base = unsafe.SliceData(bufs[i])
		s.inIov[i][0].SetLen(len(bufs[i]))
		s.in[i].hdr.Namelen = unix.SizeofSockaddrInet4 // the kernel writes what it used
		s.in[i].hdr.SetControllen(receiveSpace)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in[0])),
		uintptr(want), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range int(n) {
		d := &in[i]
		// Field by field: a struct that is made elsewhere and copied here costs several times as much.
		d.Size, d.Rest, d.Cut = min(int(s.in[i].len), len(bufs[i])), nil, false
		d.From, d.FromPort = s.names[i].Addr, binary.BigEndian.Uint16(portOf(&s.names[i]))
		d.To, d.TOS = s.infos[i].target.info.Addr, s.infos[i].tos(int(s.in[i].hdr.Controllen))
		if more := int(s.in[i].len) - len(bufs[i]); more > 0 { // MSG_TRUNC makes it the whole length
			if d.Cut = s.rest == nil || more > restLen; s.rest != nil {
				d.Rest = s.restOf(i)[:min(more, restLen)]
			}
		}
	}
	return int(n), nil
}

// WriteBatch implements UDPSocket.
func (s *udpSocket) WriteBatch(msgs []Message) int { return s.out.write(s.fd, msgs) }

// Backlogged implements UDPSocket.
func (s *udpSocket) Backlogged() bool { return backlogged(s.fd) }

// WantTOS implements UDPSocket.
func (s *udpSocket) WantTOS() error {
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1); err != nil {
		return fmt.Errorf("ask for Type of Service: %w", err)
	}
	return nil
}

// Close implements UDPSocket.
func (s *udpSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return unix.Close(s.fd)
}

// bindUDP makes one socket of a group in the calling thread's namespace.
func bindUDP(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open UDP socket: %w", err)
	}
	for _, o := range []struct {
		level, option int
		name          string
	}{
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, "share the port"},
		{unix.IPPROTO_IP, unix.IP_PKTINFO, "ask for destination addresses"},
	} {
		if err == nil {
			if err = unix.SetsockoptInt(fd, o.level, o.option, 1); err != nil {
				err = fmt.Errorf("%s: %w", o.name, err)
			}
		}
	}
	if err == nil {
		err = setUp(fd)
	}
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
			err = fmt.Errorf("bind: %w", err)
		}
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// newGroup is the program for a port; nil where any shard will do and the kernel chooses by addresses and ports.
func newGroup(port uint16, shards int) (*steer.Group, error) {
	switch port {
	case portNATT:
		return steer.NewNATTGroup(shards)
	case portL2TP:
		return steer.NewL2TPGroup(shards)
	default:
		return nil, nil
	}
}

// bindGroup makes all sockets of a group in the calling thread's namespace and steers among them. What comes before that is
// done may land on the wrong shard, which passes it on.
func bindGroup(addr netip.AddrPort, shards int) (fds []int, err error) {
	defer func() {
		if err != nil {
			for _, fd := range fds {
				err = errors.Join(err, unix.Close(fd))
			}
			fds = nil
		}
	}()
	for range shards {
		fd, err := bindUDP(addr)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
	}
	group, err := newGroup(addr.Port(), shards)
	if err != nil || group == nil {
		return fds, err
	}
	for shard, fd := range fds {
		if err = group.Set(shard, fd); err != nil {
			return fds, errors.Join(err, group.Close())
		}
	}
	err = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, group.ProgramFD())
	if err != nil {
		err = fmt.Errorf("attach steering: %w", err)
	}
	return fds, errors.Join(err, group.Close()) // the sockets keep it
}

// OpenUDP implements Opener.
func (l Linux) OpenUDP(namespace string, addr netip.AddrPort, shards int) ([]UDPSocket, error) {
	if !addr.Addr().Is4() || shards < 1 || shards > steer.MaxShards {
		return nil, fmt.Errorf("UDP socket on %v for %d shards: only IPv4 and 1 to %d shards are possible", addr, shards,
			steer.MaxShards)
	}
	h, err := netns.Open(namespace)
	if err != nil {
		return nil, err
	}
	var fds []int
	err = h.Do(func() (err error) {
		fds, err = bindGroup(addr, shards)
		return err
	})
	if err = errors.Join(err, h.Close()); err != nil {
		for _, fd := range fds {
			err = errors.Join(err, unix.Close(fd))
		}
		return nil, fmt.Errorf("UDP sockets on %v in namespace %q: %w", addr, namespace, err)
	}
	sockets := make([]UDPSocket, len(fds))
	for i, fd := range fds {
		sockets[i] = newUDPSocket(fd, l.NoOffload, addr.Port() != portL2TP)
	}
	return sockets, nil
}
