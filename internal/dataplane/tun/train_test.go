package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

// vnet is a virtio-net header as a queue gives it.
func vnet(flags, kind byte, size, start, offset int) []byte {
	h := []byte{flags, kind}
	for _, n := range []int{0, size, start, offset} { // the first is hdr_len, a hint that may be anything
		h = binary.NativeEndian.AppendUint16(h, uint16(n))
	}
	return h
}

// trainOf is k as a queue gives it, as one train with payloads of size octets.
func trainOf(k packet, size int) []byte {
	p := k.bytes()
	kind, field := byte(unix.VIRTIO_NET_HDR_GSO_UDP_L4), 6
	if k.protocol == unix.IPPROTO_TCP {
		kind, field = unix.VIRTIO_NET_HDR_GSO_TCPV4, 16
	}
	ip := 20 + len(k.ipOptions)
	binary.BigEndian.PutUint16(p[ip+field:], slowSum(slowPseudo(p, len(p)-ip)))
	return append(vnet(1, kind, size, ip, field), p...)
}

// all takes every packet out of a train and looks at the buffers they come in.
func all(t *testing.T, tr *Train) [][]byte {
	t.Helper()
	var ps [][]byte
	var b pktbuf.Buf
	for left := tr.Left(); ; left-- {
		if tr.Left() != left {
			t.Fatalf("%d packets are left, want %d", tr.Left(), left)
		}
		if !tr.Next(&b) {
			if left != 0 {
				t.Fatalf("%d packets did not come", left)
			}
			return ps
		}
		if b.Front() != pktbuf.Headroom || b.Back() < pktbuf.Tailroom {
			t.Fatalf("packet with %d octets before it and %d behind", b.Front(), b.Back())
		}
		ps = append(ps, bytes.Clone(b.Bytes()))
	}
}

// randomTrain is a train with everything that cutting must keep or change.
func randomTrain(r *rand.Rand) (packet, int) {
	k := packet{
		src: hostA, dst: hostB, protocol: unix.IPPROTO_TCP, sport: uint16(r.Uint32()), dport: uint16(r.Uint32()), tos: byte(r.Uint32()),
		ttl: byte(r.Uint32()), id: uint16(r.Uint32()), seq: r.Uint32(), ack: r.Uint32(), flags: byte(r.Uint32()),
		window: uint16(r.Uint32()), urgent: uint16(r.Uint32()), options: octets(4*r.IntN(11), r.Uint64()),
	}
	if r.IntN(3) == 0 {
		k.ipOptions = octets(4*r.IntN(11), r.Uint64())
	}
	if r.IntN(2) == 0 {
		k.fragment = ipDontFragment
	}
	if r.IntN(2) == 0 {
		k.protocol, k.options = unix.IPPROTO_UDP, nil
	}
	size := 1 + r.IntN(1400)
	if r.IntN(4) == 0 {
		size = 1 + r.IntN(20)
	}
	k.payload = octets(1+r.IntN(min(65535-140, size*130)), r.Uint64())
	return k, size
}

func TestTrainIsCutAsLinuxDoes(t *testing.T) {
	near, far := link(t)
	r, tr := rand.New(rand.NewPCG(7, 8)), NewTrain()
	for range 400 {
		k, size := randomTrain(r)
		raw := trainOf(k, size)
		want, ok := slowCut(raw)
		if !ok {
			t.Fatal("the model can't cut it")
		}
		if _, err := unix.Write(near, raw); err != nil {
			t.Fatal(err)
		}
		var b pktbuf.Buf
		if got, errno := tr.Read(Queue{far, both}, &b); got != Several || errno != 0 {
			t.Fatalf("%d, %v, want Several", got, errno)
		}
		got := all(t, tr)
		if len(got) != len(want) || len(got) != (len(k.payload)+size-1)/size {
			t.Fatalf("%d packets, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("packet %d of %d is\n%x, want\n%x", i, len(got), got[i], want[i])
			}
		}
	}
}

