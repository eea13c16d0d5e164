package coa

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"concentrator/internal/authz/radius/packet"
)

// Serve receives and answers until Close, which makes it return nil, or until the socket fails, which it returns. The socket is
// the Server's from now on: it is closed when Serve returns. Several calls may run, each with a socket of its own.
//
// A *net.UDPConn that is bound to no single address answers from the address that the request was sent to: a server drops
// what comes from another one.
func (s *Server) Serve(conn net.PacketConn) error {
	defer conn.Close() //nolint:errcheck // nothing is left to be sent
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.conns = append(s.conns, conn)
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.conns = slices.DeleteFunc(s.conns, func(c net.PacketConn) bool { return c == conn })
		s.mu.Unlock()
		s.wg.Done()
	}()

	var err error
	if udp, ok := conn.(*net.UDPConn); ok {
		err = s.serveUDP(udp)
	} else {
		err = s.serveAny(conn)
	}
	if errors.Is(err, net.ErrClosed) && s.ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("receive CoA and Disconnect: %w", err)
}

// serveAny is Serve for sockets of any kind.
func (s *Server) serveAny(conn net.PacketConn) error {
	var buf [packet.MaxLen]byte // what is longer can only be padding
	for {
		n, from, err := conn.ReadFrom(buf[:])
		if err != nil {
			return err
		}
		ap, err := netip.ParseAddrPort(from.String())
		if err != nil {
			return fmt.Errorf("sender %s: %w", from, err)
		}
		s.receive(buf[:n], origin{from: ap}, func(b []byte) error {
			_, err := conn.WriteTo(b, from)
			return err
		})
	}
}

// serveUDP is Serve for UDP sockets.
func (s *Server) serveUDP(conn *net.UDPConn) error {
	if err := wantDestination(conn); err != nil {
		return err
	}
	var buf [packet.MaxLen]byte
	var control [128]byte
	for {
		n, cn, _, from, err := conn.ReadMsgUDPAddrPort(buf[:], control[:])
		if err != nil {
			return err
		}
		back := answerFrom(control[:cn])
		s.receive(buf[:n], origin{from: from}, func(b []byte) error {
			_, _, err := conn.WriteMsgUDPAddrPort(b, back, from)
			return err
		})
	}
}

// wantDestination makes the kernel tell where datagrams were sent to, ip(7) and ipv6(7).
func wantDestination(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		var local syscall.Sockaddr
		if local, set = syscall.Getsockname(int(fd)); set != nil {
			return
		}
		// A socket for IPv6 that takes IPv4 as well tells of both in the IPv6 way.
		level, option := syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO
		if _, ok := local.(*syscall.SockaddrInet4); ok {
			level, option = syscall.IPPROTO_IP, syscall.IP_PKTINFO
		}
		set = syscall.SetsockoptInt(int(fd), level, option, 1)
	})
	return errors.Join(err, set)
}

// answerFrom makes, of the control message that came with a datagram, the one that goes with the answer: it is sent from where
// the datagram was sent to, on whatever interface the route says. nil: the kernel chooses.
func answerFrom(control []byte) []byte {
	list, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(list) == 0 {
		return nil
	}
	var index []byte // of the interface that it came in on
	switch m := list[0]; {
	case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) >= 12:
		// struct in_pktinfo: index, our address, destination in the header. What came before the socket was asked for it
		// lacks the second.
		index = m.Data[:4]
		if [4]byte(m.Data[4:]) == [4]byte{} {
			copy(m.Data[4:8], m.Data[8:12])
		}
	case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO && len(m.Data) >= 20:
		index = m.Data[16:20] // struct in6_pktinfo: destination, index
	default:
		return nil
	}
	clear(index) // a link-local address to answer to has its interface with it
	return bytes.Clone(control[:min(syscall.CmsgSpace(len(list[0].Data)), len(control))])
}
