package pptp_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	client "concentrator/internal/simclient/pptp"
	"concentrator/internal/tunnel/pptp"
	wire "concentrator/internal/wire/pptp"
)

// Flags of a TCP header.
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	_
	tcpACK
)

// segment is a TCP segment without data in IPv4, as somebody else would forge it.
func segment(from, to netip.AddrPort, seq, ack uint32, flags byte) []byte {
	sum := func(b []byte, more uint32) uint16 {
		for i := 0; i+1 < len(b); i += 2 {
			more += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		for more>>16 != 0 {
			more = more&0xffff + more>>16
		}
		return ^uint16(more)
	}
	b := make([]byte, 40)
	b[0], b[3], b[8], b[9] = 0x45, 40, 64, unix.IPPROTO_TCP
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	tcp := b[20:]
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = 5<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 1000)
	pseudo := append(append([]byte{}, b[12:20]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], sum(tcp, uint32(^sum(pseudo, 0))))
	return b
}

// sequence asks the kernel for the number of the next octet that a connection sends.
func sequence(t *testing.T, c *net.TCPConn) uint32 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var seq int
	var bad error
	if err := raw.Control(func(fd uintptr) {
		const on, offWithoutProbe, sendQueue = 1, -1, 2
		if bad = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, on); bad != nil {
			return
		}
		if bad = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, sendQueue); bad == nil {
			seq, bad = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		}
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, offWithoutProbe); err != nil {
			bad = err
		}
	}); err != nil {
		t.Fatal(err)
	}
	if bad != nil {
		t.Skipf("this kernel does not tell sequence numbers: %v", bad)
	}
	return uint32(seq)
}

// Forged segments for a control connection: resets and SYNs that know addresses and ports and have a number in the window
// but not the very next one, which RFC 5961 sections 3 and 4 have the kernel doubt, and numbers from all over. The
// connection and its call live; the one reset with the right number shows that the others were for it.
func TestKnownForgedSegments(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("forging needs root")
	}
	h := newHandler()
	addr := listenTCP(t, pptp.NewServer(pptp.Config{}, h), "l")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp := nc.(*net.TCPConn)
	from, to := netip.MustParseAddrPort(nc.LocalAddr().String()), netip.MustParseAddrPort(addr)
	c, err := client.NewClient(t.Context(), nc, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	place(t, c, wire.OutgoingCallRequest{CallID: 1})
	if err := c.Echo(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Skipf("no raw socket: %v", err)
	}
	defer func() { _ = unix.Close(fd) }()
	forge := func(seq, ack uint32, flags byte) {
		t.Helper()
		if err := unix.Sendto(fd, segment(from, to, seq, ack, flags), 0, &unix.SockaddrInet4{Addr: to.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
	}
	next := sequence(t, tcp)
	for i := range uint32(200) {
		forge(next+1+i*50, 0, tcpRST)               // in the window
		forge(next+1+i*50, 0, tcpSYN)               // a connection of the same addresses anew
		forge(next+(i+1)<<24, i<<24, tcpRST|tcpACK) // anywhere
		forge(next+1+i*50, i<<24, tcpFIN|tcpACK)    // a polite end, out of its turn
	}
	time.Sleep(50 * time.Millisecond)
	if err := c.Echo(t.Context()); err != nil {
		t.Fatalf("the connection is gone: %v", err)
	}
	h.expect(t, nil, nil)
	forge(sequence(t, tcp), 0, tcpRST)
	<-h.wake
	h.expect(t, []string{"0x4001 LOST_CARRIER"}, nil)
}
