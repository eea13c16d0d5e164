package radius

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"layeh.com/radius"
)

// identifiers is how many requests one socket can have under way: the Identifier field has one octet.
const identifiers = 256

// exchange is one Access-Request under way.
type exchange struct {
	socket        *socket
	id            byte
	authenticator [authenticatorLen]byte // of the request
	packet        []byte                 // as signed; the same octets go out each time
	reply         chan reply             // holds one
	saw           atomic.Uint32          // bit set of the Drops that happened to its replies, for the detail if none is good
	unreachable   atomic.Bool            // an ICMP error came in while it waited
	answered      atomic.Bool            // reply was sent to; nothing more is
}

// note remembers that a reply was dropped because of d.
func (x *exchange) note(d Drop) { x.saw.Or(1 << d) }

func (x *exchange) noted(d Drop) bool { return x.saw.Load()&(1<<d) != 0 }

// reply is a verified answer.
type reply struct {
	packet []byte // exactly Length octets, owned by the receiver
	secret int    // index of the secret that it is signed with
}

// socket is one connected UDP socket and the identifiers in use on it. All fields but conn and remote are guarded by
// server.mu.
type socket struct {
	conn    *net.UDPConn
	remote  netip.AddrPort
	pending [identifiers]*exchange
	// free is a ring of the unused identifiers, longest unused first, so that a late reply rarely meets a new request.
	free     [identifiers]byte
	head     int // index in free of the next one to hand out
	unused   int // how many free holds
	retired  bool
	isClosed bool
}

func newSocket(conn *net.UDPConn, remote netip.AddrPort) *socket {
	s := &socket{conn: conn, remote: remote, unused: identifiers}
	for i := range s.free {
		s.free[i] = byte(i)
	}
	return s
}

// take gives x the longest unused identifier. There must be one.
func (s *socket) take(x *exchange) {
	x.socket, x.id = s, s.free[s.head]
	s.head = (s.head + 1) % identifiers
	s.unused--
	s.pending[x.id] = x
}

// put takes x's identifier back.
func (s *socket) put(x *exchange) {
	s.pending[x.id] = nil
	s.free[(s.head+s.unused)%identifiers] = x.id
	s.unused++
}

// read receives until the socket is closed or broken. It is the socket's only reader.
func (s *server) read(k *socket) {
	var buf [radius.MaxPacketLength]byte // what is longer can only be padding: Length is at most this
	for {
		n, err := k.conn.Read(buf[:])
		switch {
		case err == nil:
			s.receive(k, buf[:n])
		case isICMP(err):
			// Anyone who guesses the port can forge these, and a server that restarts sends true ones: they are noted for
			// the detail and change nothing.
			s.stats.unreachable.Add(1)
			s.noteUnreachable(k)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.retire(k)
			return
		}
	}
}

// receive handles one datagram, borrowed until return.
func (s *server) receive(k *socket, datagram []byte) {
	b, drop := trim(datagram)
	if drop != dropNone {
		s.drop(drop)
		return
	}
	s.mu.Lock()
	x := k.pending[b[1]]
	s.mu.Unlock()
	if x == nil {
		s.drop(DropLate)
		return
	}
	secret, signed, drop := verify(b, x.authenticator, s.cfg.Secrets)
	if drop == dropNone {
		drop = s.demand(signed)
	}
	if drop != dropNone {
		x.note(drop)
		s.drop(drop)
		return
	}
	if x.answered.Swap(true) {
		s.drop(DropDuplicate)
		return
	}
	x.reply <- reply{packet: append([]byte(nil), b...), secret: secret} // never blocks: it holds one, and this is it
}

// demand applies the mode to a reply that is right in all else.
func (s *server) demand(signed bool) Drop {
	if signed {
		s.signs.Store(true)
		return dropNone
	}
	switch {
	case s.cfg.MessageAuthenticator == ModeOff,
		s.cfg.MessageAuthenticator == ModeAuto && !s.signs.Load():
		return dropNone
	}
	return DropNoMessageAuthenticator
}

// isICMP says whether err is what an ICMP message made of a connected socket's next call.
func isICMP(err error) bool {
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EACCES, syscall.EHOSTDOWN,
		syscall.ENOPROTOOPT, syscall.EPROTO, syscall.EOPNOTSUPP, syscall.EMSGSIZE,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
