package traffic

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// udp is a UDP socket on the loopback.
func udp(t testing.TB, addr string) (fd int, at netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	enlarge(fd)
	a := netip.MustParseAddrPort(addr)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := sa.(*unix.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

func gro(t testing.TB, fd int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
		t.Fatal(err)
	}
}

// TestTrains: datagrams of all lengths to several addresses arrive as they were, in their order, with and without
// segmentation on either side; where it is on, there are fewer messages than datagrams.
func TestTrains(t *testing.T) {
	const receivers = 3
	for _, tt := range []struct{ segments, gro bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			from, at := udp(t, "127.0.0.1:0")
			var fds [receivers]int
			var to [receivers]unix.RawSockaddrInet4
			for i := range fds {
				var addr netip.AddrPort
				fds[i], addr = udp(t, "127.0.0.1:0")
				to[i] = sockaddr(addr)
				if tt.gro {
					gro(t, fds[i])
				}
			}
			s := newSender()
			var want [receivers][][]byte
			inner, messages := 0, 0
			for i := range 500 {
				n := []int{1400, 1400, 1400, 1400, 700, 64, 1, 1400, 64, 64}[i%10]
				p := bytes.Repeat([]byte{byte(i)}, n)
				who := i / 7 % receivers
				want[who] = append(want[who], p)
				inner += n - 1
				s.add(from, tt.segments, &to[who], p, n-1)
			}
			s.flush()
			if s.sent != 500 || s.octets != uint64(inner) || s.unsent != 0 || s.err != nil {
				t.Fatalf("%d sent with %d octets, %d not; %v", s.sent, s.octets, s.unsent, s.err)
			}
			r := newTrainReader()
			for i, fd := range fds {
				for len(want[i]) > 0 {
					n, err := r.read(fd)
					if n == 0 || err != nil {
						t.Fatalf("%d datagrams are missing; %v", len(want[i]), err)
					}
					messages += n
					for {
						p, source, ok := r.next()
						if !ok {
							break
						}
						if len(want[i]) == 0 || !bytes.Equal(p, want[i][0]) || *source != sockaddr(at) {
							t.Fatalf("got %d octets from %v", len(p), source)
						}
						want[i] = want[i][1:]
					}
				}
				if n, err := r.read(fd); n != 0 || err != nil {
					t.Errorf("%d messages too many; %v", n, err)
				}
			}
			if together := messages < 500; together != (tt.segments && tt.gro) {
				t.Errorf("%d messages for 500 datagrams", messages)
			}
		})
	}
}

// TestRefusedPieces: where the kernel does not send in pieces, packets go one by one, all of them, and the sender remembers.
func TestRefusedPieces(t *testing.T) {
	from, _ := udp(t, "127.0.0.1:0")
	to, at := udp(t, "127.0.0.1:0")
	// A socket without checksums can't send in pieces; a narrow way, which the loopback is not, says no in the same place.
	if err := unix.SetsockoptInt(from, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	s := newSender()
	name := sockaddr(at)
	send := func() {
		s.add(from, true, &name, []byte("single"), 6) // a message that goes
		for i := range 5 {
			s.add(from, true, &name, bytes.Repeat([]byte{byte(i)}, 100), 100)
		}
		s.flush()
	}
	send()
	if s.sent != 6 || s.octets != 506 || s.unsent != 0 || s.refused == 0 {
		t.Fatalf("%d sent with %d octets, %d not, refused %d; %v", s.sent, s.octets, s.unsent, s.refused, s.err)
	}
	send()
	if s.sent != 12 || s.n != 0 {
		t.Fatalf("%d sent", s.sent)
	}
	r, got := newTrainReader(), 0
	for {
		n, err := r.read(to)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for {
			p, _, ok := r.next()
			if !ok {
				break
			}
			if i := got % 6; i == 0 && string(p) != "single" || i > 0 && !bytes.Equal(p, bytes.Repeat([]byte{byte(i - 1)}, 100)) {
				t.Fatalf("datagram %d is %q", got, p)
			}
			got++
		}
	}
	if got != 12 {
		t.Errorf("%d datagrams of 12", got)
	}
}

// TestCantSend: what can't be sent is counted, and what stands behind it is sent.
func TestCantSend(t *testing.T) {
	from, _ := udp(t, "127.0.0.1:0")
	_, at := udp(t, "127.0.0.1:0")
	s := newSender()
	good, bad := sockaddr(at), sockaddr(netip.MustParseAddrPort("255.255.255.255:9")) // needs SO_BROADCAST
	for range 3 {
		s.add(from, false, &good, []byte("x"), 1)
		s.add(from, false, &bad, []byte("x"), 1)
	}
	s.flush()
	if s.sent != 3 || s.unsent != 3 || s.err == nil {
		t.Errorf("%d sent, %d not; %v", s.sent, s.unsent, s.err)
	}
	var m meter
	s.take(&m)
	if m.sent.Load() != 3 || m.unsent.Load() != 3 || s.sent != 0 || s.unsent != 0 {
		t.Errorf("%d sent, %d not", m.sent.Load(), m.unsent.Load())
	}
}

// TestPollerWaits: at most as long as it is told, and not at all when there is something.
func TestPollerWaits(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fd, at := udp(t, "127.0.0.1:0")
	if err := p.add(fd, 7); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if ready, err := p.wait(3 * time.Millisecond); len(ready) != 0 || err != nil || time.Since(began) < 3*time.Millisecond {
		t.Errorf("%v, %v after %v", ready, err, time.Since(began))
	}
	if err := unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{time.Hour, 0} {
		if ready, err := p.wait(d); len(ready) != 1 || ready[0] != 7 || err != nil {
			t.Errorf("%v, %v", ready, err)
		}
	}
}
