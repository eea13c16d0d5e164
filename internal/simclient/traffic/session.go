package traffic

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// session is a Path as the threads use it.
type session struct {
	*Path
	inner  [4]byte
	srcSum uint64                // of inner
	to     unix.RawSockaddrInet4 // the server, outside
	from   unix.RawSockaddrInet4 // the session, inside
	outer  [rawHeaderLen]byte    // IPv4 header of raw sockets
}

func newSessions(paths []Path) []session {
	all := make([]session, len(paths))
	for i := range paths {
		s := &all[i]
		s.Path = &paths[i]
		s.inner = s.Address.As4()
		s.srcSum = sum(s.inner[:])
		s.to = sockaddr(s.Socket.Remote)
		s.from = sockaddr(netip.AddrPortFrom(s.Address, clientPort))
		if s.Socket.Kind != SocketUDP {
			s.to = sockaddr(netip.AddrPortFrom(s.Socket.Remote.Addr(), 0))
			s.outer = rawHeader(s.Socket)
		}
	}
	return all
}

// rawHeaderLen is an IPv4 header without options.
const rawHeaderLen = ipLen

// rawHeader is what stands before all packets of a raw socket. The kernel puts in lengths, identification and checksum.
func rawHeader(s Socket) (h [rawHeaderLen]byte) {
	h[0], h[8], h[9] = 0x45, ttl, s.Kind.protocol()
	local, remote := s.Local.As4(), s.Remote.Addr().As4()
	copy(h[12:], local[:])
	copy(h[16:], remote[:])
	return h
}

// protocol is the IP protocol of a raw socket.
func (k SocketKind) protocol() byte {
	if k == SocketGRE {
		return unix.IPPROTO_GRE
	}
	return unix.IPPROTO_ESP
}
