package tun

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/pktbuf"
)

const realMTU = 1400

// host is a namespace with one device, whose only way out is that device.
type host struct {
	t   *testing.T
	ns  *netns.Handle
	dev *Device
	fd  int
	to  Queue
}

// newHost makes a namespace with a device that has the address a and leads to the prefix of the others.
func newHost(t *testing.T, name string, a, others string, noOffload bool) *host {
	t.Helper()
	needRoot(t)
	name = fmt.Sprintf("cctest-%d-%s", os.Getpid(), name)
	dev, err := Open(Spec{Namespace: name, Device: "vpn0", Queues: 1, MTU: realMTU, NoOffload: noOffload})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(dev.Close(), netns.Remove(name)); err != nil {
			t.Error(err)
		}
	})
	if err := dev.Configure(Config{MTU: realMTU, Addresses: addrs(a), Routes: prefixes(others)}); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	if o := dev.Offloads(); o.TSO == noOffload || noOffload && o.USO {
		t.Fatalf("offloads are %+v", o)
	}
	return &host{t, ns, dev, dev.Queues()[0], Queue{dev.Queues()[0], dev.Offloads()}}
}

// socket makes a socket in the host's namespace, bound to its address.
func (h *host) socket(kind int, a [4]byte, port int) int {
	h.t.Helper()
	var fd int
	err := h.ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: a, Port: port})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return fd
}

// badChecksums is how many TCP and UDP packets the host's kernel has found spoilt.
func (h *host) badChecksums() string {
	h.t.Helper()
	var snmp []byte
	if err := h.ns.Do(func() (err error) {
		snmp, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	var out []string
	lines := strings.Split(string(snmp), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if name == "InCsumErrors" && values[j] != "0" {
				out = append(out, names[0]+values[j])
			}
		}
	}
	return strings.Join(out, " ")
}

// carrier takes packets from each of two devices to the other, singly, as sessions would.
type carrier struct {
	train   *Train
	out     *Coalescer
	bufs    [MaxPackets]pktbuf.Buf
	packets int // carried
	trains  int // read as such
	writes  int
	faults  []string
}

// run carries until stop is closed.
func (c *carrier) run(a, b *host, stop <-chan struct{}) {
	poll := []unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLIN}, {Fd: int32(b.fd), Events: unix.POLLIN}}
	for {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := unix.Poll(poll, 10); err != nil && !errors.Is(err, unix.EINTR) {
			c.faults = append(c.faults, err.Error())
			return
		}
		c.carry(a.fd, b.to)
		c.carry(b.fd, a.to)
	}
}

// carry takes all that waits.
func (c *carrier) carry(fd int, to Queue) {
	for {
		b := &c.bufs[c.out.Len()]
		got, errno := c.train.Read(Queue{fd, both}, b)
		if errno != 0 {
			c.flush()
			return
		}
		switch got {
		case Single:
			c.out.Add(to, b)
		case Several:
			c.trains++
			for c.train.Next(&c.bufs[c.out.Len()]) {
				c.out.Add(to, &c.bufs[c.out.Len()])
				if c.out.Full() {
					c.flush()
				}
			}
		default:
			c.faults = append(c.faults, fmt.Sprintf("read: %d", got))
		}
		if c.out.Full() {
			c.flush()
		}
	}
}

func (c *carrier) flush() {
	n := c.out.Len()
	c.packets += n
	c.writes += c.out.made
	c.out.Flush()
	for i := range n {
		if errno := c.out.Errno(i); errno != 0 {
			c.faults = append(c.faults, errno.Error())
		}
	}
}

// between starts a carrier; end stops it and looks for faults.
func between(t *testing.T, a, b *host) (c *carrier, end func()) {
	c = &carrier{train: NewTrain(), out: NewCoalescer()}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.run(a, b, stop)
	}()
	halt := sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(halt) // before the devices are closed, if the test ends early
	return c, func() {
		t.Helper()
		halt()
		if len(c.faults) != 0 {
			t.Errorf("%d faults, the first: %s", len(c.faults), c.faults[0])
		}
		for _, h := range []*host{a, b} {
			if bad := h.badChecksums(); bad != "" {
				t.Errorf("wrong checksums: %s", bad)
			}
		}
		t.Logf("%d packets, %d trains read, %d writes", c.packets, c.trains, c.writes)
	}
}

