package tun

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/pktbuf"
)

// packet describes an inner packet to be built. The zero value of what is not set is what a plain packet has.
type packet struct {
	src, dst     [4]byte
	protocol     byte
	sport, dport uint16
	tos, ttl     byte
	id, fragment uint16
	ipOptions    []byte
	seq, ack     uint32
	flags        byte
	window       uint16
	urgent       uint16
	options      []byte
	payload      []byte
}

// slowSum is the folded ones' complement sum of RFC 1071, octet by octet.
func slowSum(ps ...[]byte) uint16 {
	sum, odd := uint32(0), false
	for _, p := range ps {
		for _, o := range p {
			if odd {
				sum += uint32(o)
			} else {
				sum += uint32(o) << 8
			}
			odd = !odd
			sum = sum&0xffff + sum>>16
		}
	}
	return uint16(sum)
}

// slowPseudo is the pseudo header of RFC 9293 section 3.1 for an IPv4 packet of which n octets follow the IP header.
func slowPseudo(p []byte, n int) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, p[12:20]...), 0, p[9]), uint16(n))
}

// finish puts lengths and checksums into an IPv4 packet of TCP or UDP.
func finish(p []byte) []byte {
	ip := int(p[0]&0xf) * 4
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[10:], 0)
	binary.BigEndian.PutUint16(p[10:], ^slowSum(p[:ip]))
	l4 := p[ip:]
	switch p[9] {
	case unix.IPPROTO_TCP:
		binary.BigEndian.PutUint16(l4[16:], 0)
		binary.BigEndian.PutUint16(l4[16:], ^slowSum(slowPseudo(p, len(l4)), l4))
	case unix.IPPROTO_UDP:
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		binary.BigEndian.PutUint16(l4[6:], 0)
		sum := ^slowSum(slowPseudo(p, len(l4)), l4)
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(l4[6:], sum)
	}
	return p
}

// bytes builds it, finished.
func (k packet) bytes() []byte {
	p := make([]byte, 20, 20+len(k.ipOptions)+20+len(k.options)+len(k.payload))
	p[0] = 0x45 + byte(len(k.ipOptions)/4)
	p[1] = k.tos
	binary.BigEndian.PutUint16(p[4:], k.id)
	binary.BigEndian.PutUint16(p[6:], k.fragment)
	p[8], p[9] = k.ttl, k.protocol
	copy(p[12:], k.src[:])
	copy(p[16:], k.dst[:])
	p = append(p, k.ipOptions...)
	switch k.protocol {
	case unix.IPPROTO_TCP:
		h := make([]byte, 20)
		binary.BigEndian.PutUint16(h, k.sport)
		binary.BigEndian.PutUint16(h[2:], k.dport)
		binary.BigEndian.PutUint32(h[4:], k.seq)
		binary.BigEndian.PutUint32(h[8:], k.ack)
		h[12], h[13] = byte(20+len(k.options))<<2, k.flags
		binary.BigEndian.PutUint16(h[14:], k.window)
		binary.BigEndian.PutUint16(h[18:], k.urgent)
		p = append(append(p, h...), k.options...)
	case unix.IPPROTO_UDP:
		h := make([]byte, 8)
		binary.BigEndian.PutUint16(h, k.sport)
		binary.BigEndian.PutUint16(h[2:], k.dport)
		p = append(p, h...)
	}
	return finish(append(p, k.payload...))
}

// octets is n octets that look random and are always the same for the same seed.
func octets(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 99))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

var (
	hostA = [4]byte{10, 50, 0, 1}
	hostB = [4]byte{10, 51, 0, 1}
	both  = Offloads{TSO: true, USO: true}
)

// timestamps is the TCP option that nearly all connections have (RFC 7323 section 3.2), with two NOPs before it.
var timestamps = []byte{1, 1, 8, 10, 0, 0, 1, 2, 0, 0, 3, 4}

// tcpRun is n data packets of one connection in sequence.
func tcpRun(n, size int) []packet {
	var ks []packet
	for i := range n {
		ks = append(ks, packet{
			src: hostA, dst: hostB, protocol: unix.IPPROTO_TCP, sport: 1000, dport: 80, ttl: 64, id: uint16(500 + i),
			fragment: ipDontFragment, seq: 0xfffff000 + uint32(i*size), ack: 77, flags: tcpACK, window: 512, options: timestamps,
			payload: octets(size, uint64(i)),
		})
	}
	return ks
}

// udpRun is n datagrams of one flow.
func udpRun(n, size int) []packet {
	var ks []packet
	for i := range n {
		ks = append(ks, packet{
			src: hostA, dst: hostB, protocol: unix.IPPROTO_UDP, sport: 1000, dport: 53, ttl: 64, id: uint16(65530 + i),
			payload: octets(size, uint64(i)),
		})
	}
	return ks
}

func build(ks []packet) [][]byte {
	var ps [][]byte
	for _, k := range ks {
		ps = append(ps, k.bytes())
	}
	return ps
}

// bufOf puts a packet into a buffer as the shard has it: behind outer headers.
func bufOf(t testing.TB, p []byte) *pktbuf.Buf {
	b := new(pktbuf.Buf)
	if !b.SetBytes(p) {
		t.Fatalf("%d octets don't fit a buffer", len(p))
	}
	return b
}

// closeLater closes fd when the test is over.
func closeLater(t testing.TB, fd int) {
	t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	})
}

// link is two ends that keep the borders of what is written, as a queue does.
func link(t testing.TB) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fds[0])
	closeLater(t, fds[1])
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20); err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// drain reads all that waits at the end of a link.
func drain(t testing.TB, fd int) [][]byte {
	t.Helper()
	var all [][]byte
	buf := make([]byte, 1<<17)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, append([]byte{}, buf[:n]...))
	}
}

// feed gives raw, virtio-net header first, to a Train as if it had been read.
func feed(t *Train, b *pktbuf.Buf, raw []byte) ReadResult {
	t.cut.left = 0
	n := copy(b.ReadArea(), raw)
	return t.take(b, n+copy(t.area[near:], raw[n:]))
}
