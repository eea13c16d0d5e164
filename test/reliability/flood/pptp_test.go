//go:build interop

package flood

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	simpptp "concentrator/internal/simclient/pptp"
	"concentrator/test/reliability/lab"
)

const portPPTP = 1723

// synLen is the length of a TCP header without options, in octets.
const synLen = 20

// syns sends SYNs from addresses that do not answer.
func syns(t *testing.T, w *world) flooder {
	p := ipv4(netip.MustParseAddr(lab.Attacker), netip.MustParseAddr(lab.AttackedAt), unix.IPPROTO_TCP, synLen)
	tcp := p[ipLen:]
	binary.BigEndian.PutUint16(tcp[2:], portPPTP)
	tcp[12], tcp[13] = synLen/4<<4, 2 // data offset, SYN
	binary.BigEndian.PutUint16(tcp[14:], 1<<15)
	network := netip.MustParsePrefix(void)
	return packets(openRaw(t, w), func(i int) []byte {
		setSource(p, network, i, uint16(firstPort+i%portCount))
		binary.BigEndian.PutUint32(tcp[4:], uint32(i)*2654435761)
		binary.BigEndian.PutUint16(tcp[16:], 0)
		binary.BigEndian.PutUint16(tcp[16:], tcpChecksum(p))
		return p
	})
}

// tcpChecksum is the checksum of the TCP segment in p, whose own field is 0 (RFC 793 section 3.1).
func tcpChecksum(p []byte) uint16 {
	sum := uint32(unix.IPPROTO_TCP) + uint32(len(p)-ipLen)
	for b := p[12:]; len(b) >= 2; b = b[2:] { // addresses and segment; the length is even
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Bounds of a flood of connections.
const (
	dialers           = 16
	connectsPerSecond = 1000
	maxConnections    = 12_000 // in all
)

// connects opens connections to PPTP from many addresses and says something on each, which is then left alone.
func connects(say []byte) func(*testing.T, *world) flooder {
	return func(t *testing.T, w *world) flooder {
		return opens(t, w, func(int) (uint16, []byte) { return portPPTP, say })
	}
}

// opens opens connections from many addresses; what says to which port, and what is said then. Nothing is closed before the
// flood ends.
func opens(t *testing.T, w *world, what func(i int) (port uint16, say []byte)) flooder {
	h, err := netns.Open(w.lab.NS("atk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return func(ctx context.Context) (int, error) {
		var (
			group sync.WaitGroup
			n     atomic.Int64
			mu    sync.Mutex
			open  []net.Conn
		)
		begin := time.Now()
		for range dialers {
			group.Go(func() {
				_ = h.Do(func() error { // refused, out of ports: the next one
					for {
						i := int(n.Add(1)) - 1
						if i >= maxConnections || !turn(ctx, begin, i, connectsPerSecond) {
							return nil
						}
						port, say := what(i)
						c, err := dialAs(ctx, nth(netip.MustParsePrefix(villains), i), port)
						if err != nil {
							continue
						}
						_, _ = c.Write(say)
						mu.Lock()
						open = append(open, c)
						mu.Unlock()
					}
				})
			})
		}
		group.Wait()
		<-ctx.Done()
		for _, c := range open {
			c.Close()
		}
		return int(n.Load()), nil
	}
}

// dialAs opens a connection from an address of the attacker's, in whose part it is called.
func dialAs(ctx context.Context, from netip.Addr, port uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.DialContext(ctx, "tcp4", target(port).String())
}

// startRequest is a Start-Control-Connection-Request, and a part of what should follow.
func startRequest() []byte {
	b, _ := simpptp.WindowsStart().AppendBinary(nil) // it never fails
	return append(b, 0, 168, 0, 1)
}

// calls opens connections and places a call on each, in which PPP never begins.
func calls() []byte {
	b, _ := simpptp.WindowsStart().AppendBinary(nil)
	b, _ = simpptp.WindowsCall(1, 1, [16]byte{}).AppendBinary(b)
	return b
}