// TestTrainMarks: what the flags of a train's first and last packet say, in plain.
func TestTrainMarks(t *testing.T) {
	k := tcpRun(1, 0)[0]
	k.flags, k.id, k.payload = tcpFIN|tcpPSH|tcpACK|tcpCWR|0x40, 0xffff, octets(2500, 1)
	tr := NewTrain()
	if got := feed(tr, new(pktbuf.Buf), trainOf(k, 1000)); got != Several {
		t.Fatal(got)
	}
	for i, want := range []struct {
		length int
		id     uint16
		seq    uint32
		flags  byte
	}{
		{1052, 0xffff, 0xfffff000, 0x40 | tcpCWR | tcpACK},
		{1052, 0, 0xfffff3e8, 0x40 | tcpACK},
		{552, 1, 0xfffff7d0, 0x40 | tcpACK | tcpPSH | tcpFIN},
	} {
		var b pktbuf.Buf
		if !tr.Next(&b) {
			t.Fatalf("no packet %d", i)
		}
		p := b.Bytes()
		if len(p) != want.length || binary.BigEndian.Uint16(p[4:]) != want.id || binary.BigEndian.Uint32(p[24:]) != want.seq ||
			p[33] != want.flags || !bytes.Equal(p[52:], k.payload[i*1000:i*1000+want.length-52]) {
			t.Errorf("packet %d: %x", i, p[:52])
		}
	}
}

// TestHeaderSumCarries: addresses with which the sum over the parts of the IP header that stay is all ones.
func TestHeaderSumCarries(t *testing.T) {
	k := withPayload(tcpRun(1, 0)[0], 300)
	k.src, k.dst = [4]byte{0x7a, 0xff, 0xbf, 0xf9}, [4]byte{0xff, 0xff, 0xff, 0xff}
	raw, tr := trainOf(k, 100), NewTrain()
	want, _ := slowCut(raw)
	if got := feed(tr, new(pktbuf.Buf), raw); got != Several {
		t.Fatal(got)
	}
	for i, p := range all(t, tr) {
		if !bytes.Equal(p, want[i]) {
			t.Errorf("packet %d is\n%x, want\n%x", i, p[:20], want[i][:20])
		}
	}
}