// TestRealTCP: a long transfer by the kernel's TCP, with every mix of offloads. The kernel checks what is written singly,
// we what is written in trains.
func TestRealTCP(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name   string
		na, nb bool
		size   int
	}{
		{"both", false, false, 100 << 20},
		{"cut only", false, true, 20 << 20},
		{"join only", true, false, 20 << 20},
		{"none", true, true, 5 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newHost(t, "a", "10.50.0.1", "10.51.0.0/24", tt.na)
			b := newHost(t, "b", "10.51.0.1", "10.50.0.0/24", tt.nb)
			c, end := between(t, a, b)
			sum := transfer(t, a, b, tt.size)
			end()
			if want := sha256.Sum256(stuff(tt.size)); sum != want {
				t.Error("not what was sent")
			}
			if (c.trains > 0) == tt.na {
				t.Errorf("%d trains were read", c.trains)
			}
			if joined := c.writes < c.packets*2/3; joined == tt.nb {
				t.Errorf("%d packets in %d writes", c.packets, c.writes)
			}
		})
	}
}

// stuff is n octets in which every displacement shows.
func stuff(n int) []byte {
	p := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(i)*0x9e3779b97f4a7c15)
	}
	return p
}

// transfer sends size octets by TCP from a to b and returns the hash of what came.
func transfer(t *testing.T, a, b *host, size int) (sum [32]byte) {
	t.Helper()
	listen := b.socket(unix.SOCK_STREAM, hostB, 80)
	defer unix.Close(listen)
	if err := unix.Listen(listen, 1); err != nil {
		t.Fatal(err)
	}
	fd := a.socket(unix.SOCK_STREAM, hostA, 0)
	to := &unix.SockaddrInet4{Addr: hostB, Port: 80}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		t.Fatal(err)
	}
	err := unix.Connect(fd, to)
	conn := connOf(t, fd) // closes fd in any case
	defer conn.Close()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(stuff(size))
		sent <- errors.Join(err, conn.Close())
	}()
	fd, _, err = unix.Accept4(listen, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	come := connOf(t, fd)
	defer come.Close()
	if err := come.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	n, err := io.Copy(h, come)
	if err := errors.Join(err, <-sent); err != nil || n != int64(size) {
		t.Fatalf("%d octets of %d came: %v", n, size, err)
	}
	return [32]byte(h.Sum(nil))
}

// connOf makes a Go connection of a socket, which it takes over.
func connOf(t *testing.T, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRealUDP: datagrams sent by UDP_SEGMENT each way, of all kinds of sizes, arrive each as it was sent.
func TestRealUDP(t *testing.T) {
	a := newHost(t, "a", "10.50.0.1", "10.51.0.0/24", false)
	b := newHost(t, "b", "10.51.0.1", "10.50.0.0/24", false)
	if !a.to.Offloads.USO {
		t.Skip("this kernel has no USO")
	}
	fds := [2]int{a.socket(unix.SOCK_DGRAM, hostA, 5000), b.socket(unix.SOCK_DGRAM, hostB, 5000)}
	addresses := [2][4]byte{hostA, hostB}
	for _, fd := range fds {
		defer unix.Close(fd)
		if err := errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}),
		); err != nil {
			t.Fatal(err)
		}
	}
	c, end := between(t, a, b)
	buf := make([]byte, 1<<16)
	for _, size := range []int{1, 7, 100, 1000, realMTU - 28} {
		for _, n := range []int{1, 2, 3, 44, 64} {
			for _, last := range []int{size, size/2 + 1} {
				length := (n-1)*size + last
				if length > 65507 {
					continue
				}
				for from := range 2 {
					p := octets(length, uint64(size*n+from))
					oob := segmentMessage(size)
					to := &unix.SockaddrInet4{Addr: addresses[1-from], Port: 5000}
					if err := unix.Sendmsg(fds[from], p, oob, to, 0); err != nil {
						t.Fatalf("send %d of %d: %v", n, size, err)
					}
					for at := 0; at < length; at += size {
						got, _, err := unix.Recvfrom(fds[1-from], buf, 0)
						if err != nil || !bytes.Equal(buf[:got], p[at:min(at+size, length)]) {
							t.Fatalf("%d octets at %d of %d of %d each: %v", got, at, length, size, err)
						}
					}
				}
			}
		}
	}
	end()
	if c.trains == 0 || c.writes > c.packets/4 {
		t.Errorf("%d packets, %d trains, %d writes", c.packets, c.trains, c.writes)
	}
}

