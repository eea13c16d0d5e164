package traffic

import (
	"net/netip"
	"time"

	"concentrator/internal/dataplane/esp"
	"concentrator/internal/dataplane/mppe"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/tenant"
)

// Path is the fast way of one logged-in session. The client's Path method fills in what the client knows, who owns the
// sockets the rest.
type Path struct {
	Protocol tenant.Protocol
	Address  netip.Addr // inner, IPv4
	MTU      int        // the longest inner packet that the server takes, octets
	Link     Link
	Gate     *Gate // shared by all Paths of one thread

	Socket Socket
	// Receive gets back what comes and is not the session's data, as it came from the socket: IKE, L2TP control messages in
	// clear, ESP of an unknown SPI; of a raw socket from the IP header on, also what is for none of its Paths. port is the
	// server's, 0 for raw ones. It takes b over. No lock is held.
	Receive func(port uint16, b []byte)
}

// SocketKind says what a Socket carries.
type SocketKind uint8

// The kinds of sockets.
const (
	// SocketUDP is a UDP socket of one session: L2TP in clear, or ESP in UDP.
	SocketUDP SocketKind = iota
	// SocketGRE is a raw socket for GRE, with IP_HDRINCL, of any number of sessions with different call IDs.
	SocketGRE
	// SocketESP is a raw socket for ESP, with IP_HDRINCL, of any number of sessions with different addresses.
	SocketESP
)

// Socket is where a session's packets go out and come in. While Run runs nobody else reads it. All Paths of a socket have
// the same Gate.
type Socket struct {
	FD     int
	Kind   SocketKind
	Local  netip.Addr     // our outer address; raw sockets need it
	Remote netip.AddrPort // the server's address and port; 0 for raw sockets
	CallID uint16         // with SocketGRE, the one that we gave out
}

// Link wraps and unwraps one session's packets; a client has one. Its methods run on the thread of a Run, with the Gate held
// but for Control; they don't block, allocate nothing and keep no buffer. now has a monotonic reading.
type Link interface {
	// Pack puts before the inner packet in o.Buf what its encryption covers, and says what that is. False: the session can't
	// send, or the buffer is full.
	Pack(o *Outgoing) bool
	// Finish puts before the encrypted packet what stands outside, down to GRE, ESP or L2TP. False: no room.
	Finish(o *Outgoing) bool
	// Unpack takes off what stands outside the encryption and says what that is. What it sets to KindRaw it has not touched.
	Unpack(in *Incoming, now time.Time)
	// Opened takes off the rest after decryption, if Unpack left KindData. It sets in.Kind again: with KindData in.Buf
	// holds the inner packet.
	Opened(in *Incoming, now time.Time)
	// Owed makes b a packet that the session owes the server, an acknowledgement, as it is behind Finish. False: none is due.
	Owed(b *pktbuf.Buf, now time.Time) bool
	// Control takes back the content of a packet that Unpack or Opened found to be KindControl or KindMessage. The Gate is not
	// held. It keeps nothing of b.
	Control(kind Kind, b []byte)
}

// epoch is what Nanos counts from.
var epoch = time.Now()

// Nanos is a time with a monotonic reading as GRE and MPPE count it here, in nanoseconds.
func Nanos(t time.Time) int64 { return int64(t.Sub(epoch)) }

// Time is the time that Nanos counts so.
func Time(nanos int64) time.Time { return epoch.Add(time.Duration(nanos)) }

// Outgoing is one packet on its way out, between Pack and Finish.
type Outgoing struct {
	Buf *pktbuf.Buf
	// By one of them the packet is to be sealed; none: not at all.
	SA     *esp.Outbound
	Sender *mppe.Sender
}

// Kind is what has come.
type Kind uint8

// The kinds.
const (
	// KindNothing is done with.
	KindNothing Kind = iota
	// KindDropped is of no use: damaged, late, or nobody's. It is counted.
	KindDropped
	// KindRaw goes to Path.Receive.
	KindRaw
	// KindControl is a PPP frame from its header on, for Link.Control.
	KindControl
	// KindMessage is an L2TP control message, for Link.Control.
	KindMessage
	// KindData is, or may hold, an inner packet.
	KindData
)

// Incoming is one packet on its way in.
type Incoming struct {
	Buf  *pktbuf.Buf
	Port uint16 // of the server, 0 from a raw socket
	Kind Kind

	// By one of them the packet is to be opened; none: not at all.
	SA       *esp.Inbound
	Receiver *mppe.Receiver
	Credible mppe.Credible // of Receiver

	Seq        uint32 // of GRE
	NextHeader uint8  // after SA
	ESP        esp.Verdict
	MPPE       mppe.Verdict
}
