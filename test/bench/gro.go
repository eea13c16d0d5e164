package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/pktbuf"
)

// groReader reads a UDP socket that gives several datagrams in one piece. A client's kernel that takes them apart would do
// so in the server's time here, because a veth pair carries a packet all the way to the other end's socket in its sender's.
type groReader struct {
	fd      int
	area    []byte
	rest    []byte // not yet given
	size    int    // of each but the last
	hdr     unix.Msghdr
	iov     unix.Iovec
	control struct {
		hdr  unix.Cmsghdr
		size int32
		_    [44]byte // others may come before it
	}
}

func newGROReader(fd int) (*groReader, error) {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
		return nil, fmt.Errorf("let datagrams come together: %w", err)
	}
	// Where a datagram was sent to would come first.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 0); err != nil {
		return nil, fmt.Errorf("leave out destinations: %w", err)
	}
	r := &groReader{fd: fd, area: make([]byte, 1<<16)}
	r.iov.Base = unsafe.SliceData(r.area)
	r.iov.SetLen(len(r.area))
	r.hdr.Iov = &r.iov
	r.hdr.SetIovlen(1)
	return r, nil
}

// read fills bufs with datagrams and returns how many there were; 0 if none waits.
func (r *groReader) read(bufs []pktbuf.Buf) int {
	n := 0
	for n < len(bufs) {
		if len(r.rest) == 0 && !r.more() {
			break
		}
		k := min(r.size, len(r.rest))
		if bufs[n].SetBytes(r.rest[:k]) {
			n++
		}
		r.rest = r.rest[k:]
	}
	return n
}

func (r *groReader) more() bool {
	r.hdr.Control = (*byte)(unsafe.Pointer(&r.control))
	r.hdr.SetControllen(int(unsafe.Sizeof(r.control)))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.hdr)), unix.MSG_DONTWAIT)
	if errno != 0 || n == 0 {
		return false
	}
	r.rest, r.size = r.area[:n], int(n)
	if r.hdr.Controllen > 0 && r.control.hdr.Level == unix.IPPROTO_UDP && r.control.hdr.Type == unix.UDP_GRO {
		r.size = int(r.control.size)
	}
	return true
}