// segmentMessage is the control message of UDP_SEGMENT.
func segmentMessage(size int) []byte {
	oob := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(oob, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(oob[8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(oob[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(oob[16:], uint16(size))
	return oob
}

// TestRealRouter: the kernel as the judge. Packets go joined into a router's one device and come out of its other one, cut
// by the kernel where that takes no trains, by us where it does: each as it went in, one hop older.
func TestRealRouter(t *testing.T) {
	ns := testNamespace(t)
	in, err := Open(Spec{Namespace: ns, Device: "vpn0", Queues: 1, MTU: realMTU})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.Configure(Config{MTU: realMTU, Routes: prefixes("10.50.0.0/24")}); err != nil {
		t.Fatal(err)
	}
	for i, noOffload := range []bool{true, false} {
		out, err := Open(Spec{Namespace: ns, Device: fmt.Sprint("out", i), Queues: 1, MTU: realMTU, NoOffload: noOffload})
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		to := netip.AddrFrom4([4]byte{10, 51, byte(i), 1})
		if err := out.Configure(Config{MTU: realMTU, Routes: []netip.Prefix{netip.PrefixFrom(to, 24)}}); err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("trains=%t", !noOffload), func(t *testing.T) { route(t, in, out, to.As4()) })
	}
}

// route sends batches of flows through the router. Both devices are emptied after each.
func route(t *testing.T, in, out *Device, to [4]byte) {
	r := rand.New(rand.NewPCG(21, 22))
	c, tr := NewCoalescer(), NewTrain()
	trains, joined := 0, 0
	for round := range 60 {
		ps := soundBatch(r, to)
		writes := slowMerge(ps, in.Queues()[0], in.Offloads())
		var want [][]byte
		for _, w := range writes {
			joined += len(w) - 1
			for _, p := range w {
				want = append(want, hop(p))
			}
		}
		for _, p := range ps {
			c.Add(Queue{in.Queues()[0], in.Offloads()}, bufOf(t, p))
		}
		c.Flush()
		var got [][]byte
		for {
			var b pktbuf.Buf
			kind, errno := tr.Read(Queue{out.Queues()[0], both}, &b)
			if errno == unix.EAGAIN {
				break
			}
			switch kind {
			case Single:
				got = append(got, bytes.Clone(b.Bytes()))
			case Several:
				trains++
				got = append(got, all(t, tr)...)
			default:
				t.Fatalf("read: %d, %v", kind, errno)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("round %d: %d packets came of %d", round, len(got), len(want))
		}
		for i := range got {
			if !equal(got[i:i+1], want[i:i+1]) {
				t.Fatalf("round %d: packet %d of %d is\n%x, want\n%x", round, i, len(got), got[i], want[i])
			}
		}
	}
	if joined < 1000 || (trains > 0) != out.Offloads().TSO {
		t.Errorf("%d packets joined, %d trains came out", joined, trains)
	}
}

// hop is p after a router.
func hop(p []byte) []byte {
	p = bytes.Clone(p)
	p[8]--
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], ^slowSum(p[:int(p[0]&15)*4]))
	return p
}

// soundBatch is packets that a router takes: flows in sequence, with ends of all kinds, and some whose data were spoilt on
// their way.
func soundBatch(r *rand.Rand, to [4]byte) [][]byte {
	var flows []packet
	for i := range 1 + r.IntN(4) {
		k := packet{
			src: [4]byte{10, 50, 0, 9}, dst: to, protocol: unix.IPPROTO_TCP, sport: uint16(1000 + i), dport: 80, tos: byte(r.IntN(64)) << 2,
			ttl: 64, id: uint16(r.Uint32()), seq: r.Uint32(), ack: 9, flags: tcpACK, window: 100, options: timestamps,
			payload: octets(1+r.IntN(realMTU-60), r.Uint64()),
		}
		if i%2 == 1 {
			k.protocol, k.options = unix.IPPROTO_UDP, nil
		}
		if r.IntN(2) == 0 {
			k.fragment = ipDontFragment
		}
		flows = append(flows, k)
	}
	var ps [][]byte
	for range 1 + r.IntN(MaxPackets) {
		f := &flows[r.IntN(len(flows))]
		k := *f
		odd := r.IntN(40)
		switch odd {
		case 0:
			k.payload = k.payload[:r.IntN(len(k.payload))]
		case 1:
			k.flags |= tcpPSH
		case 2:
			k.flags |= tcpFIN | tcpPSH
		case 3:
			k.flags |= tcpCWR
		case 4:
			k.id += 7
		}
		p := k.bytes()
		if odd == 5 {
			p[len(p)-1] ^= 0x10
		}
		ps = append(ps, p)
		f.seq += uint32(len(k.payload))
		f.id++
	}
	return ps
}

// TestRealOffloads: what a device says it takes.
func TestRealOffloads(t *testing.T) {
	ns := testNamespace(t)
	for name, noOffload := range map[string]bool{"vpn0": false, "vpn1": true} {
		d, err := Open(Spec{Namespace: ns, Device: name, Queues: 2, MTU: realMTU, NoOffload: noOffload})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := d.Offloads(); got.TSO == noOffload {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
