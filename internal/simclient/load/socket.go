package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// maxDatagram is the longest datagram that is read, in octets; nothing of a login is longer.
const maxDatagram = 4096

// readsAtOnce bounds the datagrams that are read of one socket before the others have their turn.
const readsAtOnce = 64

// socket is a descriptor that one goroutine may read while others send and one closes it.
type socket struct {
	fd int

	mu     sync.RWMutex // held while fd is used, so that a closed one's number is never another's
	closed bool
}

// open makes a socket and binds it; setUp may be nil.
func open(kind, protocol int, local netip.AddrPort, setUp func(fd int) error) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	if setUp != nil {
		err = setUp(fd)
	}
	if err == nil && local.IsValid() {
		if err = unix.Bind(fd, address(local)); err != nil {
			err = fmt.Errorf("bind to %v: %w", local, err)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &socket{fd: fd}, nil
}

// openUDP makes a UDP socket; port 0 is any.
func openUDP(local netip.AddrPort) (*socket, error) { return open(unix.SOCK_DGRAM, 0, local, nil) }

// rawBuffer is the receive buffer of a raw socket, in octets: all clients share one.
const rawBuffer = 8 << 20

// openRaw makes a raw socket of an IP protocol, whose packets have their IP header both ways.
func openRaw(protocol int) (*socket, error) {
	s, err := open(unix.SOCK_RAW, protocol, netip.AddrPort{}, func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rawBuffer) // less is slower, nothing more
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1)
	})
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w; raw sockets need root, or CAP_NET_RAW", err)
	}
	return s, err
}

func address(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// sendTo sends a datagram. What can't be sent is lost, as on any line.
func (s *socket) sendTo(to netip.AddrPort, b []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.closed {
		_ = unix.Sendto(s.fd, b, 0, address(to))
	}
}

// drain reads what there is, at most readsAtOnce datagrams, and hands each to take, borrowed until it returns.
func (s *socket) drain(buf []byte, take func(from netip.AddrPort, b []byte)) {
	for range readsAtOnce {
		n, from, err := s.receive(buf)
		switch {
		case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EINTR): // an ICMP error of what was sent before
			continue
		case err != nil:
			return
		}
		if a, ok := from.(*unix.SockaddrInet4); ok {
			take(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), buf[:n])
		}
	}
}

func (s *socket) receive(buf []byte) (int, unix.Sockaddr, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, nil, unix.EBADF
	}
	return unix.Recvfrom(s.fd, buf, 0)
}

// close closes the descriptor, once. It must not be watched any more.
func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = unix.Close(s.fd)
	}
}

// ipv4HeaderLen is the length of the header that we write, in octets.
const ipv4HeaderLen = 20

// appendIPv4 appends an IPv4 header for a raw socket; the kernel fills in the identification and the checksum.
func appendIPv4(b []byte, src, dst netip.Addr, protocol byte, payload int) []byte {
	const ttl = 64
	s, d := src.As4(), dst.As4()
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4HeaderLen+payload))
	b = append(b, 0, 0, 0, 0, ttl, protocol, 0, 0)
	b = append(b, s[:]...)
	return append(b, d[:]...)
}

// parseIPv4 takes a packet of a raw socket apart.
func parseIPv4(p []byte) (src, dst netip.Addr, payload []byte, ok bool) {
	if len(p) < ipv4HeaderLen || p[0]>>4 != 4 {
		return src, dst, nil, false
	}
	head, total := int(p[0]&0xf)*4, int(binary.BigEndian.Uint16(p[2:]))
	if head < ipv4HeaderLen || total < head || total > len(p) {
		return src, dst, nil, false
	}
	return netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:])), p[head:total], true
}
