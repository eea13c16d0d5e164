package transport

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// identifiers is how many requests one socket can have under way: the Identifier field has one octet.
const identifiers = 256

// exchange is one request under way on one socket. All but the last group is fixed before the reader can see it.
type exchange struct {
	conn          *conn
	id            byte
	code          radius.Code
	authenticator [packet.AuthenticatorLen]byte // of the request, as sent
	packet        []byte                        // as signed; the same octets go out each time
	secrets       []tenant.Secret               // that were valid when it was signed
	signed        bool                          // so must its reply be, whatever the mode

	done        chan struct{} // closed once got is set
	got         reply
	answered    atomic.Bool   // got is taken: nothing more is written to it
	saw         atomic.Uint32 // bit set of the Drops that happened to its replies, for the detail if none is good
	unreachable atomic.Bool   // an ICMP error came in while it waited
}

// note remembers that a reply was dropped because of d.
func (x *exchange) note(d packet.Drop) { x.saw.Or(1 << d) }

// reply is a verified answer.
type reply struct {
	packet []byte
	secret tenant.Secret
	signed bool
	at     time.Time
}

// conn is one socket and the identifiers in use on it: connected UDP, or a TLS connection. What follows "guarded" belongs to
// port.mu.
type conn struct {
	port   *port
	net    net.Conn
	remote netip.AddrPort
	local  netip.Addr
	opened time.Time
	gone   chan struct{} // closed when the socket is

	queue    chan []byte   // TLS: what is to be written; nil with UDP
	calls    chan struct{} // TLS: one entry for each Incoming that runs
	lastRead atomic.Int64  // TLS: when something came in last, an instant

	// guarded
	pending [identifiers]*exchange
	// free is a ring of the unused identifiers, longest unused first, so that a late reply rarely meets a new request.
	free     [identifiers]byte
	head     int  // index in free of the next one to hand out
	unused   int  // how many free holds
	heard    bool // a genuine packet came in
	retired  bool // no new request gets an identifier
	isClosed bool
}

// origin is where instant counts from: a little before the process began, so that no instant is 0.
var origin = time.Now().Add(-time.Second)

// instant is a time as nanoseconds that an atomic can hold. Unlike those since 1970 they do not jump when the clock is set.
func instant(t time.Time) int64 { return int64(t.Sub(origin)) }

func newConn(p *port, c net.Conn, remote netip.AddrPort) *conn {
	k := &conn{
		port: p, net: c, remote: remote, local: localAddr(c), opened: time.Now(), gone: make(chan struct{}), unused: identifiers,
	}
	k.lastRead.Store(instant(k.opened))
	for i := range k.free {
		k.free[i] = byte(i)
	}
	return k
}

// take hands out the longest unused identifier. There must be one.
func (k *conn) take() byte {
	id := k.free[k.head]
	k.head = (k.head + 1) % identifiers
	k.unused--
	return id
}

// put takes an identifier back.
func (k *conn) put(id byte) {
	k.pending[id] = nil
	k.free[(k.head+k.unused)%identifiers] = id
	k.unused++
}
