package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trainMessages is how many messages trainReader takes by one system call.
const trainMessages = 16

// trainLen is room for any UDP payload.
const trainLen = 1 << 16

// trainReader reads UDP sockets that may give several equally long datagrams of one source as one (UDP_GRO). It belongs to
// one thread.
type trainReader struct {
	msgs  [trainMessages]mmsghdr
	iov   [trainMessages]unix.Iovec
	names [trainMessages]unix.RawSockaddrInet4
	sizes [trainMessages]segment
	area  []byte

	n, at int    // messages that were read, and which of them is cut up
	rest  []byte // of that one
	size  int    // of its pieces
}

func newTrainReader() *trainReader {
	r := &trainReader{area: make([]byte, trainMessages*trainLen)}
	for i := range r.msgs {
		r.iov[i].Base = &r.area[i*trainLen]
		r.iov[i].SetLen(trainLen)
		h := &r.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iov[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&r.sizes[i]))
	}
	return r
}

// read reads a socket once. What next has not returned yet must be nothing. EAGAIN is no error: 0 messages.
func (r *trainReader) read(fd int) (int, error) {
	r.n, r.at, r.rest = 0, -1, nil
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet4
		h.SetControllen(unix.CmsgSpace(4))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msgs[0])), trainMessages,
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, readError(errno)
	}
	r.n = int(n)
	return r.n, nil
}

// readError is nil for what is no fault of the socket: nothing there, or the news that something we sent was refused.
func readError(errno unix.Errno) error {
	for _, harmless := range []unix.Errno{unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if errors.Is(errno, harmless) {
			return nil
		}
	}
	return fmt.Errorf("read: %w", errno)
}

// next returns the next datagram, borrowed until the next read, and where it came from.
func (r *trainReader) next() (p []byte, from *unix.RawSockaddrInet4, ok bool) {
	for len(r.rest) == 0 {
		if r.at+1 >= r.n {
			return nil, nil, false
		}
		r.at++
		r.rest = r.area[r.at*trainLen:][:r.msgs[r.at].len]
		r.size = len(r.rest)
		c := &r.sizes[r.at]
		if r.msgs[r.at].hdr.Controllen > 0 && c.hdr.Level == unix.SOL_UDP && c.hdr.Type == unix.UDP_GRO && c.size > 0 {
			r.size = int(c.size)
		}
		if r.size == 0 {
			continue // an empty datagram
		}
	}
	n := min(r.size, len(r.rest))
	p, r.rest = r.rest[:n:n], r.rest[n:]
	return p, &r.names[r.at], true
}

// rawReader reads raw sockets into the caller's buffers. It belongs to one thread.
type rawReader struct {
	msgs [batch]mmsghdr
	iov  [batch]unix.Iovec
}

func newRawReader() *rawReader {
	r := &rawReader{}
	for i := range r.msgs {
		r.msgs[i].hdr.Iov = &r.iov[i]
		r.msgs[i].hdr.SetIovlen(1)
	}
	return r
}

// set says where packet i goes.
func (r *rawReader) set(i int, area []byte) {
	r.iov[i].Base = unsafe.SliceData(area)
	r.iov[i].SetLen(len(area))
}

// read reads at most n packets. A packet that was longer than its buffer has a length beyond it.
func (r *rawReader) read(fd, n int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msgs[0])), uintptr(n),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, readError(errno)
	}
	return int(got), nil
}

func (r *rawReader) len(i int) int { return int(r.msgs[i].len) }

// enlarge gives a socket large buffers, as far as the system lets it.
func enlarge(fd int) {
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], socketBuffer) != nil { // no CAP_NET_ADMIN
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], socketBuffer) // then as it is
		}
	}
}

// sourcePort is the port of an address.
func sourcePort(a *unix.RawSockaddrInet4) uint16 { return binary.BigEndian.Uint16(portOf(a)) }