// TestSinglePackets: lengths around what a buffer takes, and what must be completed.
func TestSinglePackets(t *testing.T) {
	near, far := link(t)
	tr := NewTrain()
	read := func(raw []byte) (*pktbuf.Buf, ReadResult) {
		t.Helper()
		if _, err := unix.Write(near, raw); err != nil {
			t.Fatal(err)
		}
		b := new(pktbuf.Buf)
		got, errno := tr.Read(Queue{far, both}, b)
		if errno != 0 {
			t.Fatal(errno)
		}
		return b, got
	}
	for _, n := range []int{0, 1, 20, 1400, pktbuf.MaxRead - HeaderLen} {
		p := octets(n, 3)
		b, got := read(append(make([]byte, HeaderLen), p...))
		if got != Single || !bytes.Equal(b.Bytes(), p) || b.Front() < pktbuf.Headroom || b.Back() < pktbuf.Tailroom {
			t.Errorf("%d octets: %d, %d octets", n, got, b.Len())
		}
	}
	for _, n := range []int{pktbuf.MaxRead - HeaderLen + 1, 65535, 67583 - HeaderLen, 67584 - HeaderLen, 100000} {
		if _, got := read(make([]byte, HeaderLen+n)); got != Oversize {
			t.Errorf("%d octets: %d", n, got)
		}
	}
	cut := make([]byte, HeaderLen+len(tr.area)) // and perhaps more
	cut[1] = unix.VIRTIO_NET_HDR_GSO_TCPV4
	if _, got := read(cut); got != Oversize {
		t.Errorf("a train as long as the room for it: %d", got)
	}
	if _, got := read(cut[:len(cut)-1]); got != Malformed {
		t.Errorf("a train that all came, without sense: %d", got)
	}
	if _, got := read(make([]byte, HeaderLen-1)); got != Malformed {
		t.Errorf("less than a header: %d", got)
	}
	for _, k := range append(tcpRun(1, 1400), udpRun(1, 333)...) {
		want := k.bytes()
		raw := trainOf(k, 0)
		raw[1] = unix.VIRTIO_NET_HDR_GSO_NONE
		if b, got := read(raw); got != Single || !bytes.Equal(b.Bytes(), want) {
			t.Errorf("checksum to be completed: %d\n%x", got, b.Bytes()[:40])
		}
	}
	// The sum is all ones: UDP's checksum must not become 0.
	k := udpRun(1, 2)[0]
	k.payload = []byte{0, 0}
	sum := slowSum(slowPseudo(k.bytes(), 10), k.bytes()[20:26])
	binary.BigEndian.PutUint16(k.payload, ^sum)
	raw := trainOf(k, 0)
	raw[1] = unix.VIRTIO_NET_HDR_GSO_NONE
	if b, got := read(raw); got != Single || b.Bytes()[26] != 0xff || b.Bytes()[27] != 0xff {
		t.Errorf("%d, % x", got, b.Bytes())
	}
	raw[1] = unix.VIRTIO_NET_HDR_GSO_UDP_L4
	raw[4], raw[5] = 2, 2
	if _, got := read(raw); got != Several {
		t.Error(got)
	}
	if ps := all(t, tr); len(ps) != 1 || ps[0][26] != 0xff || ps[0][27] != 0xff {
		t.Errorf("% x", ps)
	}
	if _, errno := tr.Read(Queue{far, both}, new(pktbuf.Buf)); errno != unix.EAGAIN {
		t.Errorf("an empty queue: %v", errno)
	}
	if _, errno := tr.Read(Queue{-1, both}, new(pktbuf.Buf)); errno != unix.EBADF {
		t.Errorf("no queue: %v", errno)
	}
}

// TestReadWithoutTrains: of a queue that gives none only what a buffer can hold is read, and a whole buffer may be a cut packet.
func TestReadWithoutTrains(t *testing.T) {
	near, far := link(t)
	tr, q := NewTrain(), Queue{FD: far}
	for n, want := range map[int]ReadResult{
		0: Single, 20: Single, 1400: Single, pktbuf.MaxRead - HeaderLen - 1: Single, pktbuf.MaxRead - HeaderLen: Oversize,
		pktbuf.MaxRead - HeaderLen + 1: Oversize, 65535: Oversize, -1: Malformed,
	} {
		p := octets(n+HeaderLen, 3)
		clear(p[:min(len(p), HeaderLen)])
		if _, err := unix.Write(near, p); err != nil {
			t.Fatal(err)
		}
		b := new(pktbuf.Buf)
		got, errno := tr.Read(q, b)
		if got != want || errno != 0 || got == Single && !bytes.Equal(b.Bytes(), p[HeaderLen:]) {
			t.Errorf("%d octets: %d, want %d, %v, %d octets", n, got, want, errno, b.Len())
		}
	}
	if _, errno := tr.Read(q, new(pktbuf.Buf)); errno != unix.EAGAIN {
		t.Errorf("an empty queue: %v", errno)
	}
	if _, errno := tr.Read(Queue{FD: -1}, new(pktbuf.Buf)); errno != unix.EBADF {
		t.Errorf("no queue: %v", errno)
	}
}

