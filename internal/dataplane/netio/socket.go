package netio

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/steer"
)

// socketBuffer is asked of the kernel for each direction of a raw socket, in octets: a burst of 1000 sessions must wait
// there, not be lost.
const socketBuffer = 8 << 20

// mmsghdr is struct mmsghdr of sendmmsg(2). The compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// sourceAddress is the control message that chooses the outer source, IP_PKTINFO of ip(7).
type sourceAddress struct {
	hdr  unix.Cmsghdr
	info unix.Inet4Pktinfo
}

// RawSocket is a Socket on a descriptor. It keeps its system call arguments, so that no batch allocates.
type RawSocket struct {
	fd int

	mu                 sync.Mutex // guards all up to the empty line; never taken by the shard
	closed             bool
	calls              *steer.Calls
	unknown, malformed uint64 // the last that were read

	msgs  [BatchSize]mmsghdr
	iov   [BatchSize]unix.Iovec
	names [BatchSize]unix.RawSockaddrInet4
	from  [BatchSize]sourceAddress

	in    [BatchSize]mmsghdr
	inIov [BatchSize]unix.Iovec
}

var _ Socket = (*RawSocket)(nil)

// NewRawSocket takes over a raw IPv4 socket's descriptor and the filter that is attached to it.
func NewRawSocket(fd int, calls *steer.Calls) *RawSocket {
	s := &RawSocket{fd: fd, calls: calls}
	for i := range s.msgs {
		s.from[i].hdr.Level = unix.IPPROTO_IP
		s.from[i].hdr.Type = unix.IP_PKTINFO
		s.from[i].hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		s.names[i].Family = unix.AF_INET

		h := &s.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		h.Control = (*byte)(unsafe.Pointer(&s.from[i]))
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		h.Iov = &s.iov[i]
		h.SetIovlen(1)

		s.in[i].hdr.Iov = &s.inIov[i]
		s.in[i].hdr.SetIovlen(1)
	}
	return s
}

// openGRE makes the socket in the calling thread's namespace.
func openGRE(calls *steer.Calls) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_GRE)
	if err != nil {
		return -1, fmt.Errorf("open raw GRE socket: %w", err)
	}
	if err := setUp(fd, calls); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func setUp(fd int, calls *steer.Calls) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, calls.ProgramFD()); err != nil {
		return fmt.Errorf("attach GRE filter: %w", err)
	}
	// Packets that came between socket and filter go through the shard's own checks, which are the same.
	// The outer packet may be fragmented on its way (RFC 2637 section 4 leaves that to IP): no DF, no path MTU kept.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
		return fmt.Errorf("clear outer DF: %w", err)
	}
	for _, o := range []struct {
		force, plain int
		name         string
	}{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, "receive"},
		{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, "send"},
	} {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, socketBuffer)
		if errors.Is(err, unix.EPERM) { // no CAP_NET_ADMIN: as much as the system allows
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.plain, socketBuffer)
		}
		if err != nil {
			return fmt.Errorf("set %s buffer: %w", o.name, err)
		}
	}
	return nil
}

// FD implements Socket.
func (s *RawSocket) FD() int { return s.fd }

// ReadBatch implements Socket. Raw, because a call that can't block need not tell the scheduler.
func (s *RawSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	want := min(len(bufs), len(sizes), BatchSize)
	for i := range want {
		s.inIov[i].Base = unsafe.SliceData(bufs[i])
		s.inIov[i].SetLen(len(bufs[i]))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in[0])),
		uintptr(want), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range int(n) {
		sizes[i] = int(s.in[i].len)
	}
	return int(n), nil
}

// WriteBatch implements Socket.
func (s *RawSocket) WriteBatch(msgs []Message) (int, error) {
	want := min(len(msgs), BatchSize)
	for i := range want {
		m := &msgs[i]
		s.names[i].Addr = m.To
		s.from[i].info.Spec_dst = m.From
		s.iov[i].Base = unsafe.SliceData(m.Data)
		s.iov[i].SetLen(len(m.Data))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[0])),
		uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Admit implements Socket.
func (s *RawSocket) Admit(callID uint16, yes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.calls.Set(callID, yes)
}

// Refused implements Socket.
func (s *RawSocket) Refused() (unknown, malformed uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		if unknown, malformed, err = s.calls.Refused(); err != nil {
			return 0, 0, err
		}
		s.unknown, s.malformed = unknown, malformed
	}
	return s.unknown, s.malformed, nil
}

// Close implements Socket.
func (s *RawSocket) Close() error {
	_, _, err := s.Refused() // for those who ask later
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(err, unix.Close(s.fd), s.calls.Close())
}

// openGREIn opens the socket inside the namespace and keeps the descriptor, which works from everywhere.
func openGREIn(namespace string, shard, shards int) (*RawSocket, error) {
	h, err := netns.Open(namespace)
	if err != nil {
		return nil, err
	}
	fd := -1
	calls, err := steer.NewCalls(shard, shards)
	if err == nil {
		err = h.Do(func() (err error) {
			fd, err = openGRE(calls)
			return err
		})
	}
	if err = errors.Join(err, h.Close()); err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		if calls != nil {
			err = errors.Join(err, calls.Close())
		}
		return nil, fmt.Errorf("GRE socket of shard %d in namespace %q: %w", shard, namespace, err)
	}
	return NewRawSocket(fd, calls), nil
}
