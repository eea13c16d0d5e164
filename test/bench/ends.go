package main

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// endBuffer is how many octets wait at a client's socket: what a whole phase sends.
const endBuffer = 64 << 20

// clients are the clients' sockets in a part of the lab: one for each session, or one for all without UDP.
type clients struct {
	fds []int
	buf []byte
}

// dialClients opens them. ports are the clients' UDP ports, to is the server's; without UDP there are none.
func dialClients(l *lab, part string, c carrier, ports []uint16, to int) (*clients, error) {
	k := &clients{buf: make([]byte, 2048)}
	err := l.do(part, func() error {
		switch c {
		case pptp:
			return k.dial(unix.SOCK_RAW, unix.IPPROTO_GRE, 0, 0)
		case rawESP:
			return k.dial(unix.SOCK_RAW, unix.IPPROTO_ESP, 0, 0)
		default:
		}
		for _, port := range ports {
			if err := k.dial(unix.SOCK_DGRAM, 0, int(port), to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		k.close()
		return nil, fmt.Errorf("clients' sockets: %w", err)
	}
	return k, nil
}

func (k *clients) dial(kind, protocol, from, to int) error {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return err
	}
	k.fds = append(k.fds, fd)
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, endBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, endBuffer),
		unix.Bind(fd, &unix.SockaddrInet4{Port: from, Addr: netip.MustParseAddr(clientAddr).As4()}),
		unix.Connect(fd, &unix.SockaddrInet4{Port: to, Addr: netip.MustParseAddr(serverAddr).As4()}),
	)
}

// send sends one packet of session i.
func (k *clients) send(i int, packet []byte) error { return send(k.fds[i%len(k.fds)], packet) }

// drain throws away what has come and returns how many packets that were.
func (k *clients) drain() (n int) {
	for _, fd := range k.fds {
		for receive(fd, k.buf) == 0 {
			n++
		}
	}
	return n
}

func (k *clients) close() { closeAll(k.fds) }

// sources are sockets inside, one for each session, that send what goes to the clients.
type sources struct {
	fds []int
}

// dialSources opens them in the namespace of a TUN device. train, unless it is 0, makes trains with so many octets of UDP
// payload in a packet.
func dialSources(l *lab, part string, to []netip.Addr, train int) (*sources, error) {
	k := &sources{}
	err := l.do(part, func() error {
		for _, a := range to {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err
			}
			k.fds = append(k.fds, fd)
			if train != 0 {
				err = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, train)
			}
			if err := errors.Join(
				err,
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, endBuffer),
				unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(insideAddr).As4()}),
				unix.Connect(fd, &unix.SockaddrInet4{Port: clientPort, Addr: a.As4()}),
			); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		closeAll(k.fds)
		return nil, fmt.Errorf("sockets inside: %w", err)
	}
	return k, nil
}

// send sends one packet, or one train, to session i.
func (k *sources) send(i int, payload []byte) error { return send(k.fds[i%len(k.fds)], payload) }

func (k *sources) close() { closeAll(k.fds) }

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// transmit is send(2) on a connected socket, without allocating.
func transmit(fd int, p []byte) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != unix.EINTR && errno != unix.ECONNREFUSED { // the latter is about an earlier packet
			return errno
		}
	}
}

// send sends, or says why not.
func send(fd int, p []byte) error {
	if errno := transmit(fd, p); errno != 0 {
		return fmt.Errorf("send: %w", errno)
	}
	return nil
}

// sendOrLose sends, and is content if the packet is lost because a buffer is full.
func sendOrLose(fd int, p []byte) error {
	switch errno := transmit(fd, p); errno {
	case 0, unix.EAGAIN, unix.ENOBUFS:
		return nil
	default:
		return fmt.Errorf("send: %w", errno)
	}
}

func receive(fd int, p []byte) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != unix.EINTR && errno != unix.ECONNREFUSED {
			return errno
		}
	}
}
