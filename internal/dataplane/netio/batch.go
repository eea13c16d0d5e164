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

// outgoing is a socket's system call arguments for sending, kept so that no batch allocates. Each call of sendmsg(2) sends
// a run of messages: one on a raw socket, and as many as make one train on a UDP socket.
type outgoing struct {
	msgs     [BatchSize]mmsghdr
	iov      [BatchSize]unix.Iovec
	names    [BatchSize]unix.RawSockaddrInet4
	controls [BatchSize]sendControl
	single   unix.Iovec // of a message that is sent alone after all
	trains   trains
}

func (o *outgoing) init() {
	for i := range o.msgs {
		o.controls[i].init()
		o.names[i].Family = unix.AF_INET
		h := &o.msgs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&o.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		h.Control = (*byte)(unsafe.Pointer(&o.controls[i]))
	}
}

// write is WriteBatch.
func (o *outgoing) write(fd int, msgs []Message) (sent int) {
	msgs = msgs[:min(len(msgs), BatchSize)]
	n := o.trains.plan(msgs)
	for i, at := 0, 0; i < n; i++ {
		at = o.prepare(i, at, msgs)
	}
	for done := 0; done < n; {
		did, errno := sendmmsg(fd, o.msgs[done:n])
		for i := done; i < done+did; i++ {
			sent += o.trains.settle(i, msgs, 0)
		}
		done += did
		switch {
		case errno == 0 || errno == unix.EINTR:
		case errno == unix.EAGAIN: // the send buffer is full, for the rest too
			for i := done; i < n; i++ {
				o.trains.settle(i, msgs, errno)
			}
			return sent
		case o.trains.runs[done].n > 1 && o.trains.refused(errno, done):
			sent += o.writeSingly(fd, msgs, done)
			done++
		default:
			o.trains.settle(done, msgs, errno)
			done++
		}
	}
	return sent
}

// prepare makes the arguments of run i, whose pieces begin at iov[at], and returns where the next one's do.
func (o *outgoing) prepare(i, at int, msgs []Message) int {
	r := &o.trains.runs[i]
	first := &msgs[r.first]
	o.names[i].Addr = first.To
	binary.BigEndian.PutUint16(portOf(&o.names[i]), first.Port)
	c := &o.controls[i]
	c.start(first.From)
	if first.TOS != 0 {
		c.serviceType(first.TOS)
	}
	if r.n > 1 {
		c.segment(r.size)
	}
	h := &o.msgs[i].hdr
	h.SetControllen(c.space())
	h.Iov = &o.iov[at]
	h.SetIovlen(r.n)
	for m := r.first; m != none; m = o.trains.next[m] {
		o.iov[at].Base = unsafe.SliceData(msgs[m].Data)
		o.iov[at].SetLen(len(msgs[m].Data))
		at++
	}
	return at
}

// writeSingly sends the messages of a run that the kernel does not take as a train.
func (o *outgoing) writeSingly(fd int, msgs []Message, run int) (sent int) {
	h := o.msgs[run] // the run's own; its pieces are where they were
	c := &o.controls[run]
	for m := o.trains.runs[run].first; m != none; m = o.trains.next[m] {
		c.start(msgs[m].From)
		if msgs[m].TOS != 0 {
			c.serviceType(msgs[m].TOS)
		}
		one := &o.msgs[run]
		*one = h
		one.hdr.SetControllen(c.space())
		o.single.Base = unsafe.SliceData(msgs[m].Data)
		o.single.SetLen(len(msgs[m].Data))
		one.hdr.Iov = &o.single
		one.hdr.SetIovlen(1)
		_, errno := sendmmsg(fd, o.msgs[run:run+1])
		msgs[m].Errno = errno
		if errno == 0 {
			sent++
		}
	}
	return sent
}

// sendmmsg is sendmmsg(2) that never blocks. Raw, because a call that can't block need not tell the scheduler.
func sendmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
		uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
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
