//go:build interop

package flood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of headers, in octets.
const (
	ipLen  = 20
	udpLen = 8
)

// raw is a raw socket of the attacker: the IP headers are its own.
type raw struct{ fd int }

// openRaw opens one. It is closed at the end of the test.
func openRaw(t *testing.T, w *world) raw {
	t.Helper()
	var r raw
	w.lab.In(t, "atk", func() (err error) {
		r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	t.Cleanup(func() { _ = unix.Close(r.fd) })
	return r
}

// send sends a packet to where its header says.
func (r raw) send(p []byte) error {
	err := unix.Sendto(r.fd, p, 0, &unix.SockaddrInet4{Addr: [4]byte(p[16:])})
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return nil // lost, as on any line
	}
	return err
}

// openReader opens a raw socket that reads all that comes to the attacker by an IP protocol, from the IP header on.
func openReader(t *testing.T, w *world, protocol int) (fd int) {
	t.Helper()
	w.lab.In(t, "atk", func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		)
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// read reads packets until ctx ends or take fails; payload is what is behind the IP header, borrowed.
func (r raw) read(ctx context.Context, reader int, take func(from, to netip.Addr, payload []byte) error) error {
	buf := make([]byte, 4096)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(reader, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read answers: %w", err)
		}
		head := int(buf[0]&0xf) * 4
		if n < head {
			continue
		}
		if err := take(netip.AddrFrom4([4]byte(buf[12:])), netip.AddrFrom4([4]byte(buf[16:])), buf[head:n]); err != nil {
			return err
		}
	}
	return nil
}

// answer reads UDP packets until ctx ends and sends what reply makes of each; nil is nothing.
func (r raw) answer(ctx context.Context, reader int, reply func(from, to netip.AddrPort, payload []byte) []byte) error {
	return r.read(ctx, reader, func(from, to netip.Addr, udp []byte) error {
		if len(udp) < udpLen {
			return nil
		}
		p := reply(
			netip.AddrPortFrom(from, binary.BigEndian.Uint16(udp)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(udp[2:])), udp[udpLen:],
		)
		if p == nil {
			return nil
		}
		return r.send(p)
	})
}

// steady calls next rate times a second on a thread of its own, until ctx ends or it fails. It says how often it did.
func steady(ctx context.Context, rate int, next func(i int) error) (n int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const slice = time.Millisecond
	begin := time.Now()
	for ctx.Err() == nil {
		due := int(time.Since(begin).Seconds() * float64(rate))
		for ; n < due; n++ {
			if err := next(n); err != nil {
				return n, err
			}
		}
		time.Sleep(slice)
	}
	return n, nil
}

// turn waits until it is time for number i of what is done rate times a second since begin; false: ctx has ended.
func turn(ctx context.Context, begin time.Time, i, rate int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
		return ctx.Err() == nil
	}
}

// packets is a flood of what make makes, at the form's rate. make may use the same memory again.
func packets(r raw, make func(i int) []byte) flooder {
	return func(ctx context.Context) (int, error) {
		return steady(ctx, floodRate, func(i int) error { return r.send(make(i)) })
	}
}

// ipv4 begins a packet with an IP header and room for size octets behind it. The kernel fills in the checksum.
func ipv4(from, to netip.Addr, protocol byte, size int) []byte {
	p := make([]byte, ipLen+size)
	f, d := from.As4(), to.As4()
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], f[:])
	copy(p[16:], d[:])
	return p
}

// udp makes a whole UDP packet, without a checksum.
func udp(from, to netip.AddrPort, payload []byte) []byte {
	p := ipv4(from.Addr(), to.Addr(), unix.IPPROTO_UDP, udpLen+len(payload))
	u := p[ipLen:]
	binary.BigEndian.PutUint16(u, from.Port())
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[udpLen:], payload)
	return p
}

// setSource makes a packet of udp come from address i of a network, and from a port if it is not 0.
func setSource(p []byte, network netip.Prefix, i int, port uint16) {
	copy(p[12:16], nth(network, i).AsSlice())
	if port != 0 {
		binary.BigEndian.PutUint16(p[ipLen:], port)
	}
}

// origin is where the requests of a flood come from.
type origin int

const (
	oneAddress    origin = iota
	manyAddresses        // they don't answer, and never ask again
	asking               // the same, but each asks again half a second later, as a client does
)

// number says which request packet i has: the same one when it is asked for again.
func (o origin) number(i int) int {
	if o == asking {
		return i % (floodRate / 2)
	}
	return i
}

// set makes packet i come from many addresses, from another one or another port for each request.
func (o origin) set(p []byte, i int) {
	network := netip.MustParsePrefix(void)
	n, size := o.number(i), 1<<(32-network.Bits())-2
	setSource(p, network, n, uint16(firstPort+n/size))
}

// nth is address i of a network, whose first and last are left out; it begins again at the end.
func nth(network netip.Prefix, i int) netip.Addr {
	first := binary.BigEndian.Uint32(network.Addr().AsSlice())
	size := uint32(1)<<(32-network.Bits()) - 2
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], first+1+uint32(i)%size)
	return netip.AddrFrom4(a)
}