// TestHostileHeaders: lengths and places that don't fit the packet.
func TestHostileHeaders(t *testing.T) {
	tcpTrain, udpTrain := trainOf(withPayload(tcpRun(1, 0)[0], 3000), 1000), trainOf(withPayload(udpRun(1, 0)[0], 3000), 1000)
	put16 := func(at, v int) func(p []byte) {
		return func(p []byte) { binary.BigEndian.PutUint16(p[10+at:], uint16(v)) }
	}
	native := func(at, v int) func(p []byte) {
		return func(p []byte) { binary.NativeEndian.PutUint16(p[at:], uint16(v)) }
	}
	put8 := func(at int, v byte) func(p []byte) { return func(p []byte) { p[at] = v } }
	for _, tt := range []struct {
		name   string
		raw    []byte
		change func(p []byte)
		cut    int
		want   ReadResult
	}{
		{name: "as it should be", raw: tcpTrain, want: Several},
		{name: "UDP as it should be", raw: udpTrain, want: Several},
		{name: "with the ECN bit", raw: tcpTrain, change: put8(1, 0x81), want: Several},
		{name: "checked by who received it", raw: tcpTrain, change: put8(0, 0), want: Several},
		{name: "IPv6 train", raw: tcpTrain, change: put8(1, 4), want: Malformed},
		{name: "UFO", raw: udpTrain, change: put8(1, 3), want: Malformed},
		{name: "unknown kind", raw: udpTrain, change: put8(1, 0x20), want: Malformed},
		{name: "TCP called UDP", raw: tcpTrain, change: put8(1, 5), want: Malformed},
		{name: "UDP called TCP", raw: udpTrain, change: put8(1, 1), want: Malformed},
		{name: "IP version 6", raw: tcpTrain, change: put8(10, 0x65), want: Malformed},
		{name: "header of 16 octets", raw: tcpTrain, change: put8(10, 0x44), want: Malformed},
		{name: "IP header longer than it was", raw: tcpTrain, change: put8(10, 0x4f), want: Malformed},
		{name: "total length too small", raw: tcpTrain, change: put16(2, 3051), want: Malformed},
		{name: "total length too big", raw: tcpTrain, change: put16(2, 3053), want: Malformed},
		{name: "fragment", raw: tcpTrain, change: put16(6, 0x2000), want: Malformed},
		{name: "later fragment", raw: tcpTrain, change: put16(6, 1), want: Malformed},
		{name: "TCP header of 16 octets", raw: tcpTrain, change: put8(10+32, 0x40), want: Malformed},
		{name: "TCP options longer than they were", raw: tcpTrain, change: put8(10+32, 0xf0), want: Several},
		{name: "no payload size", raw: tcpTrain, change: native(4, 0), want: Malformed},
		{name: "payload size of one", raw: tcpTrain, change: native(4, 1), want: Several},
		{name: "the longest for a buffer", raw: tcpTrain, change: native(4, pktbuf.MaxRead-52), want: Several},
		{name: "too long for a buffer", raw: tcpTrain, change: native(4, pktbuf.MaxRead-51), want: Oversize},
		{name: "checksum from elsewhere", raw: tcpTrain, change: native(6, 24), want: Malformed},
		{name: "checksum from outside", raw: tcpTrain, change: native(6, 0xffff), want: Malformed},
		{name: "checksum to elsewhere", raw: tcpTrain, change: native(8, 6), want: Malformed},
		{name: "checksum to outside", raw: udpTrain, change: native(8, 0xffff), want: Malformed},
		{name: "nothing", raw: tcpTrain, cut: 10, want: Malformed},
		{name: "half an IP header", raw: tcpTrain, cut: 20, want: Malformed},
		{name: "half a TCP header", raw: tcpTrain, cut: 45, change: put16(2, 35), want: Malformed},
		{name: "half of TCP options", raw: tcpTrain, cut: 55, change: put16(2, 45), want: Malformed},
		{name: "headers only", raw: tcpTrain, cut: 62, change: put16(2, 52), want: Malformed},
		{name: "one octet of payload", raw: tcpTrain, cut: 63, change: put16(2, 53), want: Several},
		{name: "half a UDP header", raw: udpTrain, cut: 37, change: put16(2, 27), want: Malformed},
		{name: "UDP header only", raw: udpTrain, cut: 38, change: put16(2, 28), want: Malformed},
		{name: "single, sum from outside", raw: tcpTrain[:500], change: func(p []byte) { p[1] = 0; native(6, 490)(p) }, want: Malformed},
		{name: "single, sum to the very end", raw: tcpTrain[:500], change: func(p []byte) { p[1] = 0; native(6, 472)(p) }, want: Single},
		{name: "single, sum to half outside", raw: tcpTrain[:500], change: func(p []byte) { p[1] = 0; native(6, 473)(p) }, want: Malformed},
		{name: "single, far outside", raw: tcpTrain[:500], change: func(p []byte) { p[1] = 0; native(6, 0xffff)(p); native(8, 0xffff)(p) }, want: Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := bytes.Clone(tt.raw)
			if tt.cut != 0 {
				raw = raw[:tt.cut]
			}
			if tt.change != nil {
				tt.change(raw)
			}
			tr := NewTrain()
			got := feed(tr, new(pktbuf.Buf), raw)
			if got != tt.want {
				t.Fatalf("%d, want %d", got, tt.want)
			}
			if got != Several && tr.Left() != 0 {
				t.Fatalf("%d packets are left", tr.Left())
			}
			if got == Several {
				want, ok := slowCut(raw)
				if ps := all(t, tr); !ok || !equal(ps, want) {
					t.Errorf("not as the model cuts it (%t)", ok)
				}
			}
		})
	}
}

