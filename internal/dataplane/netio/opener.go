package netio

import (
	"context"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/tun"
)

// BatchSize is the most packets that one ReadBatch or WriteBatch moves.
const BatchSize = 64

// Opener does what needs privilege. Its methods are safe for concurrent use, may block for milliseconds and are called
// from the control side only.
type Opener interface {
	// OpenGRE opens shard's raw GRE socket in a namespace that exists; "" is the daemon's own. The caller closes it.
	OpenGRE(namespace string, shard, shards int) (Socket, error)
	// OpenESP opens shard's raw ESP socket likewise.
	OpenESP(namespace string, shard, shards int) (Socket, error)
	// OpenUDP binds one socket for each of shards to the same address and port, in a namespace that exists. What comes to
	// 4500 goes to the shard in the low bits of its SPI, what comes to 1701 to that of its session or tunnel ID; IKE and
	// whatever names no shard to any, always the same one for a source. The caller closes them.
	OpenUDP(namespace string, addr netip.AddrPort, shards int) ([]UDPSocket, error)
	// ListenTCP opens a listening socket in a namespace that exists. The caller closes it.
	ListenTCP(namespace string, addr netip.AddrPort) (net.Listener, error)
	// Dial connects to a server of the operator's, in a namespace that exists. The caller closes the connection.
	Dial(ctx context.Context, spec DialSpec) (net.Conn, error)
	// ListenUDP opens one UDP socket for the control side, in a namespace that exists. The caller closes it.
	ListenUDP(namespace string, addr netip.AddrPort) (net.PacketConn, error)
	// OpenTUN makes a TUN device, and its namespace where that is missing. The caller closes it.
	OpenTUN(spec tun.Spec) (Device, error)
	// RemoveNamespace removes a namespace that OpenTUN made, in this run or in one that crashed. One that is gone is no
	// error; an operator's is left alone, which is none either.
	RemoveNamespace(name string) error
}

// Message is one packet to send.
type Message struct {
	Data []byte  // from the GRE or ESP header on, or a UDP payload; borrowed until WriteBatch returns
	From [4]byte // our outer address
	To   [4]byte // the peer's
	Port uint16  // the peer's UDP port; 0 on a raw socket
	TOS  uint8   // Type of Service octet of the outer header
	// Errno is the result: 0 if it was sent, EAGAIN if the send buffer is full.
	Errno unix.Errno
}

// Face is what a shard's sockets have in common. FD and the batches belong to the shard; Close is for the control side,
// after the shard has let go of it.
type Face interface {
	// FD is the descriptor to wait on for input.
	FD() int
	// WriteBatch sends up to BatchSize of msgs, those to one address and port in order. It returns how many went out and
	// says of each that did not why, which doesn't keep the others. It never blocks. What is longer than the path takes is
	// fragmented by the kernel and on its way. Several messages of one length to one peer are one system call's UDP_SEGMENT
	// where the kernel takes it.
	WriteBatch(msgs []Message) int
	// Backlogged reports whether what waits to be read takes more than a quarter of the receive buffer: soon the kernel will
	// drop, without looking at whose it is.
	Backlogged() bool
	Close() error
}

// Socket is a shard's raw GRE or ESP socket in one namespace, behind a filter.
type Socket interface {
	Face
	// ReadBatch fills up to BatchSize of bufs with packets from their IPv4 header on, and sizes with their lengths. A size
	// over the buffer's length is a packet that was cut. It never blocks; EAGAIN is its error when nothing waits.
	ReadBatch(bufs [][]byte, sizes []int) (int, error)
	// Admit lets packets for a call ID or SPI in, or no longer. A new socket admits none. It is safe for concurrent use and
	// does nothing on a closed socket.
	Admit(id uint32, yes bool) error
	// Refused is how many packets the kernel has kept away so far: for no admitted ID, and malformed ones. It is safe for
	// concurrent use and still answers after Close.
	Refused() (unknown, malformed uint64, err error)
}

// Datagram is what ReadBatch says about a UDP datagram.
type Datagram struct {
	Size     int     // octets in the buffer
	From     [4]byte // the peer's address
	FromPort uint16
	To       [4]byte // our address that it was sent to
	TOS      uint8   // Type of Service octet of its outer header; 0 before WantTOS
	// Rest is what did not fit the buffer: a long IKE message, whose IP fragments the kernel has put together. It is the
	// socket's memory, borrowed until the next ReadBatch; nil if all fitted, and on port 1701.
	Rest []byte
	// Cut says that not even Rest holds the end.
	Cut bool
}

// UDPSocket is a shard's socket on one UDP address and port.
type UDPSocket interface {
	Face
	// ReadBatch fills up to BatchSize of bufs with UDP payloads, and in with what they are. It never blocks; EAGAIN is its
	// error when nothing waits.
	ReadBatch(bufs [][]byte, in []Datagram) (int, error)
	// WantTOS makes ReadBatch tell Types of Service from now on. It is the shard's.
	WantTOS() error
}

// Device is a multi-queue TUN device. Its methods are for the control side and safe for concurrent use.
type Device interface {
	// Queues holds one non-blocking descriptor for each queue. They stay the Device's.
	Queues() []int
	// Offloads says what its queues take and give in one piece.
	Offloads() tun.Offloads
	// Dropped is how many packets towards clients the kernel has dropped because a queue was full. tun.ErrClosed.
	Dropped() (uint64, error)
	// Warnings are sentences for an operator about namespaces that are not ours to configure, as of the last Configure.
	Warnings() []string
	// Configure makes the device's MTU, addresses, pool routes, masquerading, ARP answers and uplink those of c.
	Configure(c tun.Config) error
	// Add steers what goes to p to queue and, unless a pool's route covers p, routes p to the device. tun.ErrRouteExists.
	Add(p netip.Prefix, queue int) error
	// Remove undoes Add.
	Remove(p netip.Prefix) error
	// Close removes the device, its ARP answers, its uplink and the masquerading, not the namespace.
	Close() error
}
