package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/netns"
	"concentrator/internal/dataplane/tun"
)

func testNamespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CONCENTRATOR_REAL") == "1" {
			t.Fatal("CONCENTRATOR_REAL=1, but not root: raw sockets can't be opened")
		}
		t.Skip("needs root for raw sockets")
	}
	name := fmt.Sprintf("cctest-io-%d", os.Getpid())
	h, _, err := netns.Ensure(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Close(), netns.Remove(name)); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("ip", "-n", name, "address", "add", "198.51.100.7/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// grePacket is an enhanced GRE data packet for a call, with n octets of payload.
func grePacket(call uint16, n int) []byte {
	p := make([]byte, 12+n)
	copy(p, []byte{0x30, 0x01, 0x88, 0x0b})
	binary.BigEndian.PutUint16(p[4:], uint16(n))
	binary.BigEndian.PutUint16(p[6:], call)
	return p
}

// TestRawSocket sends batches from two addresses of the namespace to a third, through the loopback device.
func TestRawSocket(t *testing.T) {
	ns := testNamespace(t)
	var sockets [2]Socket
	for shard := range sockets {
		s, err := Linux{}.OpenGRE(ns, shard, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sockets[shard] = s
	}
	for _, id := range []uint32{0x11, 0x21} {
		if err := sockets[1].Admit(id, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := sockets[0].Admit(0x11, true); err == nil {
		t.Error("a shard admits another's call")
	}
	var msgs []Message
	for i := range BatchSize + 10 {
		from := [4]byte{198, 51, 100, 7}
		if i%2 == 1 {
			from = [4]byte{127, 0, 0, 1}
		}
		msgs = append(msgs, Message{Data: grePacket([]uint16{0x11, 0x21, 0x31}[i%3], i*20), From: from, To: [4]byte{127, 0, 0, 2}})
	}
	n := sockets[0].WriteBatch(msgs)
	if n != BatchSize {
		t.Fatalf("sent %d", n)
	}
	if n := sockets[0].WriteBatch(msgs[n:]); n != 10 {
		t.Fatalf("sent %d more", n)
	}
	bufs, sizes := make([][]byte, BatchSize), make([]int, BatchSize)
	for i := range bufs {
		bufs[i] = make([]byte, 1000)
	}
	if n, err := sockets[0].ReadBatch(bufs, sizes); n != 0 || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("shard 0 got %d, %v", n, err)
	}
	n, err := sockets[1].ReadBatch(bufs, sizes)
	if n != 50 || err != nil { // two of three of 74
		t.Fatalf("got %d, %v", n, err)
	}
	next := 0
	for k := range n {
		for next%3 == 2 {
			next++ // for a call that is not admitted
		}
		p := bufs[k]
		if want := 20 + len(msgs[next].Data); sizes[k] != want {
			t.Fatalf("packet %d has %d octets, want %d", k, sizes[k], want)
		}
		if src := netip.AddrFrom4([4]byte(p[12:])); src != netip.AddrFrom4(msgs[next].From) {
			t.Errorf("packet %d comes from %v", k, src)
		}
		if p[6]&0x40 != 0 {
			t.Errorf("packet %d has DF", k)
		}
		next++
	}
	if unknown, malformed, err := sockets[1].Refused(); unknown != 24 || malformed != 0 || err != nil {
		t.Errorf("refused %d and %d, %v", unknown, malformed, err)
	}
	// One that can't be sent says so and doesn't keep the others.
	msgs[1].From = [4]byte{203, 0, 113, 1} // not ours
	if n := sockets[0].WriteBatch(msgs[:3]); n != 2 || msgs[0].Errno != 0 || msgs[1].Errno == 0 || msgs[2].Errno != 0 {
		t.Errorf("sent %d: %v, %v, %v", n, msgs[0].Errno, msgs[1].Errno, msgs[2].Errno)
	}
	if err := sockets[1].Admit(0x11, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sockets[1].Close(); err != nil {
			t.Error(err)
		}
	}
	if err := sockets[1].Admit(0x11, true); err != nil {
		t.Errorf("Admit after Close: %v", err)
	}
	if unknown, _, err := sockets[1].Refused(); unknown != 25 || err != nil {
		t.Errorf("after Close refused %d, %v", unknown, err)
	}
}

// TestRawESP sends ESP packets from one shard's socket to both.
func TestRawESP(t *testing.T) {
	ns := testNamespace(t)
	shortLinks(t, ns)
	var sockets [2]Socket
	for shard := range sockets {
		s, err := Linux{}.OpenESP(ns, shard, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sockets[shard] = s
	}
	if err := sockets[1].Admit(0x12345671, true); err != nil {
		t.Fatal(err)
	}
	if err := sockets[0].Admit(0x12345671, true); err == nil {
		t.Error("a shard admits another's SPI")
	}
	var msgs []Message
	for i, spi := range []uint32{0x12345671, 0x12345681, 0x11, 0x12345671, 0x12345670} {
		p := make([]byte, 40+3000*i) // the longest in fragments
		binary.BigEndian.PutUint32(p, spi)
		msgs = append(msgs, Message{Data: p, From: [4]byte{198, 51, 100, 7}, To: [4]byte{127, 0, 0, 2}})
	}
	if n := sockets[0].WriteBatch(msgs); n != len(msgs) {
		t.Fatalf("sent %d", n)
	}
	bufs, sizes := [][]byte{make([]byte, 1000), make([]byte, 1000), make([]byte, 1000)}, make([]int, 3)
	n, err := sockets[1].ReadBatch(bufs, sizes)
	if n != 2 || err != nil || sizes[0] != 60 || sizes[1] != 9060 || bufs[0][9] != unix.IPPROTO_ESP || bufs[0][6]&0x40 != 0 {
		t.Errorf("got %d of %v octets, %v: %x", n, sizes, err, bufs[0][:20])
	}
	if n, err := sockets[0].ReadBatch(bufs, sizes); n != 0 || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("shard 0 got %d, %v", n, err)
	}
	for shard, want := range [][2]uint64{{1, 1}, {1, 0}} {
		if unknown, malformed, err := sockets[shard].Refused(); unknown != want[0] || malformed != want[1] || err != nil {
			t.Errorf("shard %d refused %d and %d, %v; want %v", shard, unknown, malformed, err, want)
		}
	}
}

func TestOpenerErrors(t *testing.T) {
	ns := testNamespace(t)
	if s, err := (Linux{}).OpenGRE(ns+"-missing", 0, 1); !errors.Is(err, netns.ErrNotFound) || s != nil {
		t.Errorf("GRE in a namespace that is not there: %v, %v", s, err)
	}
	if s, err := (Linux{}).OpenESP(ns+"-missing", 0, 1); !errors.Is(err, netns.ErrNotFound) || s != nil {
		t.Errorf("ESP in a namespace that is not there: %v, %v", s, err)
	}
	if s, err := (Linux{}).OpenUDP(ns+"-missing", netip.MustParseAddrPort("127.0.0.1:500"), 1); !errors.Is(err, netns.ErrNotFound) || s != nil {
		t.Errorf("UDP in a namespace that is not there: %v, %v", s, err)
	}
	if s, err := (Linux{}).OpenUDP(ns, netip.MustParseAddrPort("192.0.2.9:500"), 2); !errors.Is(err, unix.EADDRNOTAVAIL) || s != nil {
		t.Errorf("UDP on an address that is not ours: %v, %v", s, err)
	}
	if s, err := (Linux{}).OpenUDP(ns, netip.MustParseAddrPort("[::1]:500"), 2); err == nil || s != nil {
		t.Errorf("UDP on IPv6: %v, %v", s, err)
	}
	if s, err := (Linux{}).OpenUDP(ns, netip.MustParseAddrPort("127.0.0.1:500"), 17); err == nil || s != nil {
		t.Errorf("UDP for 17 shards: %v, %v", s, err)
	}
	if l, err := (Linux{}).ListenTCP(ns+"-missing", netip.MustParseAddrPort("127.0.0.1:0")); !errors.Is(err, netns.ErrNotFound) || l != nil {
		t.Errorf("TCP in a namespace that is not there: %v, %v", l, err)
	}
	if d, err := (Linux{}).OpenTUN(tun.Spec{Namespace: ns, Device: "a/b", Queues: 1, MTU: 1400}); !errors.Is(err, tun.ErrDeviceName) || d != nil {
		t.Errorf("a bad device name: %v, %v", d, err)
	}
	if d, err := (Linux{}).OpenTUN(tun.Spec{Namespace: "../x", Device: "vpn0", Queues: 1, MTU: 1400}); !errors.Is(err, netns.ErrName) || d != nil {
		t.Errorf("a bad namespace: %v, %v", d, err)
	}
}