func withPayload(k packet, n int) packet {
	k.payload = octets(n, 5)
	return k
}

// TestReadEndsTrain: a train that was not read to its end does not go on behind the next packet.
func TestReadEndsTrain(t *testing.T) {
	tr, b := NewTrain(), new(pktbuf.Buf)
	if feed(tr, b, trainOf(withPayload(udpRun(1, 0)[0], 3000), 1000)) != Several || !tr.Next(b) || tr.Left() != 2 {
		t.Fatal("no train")
	}
	_, far := link(t)
	if _, errno := tr.Read(Queue{far, both}, b); errno != unix.EAGAIN || tr.Left() != 0 || tr.Next(b) {
		t.Errorf("%v, %d are left", errno, tr.Left())
	}
}

func FuzzTrain(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{})
	f.Add(make([]byte, 10))
	f.Add(trainOf(withPayload(tcpRun(1, 0)[0], 300), 100))
	f.Add(trainOf(withPayload(udpRun(1, 0)[0], 300), 100))
	k := withPayload(tcpRun(1, 0)[0], 50)
	k.ipOptions = make([]byte, 40)
	f.Add(trainOf(k, 1))
	single := trainOf(k, 0)
	single[1] = 0
	f.Add(single)
	tr := NewTrain()
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 10+65535 {
			return
		}
		var b pktbuf.Buf
		before := bytes.Clone(raw)
		got := feed(tr, &b, raw)
		want, ok := slowCut(before)
		switch got {
		case Single:
			if !ok || len(want) != 1 || !bytes.Equal(b.Bytes(), want[0]) {
				t.Errorf("%x is not as the model has it", b.Bytes())
			}
		case Several:
			if ps := all(t, tr); !ok || !equal(ps, want) {
				t.Errorf("%d packets, not as the model cuts them", len(ps))
			}
		case Oversize:
			if ok && len(want[0]) <= near {
				t.Errorf("the model has packets of %d octets", len(want[0]))
			}
		default:
			if ok {
				t.Errorf("the model has %d packets", len(want))
			}
		}
	})
}

func TestTrainDoesNotAllocate(t *testing.T) {
	near, far := link(t)
	tr, b := NewTrain(), new(pktbuf.Buf)
	many := trainOf(withPayload(tcpRun(1, 0)[0], 60000), 1348)
	one := append(make([]byte, HeaderLen), udpRun(1, 1000)[0].bytes()...)
	if n := testing.AllocsPerRun(100, func() {
		for _, raw := range [][]byte{many, one} {
			if errno := write(near, raw); errno != 0 {
				t.Fatal(errno)
			}
			if _, errno := tr.Read(Queue{far, both}, b); errno != 0 {
				t.Fatal(errno)
			}
			for tr.Next(b) {
				continue
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
