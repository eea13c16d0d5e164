package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketBuffer is asked of the kernel for each direction of a socket, in octets: a burst of 1000 sessions must wait
// there, not be lost.
const socketBuffer = 8 << 20

// mmsghdr is struct mmsghdr of sendmmsg(2). The compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// packetInfo is the control message IP_PKTINFO of ip(7): the outer source that is chosen on sending, and the
// destination that a datagram came to.
type packetInfo struct {
	hdr  unix.Cmsghdr
	info unix.Inet4Pktinfo
}

// outgoing is a socket's system call arguments for sending, kept so that no batch allocates.
type outgoing struct {
	msgs  [BatchSize]mmsghdr
	iov   [BatchSize]unix.Iovec
	names [BatchSize]unix.RawSockaddrInet4
	from  [BatchSize]packetInfo
}

func (o *outgoing) init() {
	for i := range o.msgs {
		o.from[i].hdr.Level = unix.IPPROTO_IP
		o.from[i].hdr.Type = unix.IP_PKTINFO
		o.from[i].hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		o.names[i].Family = unix.AF_INET

		h := &o.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&o.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		h.Control = (*byte)(unsafe.Pointer(&o.from[i]))
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		h.Iov = &o.iov[i]
		h.SetIovlen(1)
	}
}

// write is WriteBatch. Raw, because a call that can't block need not tell the scheduler.
func (o *outgoing) write(fd int, msgs []Message) (int, error) {
	want := min(len(msgs), BatchSize)
	for i := range want {
		m := &msgs[i]
		o.names[i].Addr = m.To
		binary.BigEndian.PutUint16(portOf(&o.names[i]), m.Port)
		o.from[i].info.Spec_dst = m.From
		o.iov[i].Base = unsafe.SliceData(m.Data)
		o.iov[i].SetLen(len(m.Data))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.msgs[0])),
		uintptr(want), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// portOf is the port in a, which is in network order whatever the machine's is.
func portOf(a *unix.RawSockaddrInet4) []byte {
	return (*[2]byte)(unsafe.Pointer(&a.Port))[:]
}

// setUp makes what is sent fragmentable and gives the socket its buffers.
func setUp(fd int) error {
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
