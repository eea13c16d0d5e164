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

// rawSocket is a Socket on a descriptor. It keeps its system call arguments, so that no batch allocates.
type rawSocket struct {
	fd int

	mu                 sync.Mutex // guards all up to the empty line; never taken by the shard
	closed             bool
	filter             *steer.Filter
	unknown, malformed uint64 // the last that were read

	out   outgoing
	in    [BatchSize]mmsghdr
	inIov [BatchSize]unix.Iovec
}

var _ Socket = (*rawSocket)(nil)

// newRawSocket takes over a raw IPv4 socket's descriptor and the filter that is attached to it.
func newRawSocket(fd int, filter *steer.Filter) *rawSocket {
	s := &rawSocket{fd: fd, filter: filter}
	s.out.init()
	for i := range s.in {
		s.in[i].hdr.Iov = &s.inIov[i]
		s.in[i].hdr.SetIovlen(1)
	}
	return s
}

// openRaw makes the socket in the calling thread's namespace.
func openRaw(protocol int, filter *steer.Filter) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, fmt.Errorf("open raw socket: %w", err)
	}
	// Packets that came between socket and filter go through the shard's own checks, which are the same.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, filter.ProgramFD())
	if err != nil {
		err = fmt.Errorf("attach filter: %w", err)
	} else {
		err = setUp(fd)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// openRawIn opens the socket inside the namespace and keeps the descriptor, which works from everywhere.
func openRawIn(namespace string, protocol int, newFilter func() (*steer.Filter, error)) (*rawSocket, error) {
	h, err := netns.Open(namespace)
	if err != nil {
		return nil, err
	}
	fd := -1
	filter, err := newFilter()
	if err == nil {
		err = h.Do(func() (err error) {
			fd, err = openRaw(protocol, filter)
			return err
		})
	}
	if err = errors.Join(err, h.Close()); err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		if filter != nil {
			err = errors.Join(err, filter.Close())
		}
		return nil, err
	}
	return newRawSocket(fd, filter), nil
}

// OpenGRE implements Opener.
func (Linux) OpenGRE(namespace string, shard, shards int) (Socket, error) {
	s, err := openRawIn(namespace, unix.IPPROTO_GRE, func() (*steer.Filter, error) { return steer.NewGRE(shard, shards) })
	if err != nil {
		return nil, fmt.Errorf("GRE socket of shard %d in namespace %q: %w", shard, namespace, err)
	}
	return s, nil
}

// OpenESP implements Opener.
func (Linux) OpenESP(namespace string, shard, shards int) (Socket, error) {
	s, err := openRawIn(namespace, unix.IPPROTO_ESP, func() (*steer.Filter, error) { return steer.NewESP(shard, shards) })
	if err != nil {
		return nil, fmt.Errorf("ESP socket of shard %d in namespace %q: %w", shard, namespace, err)
	}
	return s, nil
}

// FD implements Socket.
func (s *rawSocket) FD() int { return s.fd }

// ReadBatch implements Socket. Raw, because a call that can't block need not tell the scheduler.
func (s *rawSocket) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
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
func (s *rawSocket) WriteBatch(msgs []Message) int { return s.out.write(s.fd, msgs) }

// Backlogged implements Socket.
func (s *rawSocket) Backlogged() bool { return backlogged(s.fd) }

// Admit implements Socket.
func (s *rawSocket) Admit(id uint32, yes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.filter.Set(id, yes)
}

// Refused implements Socket.
func (s *rawSocket) Refused() (unknown, malformed uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		if unknown, malformed, err = s.filter.Refused(); err != nil {
			return 0, 0, err
		}
		s.unknown, s.malformed = unknown, malformed
	}
	return s.unknown, s.malformed, nil
}

// Close implements Socket.
func (s *rawSocket) Close() error {
	_, _, err := s.Refused() // for those who ask later
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(err, unix.Close(s.fd), s.filter.Close())
}
