package tun

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
)

// written adds packets, flushes, and returns what came out of the queue, cut again by the model, write by write.
func written(t testing.TB, c *Coalescer, fd, far int, o Offloads, ps [][]byte) [][][]byte {
	t.Helper()
	bufs := make([]*pktbuf.Buf, len(ps))
	for i, p := range ps {
		bufs[i] = bufOf(t, p)
		if at := c.Add(Queue{fd, o}, bufs[i]); at != i {
			t.Fatalf("packet %d has index %d", i, at)
		}
	}
	if c.Len() != len(ps) {
		t.Fatalf("%d packets wait, want %d", c.Len(), len(ps))
	}
	c.Flush()
	if c.Len() != 0 {
		t.Fatalf("%d packets wait after the flush", c.Len())
	}
	for i, b := range bufs {
		if errno := c.Errno(i); errno != 0 {
			t.Fatalf("packet %d: %v", i, errno)
		}
		if b.Len() != len(ps[i]) {
			t.Fatalf("packet %d came back with %d octets of %d", i, b.Len(), len(ps[i]))
		}
	}
	var writes [][][]byte
	for _, raw := range drain(t, far) {
		cut, ok := slowCut(raw)
		if !ok {
			t.Fatalf("written, but can't be cut: %x", raw[:min(len(raw), 100)])
		}
		if len(cut) > 1 && int(binary.NativeEndian.Uint16(raw[2:])) != headOf(raw[10:]) {
			t.Fatalf("hdr_len is %d", binary.NativeEndian.Uint16(raw[2:]))
		}
		// What the kernel takes on trust: the IP checksum and the sum of the pseudo header.
		if p := raw[10:]; len(cut) > 1 {
			field := 26
			if p[9] == unix.IPPROTO_TCP {
				field = 36
			}
			if slowSum(p[:20]) != 0xffff || binary.BigEndian.Uint16(p[field:]) != slowSum(slowPseudo(p, len(p)-20)) {
				t.Fatalf("a train with wrong sums: %x", p[:40])
			}
			if p[9] == unix.IPPROTO_UDP && int(binary.BigEndian.Uint16(p[24:])) != len(p)-20 {
				t.Fatalf("a train with a wrong UDP length: %x", p[:40])
			}
		}
		writes = append(writes, cut)
	}
	return writes
}

func sizes(writes [][][]byte) []int {
	var ns []int
	for _, w := range writes {
		ns = append(ns, len(w))
	}
	return ns
}

// change returns ks with number i changed.
func change(ks []packet, i int, f func(k *packet)) []packet {
	ks = slices.Clone(ks)
	f(&ks[i])
	return ks
}

// TestWhatIsJoined: three packets in sequence, of which the one in the middle differs.
func TestWhatIsJoined(t *testing.T) {
	tcpKs, udpKs := tcpRun(3, 1000), udpRun(3, 1000)
	noDF := slices.Clone(tcpKs)
	for i := range noDF {
		noDF[i].fragment = 0
	}
	for _, tt := range []struct {
		name   string
		ks     []packet
		change func(k *packet)
		spoil  func(p []byte) // after checksums were made
		want   []int
	}{
		{name: "TCP", ks: tcpKs, want: []int{3}},
		{name: "UDP", ks: udpKs, want: []int{3}},
		{name: "TCP without DF", ks: noDF, want: []int{3}},
		{name: "PSH ends", ks: tcpKs, change: func(k *packet) { k.flags |= tcpPSH }, want: []int{2, 1}},
		{name: "shorter ends", ks: tcpKs, change: func(k *packet) { k.payload = k.payload[:999] }, want: []int{2, 1}},
		{name: "longer", ks: tcpKs, change: func(k *packet) { k.payload = octets(1001, 1) }, want: []int{1, 1, 1}},
		{name: "shorter UDP ends", ks: udpKs, change: func(k *packet) { k.payload = k.payload[:1] }, want: []int{2, 1}},
		{name: "longer UDP", ks: udpKs, change: func(k *packet) { k.payload = octets(1001, 1) }, want: []int{1, 2}},
		{name: "empty UDP", ks: udpKs, change: func(k *packet) { k.payload = nil }, want: []int{1, 1, 1}},
		{name: "a gap", ks: tcpKs, change: func(k *packet) { k.seq++ }, want: []int{1, 1, 1}},
		{name: "FIN", ks: tcpKs, change: func(k *packet) { k.flags |= tcpFIN }, want: []int{1, 1, 1}},
		{name: "SYN", ks: tcpKs, change: func(k *packet) { k.flags |= 2 }, want: []int{1, 1, 1}},
		{name: "RST", ks: tcpKs, change: func(k *packet) { k.flags |= 4 }, want: []int{1, 1, 1}},
		{name: "URG", ks: tcpKs, change: func(k *packet) { k.flags |= 0x20 }, want: []int{1, 1, 1}},
		{name: "ECE", ks: tcpKs, change: func(k *packet) { k.flags |= 0x40 }, want: []int{1, 1, 1}},
		{name: "CWR", ks: tcpKs, change: func(k *packet) { k.flags |= tcpCWR }, want: []int{1, 1, 1}},
		{name: "no ACK", ks: tcpKs, change: func(k *packet) { k.flags = 0 }, want: []int{1, 1, 1}},
		{name: "reserved bit", ks: tcpKs, spoil: func(p []byte) { p[32] |= 1; finish(p) }, want: []int{1, 1, 1}},
		{name: "pure ACK", ks: tcpKs, change: func(k *packet) { k.payload = nil }, want: []int{1, 1, 1}},
		{name: "another acknowledgement", ks: tcpKs, change: func(k *packet) { k.ack++ }, want: []int{1, 1, 1}},
		{name: "another window", ks: tcpKs, change: func(k *packet) { k.window++ }, want: []int{1, 1, 1}},
		{name: "another urgent pointer", ks: tcpKs, change: func(k *packet) { k.urgent++ }, want: []int{1, 1, 1}},
		{name: "another timestamp", ks: tcpKs, change: func(k *packet) { k.options = append(slices.Clone(timestamps[:11]), 5) }, want: []int{1, 1, 1}},
		{name: "no options", ks: tcpKs, change: func(k *packet) { k.options = nil }, want: []int{1, 1, 1}},
		{name: "another TOS", ks: tcpKs, change: func(k *packet) { k.tos = 3 }, want: []int{1, 1, 1}},
		{name: "another TTL", ks: udpKs, change: func(k *packet) { k.ttl-- }, want: []int{1, 1, 1}},
		{name: "without DF", ks: tcpKs, change: func(k *packet) { k.fragment = 0 }, want: []int{1, 1, 1}},
		{name: "ID stands still, DF", ks: tcpKs, change: func(k *packet) { k.id-- }, want: []int{3}},
		{name: "ID jumps, DF", ks: tcpKs, change: func(k *packet) { k.id += 1000 }, want: []int{3}},
		{name: "ID stands still", ks: noDF, change: func(k *packet) { k.id-- }, want: []int{1, 1, 1}},
		{name: "ID jumps", ks: udpKs, change: func(k *packet) { k.id += 1000 }, want: []int{1, 1, 1}},
		{name: "IP options", ks: tcpKs, change: func(k *packet) { k.ipOptions = []byte{1, 1, 1, 0} }, want: []int{1, 1, 1}},
		{name: "first fragment", ks: udpKs, change: func(k *packet) { k.fragment = 0x2000 }, want: []int{1, 1, 1}},
		{name: "last fragment", ks: udpKs, change: func(k *packet) { k.fragment = 100 }, want: []int{1, 1, 1}},
		{name: "evil bit", ks: udpKs, change: func(k *packet) { k.fragment = 0x8000 }, want: []int{1, 1, 1}},
		{name: "another flow", ks: udpKs, change: func(k *packet) { k.dport++ }, want: []int{1, 1, 1}}, // it leaves a gap
		{name: "UDP among TCP", ks: tcpKs, change: func(k *packet) { k.protocol = unix.IPPROTO_UDP }, want: []int{1, 1, 1}},
		{name: "no UDP checksum", ks: udpKs, spoil: func(p []byte) { p[26], p[27] = 0, 0 }, want: []int{1, 1, 1}},
		{name: "wrong TCP checksum", ks: tcpKs, spoil: func(p []byte) { p[36]++ }, want: []int{1, 1, 1}},
		{name: "wrong UDP checksum", ks: udpKs, spoil: func(p []byte) { p[27]++ }, want: []int{1, 1, 1}},
		{name: "flipped bit in the payload", ks: tcpKs, spoil: func(p []byte) { p[len(p)-1] ^= 1 }, want: []int{1, 1, 1}},
		{name: "wrong IP checksum", ks: tcpKs, spoil: func(p []byte) { p[10]++ }, want: []int{1, 1, 1}},
		{name: "wrong UDP length", ks: udpKs, spoil: func(p []byte) { p[25]-- }, want: []int{1, 1, 1}},
		{name: "wrong IP length", ks: udpKs, spoil: func(p []byte) { p[3]-- }, want: []int{1, 1, 1}},
		{name: "no room for the ports", ks: udpKs, spoil: func(p []byte) { p[0] = 0x4f }, want: []int{1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := link(t)
			ks := tt.ks
			if tt.change != nil {
				ks = change(ks, 1, tt.change)
			}
			ps := build(ks)
			if tt.spoil != nil {
				tt.spoil(ps[1])
			}
			got := written(t, NewCoalescer(), near, far, both, ps)
			if !slices.Equal(sizes(got), tt.want) {
				t.Errorf("written as %v, want %v", sizes(got), tt.want)
			}
			if !equal(slices.Concat(got...), ps) {
				t.Errorf("not what went in: %x", got)
			}
		})
	}
}

// TestFirstIsWrong: a first packet that is spoilt is not repaired by the second one's coming.
func TestFirstIsWrong(t *testing.T) {
	near, far := link(t)
	ps := build(tcpRun(4, 1000))
	ps[0][100] ^= 1
	got := written(t, NewCoalescer(), near, far, both, ps)
	if !slices.Equal(sizes(got), []int{1, 3}) || !bytes.Equal(got[0][0], ps[0]) {
		t.Errorf("written as %v", sizes(got))
	}
}

func shorter(n int) func(k *packet) { return func(k *packet) { k.payload = k.payload[:n] } }

// TestNeverJoined: packets that would follow each other, but are all of a kind that is not joined.
func TestNeverJoined(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ks     []packet
		change func(k *packet)
		spoil  func(p []byte)
	}{
		{name: "pure ACKs", ks: tcpRun(3, 0)},
		{name: "empty UDP", ks: udpRun(3, 0)},
		{name: "URG", ks: tcpRun(3, 9), change: func(k *packet) { k.flags |= 0x20 }},
		{name: "ECE", ks: tcpRun(3, 9), change: func(k *packet) { k.flags |= 0x40 }},
		{name: "CWR", ks: tcpRun(3, 9), change: func(k *packet) { k.flags |= tcpCWR }},
		{name: "SYN", ks: tcpRun(3, 9), change: func(k *packet) { k.flags |= 2 }},
		{name: "no ACK", ks: tcpRun(3, 9), change: func(k *packet) { k.flags = tcpPSH }},
		{name: "PSH", ks: tcpRun(3, 9), change: func(k *packet) { k.flags |= tcpPSH }},
		{name: "AE", ks: tcpRun(3, 9), spoil: func(p []byte) { p[32] |= 1; finish(p) }},
		{name: "IP options", ks: tcpRun(3, 9), change: func(k *packet) { k.ipOptions = []byte{1, 1, 1, 0} }},
		{name: "fragments", ks: udpRun(3, 9), change: func(k *packet) { k.fragment = 0x2000 }},
		{name: "no UDP checksum", ks: udpRun(3, 9), spoil: func(p []byte) { p[26], p[27] = 0, 0 }},
		{name: "no UDP checksum, and it would be right", ks: udpRun(3, 9), spoil: func(p []byte) {
			clear(p[26:30])
			binary.BigEndian.PutUint16(p[28:], ^slowSum(slowPseudo(p, len(p)-20), p[20:]))
		}},
		{name: "UDP length too small", ks: udpRun(3, 9), spoil: func(p []byte) {
			p[25]--
			binary.BigEndian.PutUint16(p[26:], 0)
			binary.BigEndian.PutUint16(p[26:], ^slowSum(slowPseudo(p, len(p)-20), p[20:]))
		}},
		{name: "IP length too small", ks: tcpRun(3, 9), spoil: func(p []byte) { p[3]--; p[11]++ }},
		{name: "wrong checksums", ks: tcpRun(3, 9), spoil: func(p []byte) { p[len(p)-1]++ }},
		{name: "GRE", ks: tcpRun(3, 9), change: func(k *packet) { k.protocol = unix.IPPROTO_GRE }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := link(t)
			var ps [][]byte
			for _, k := range tt.ks {
				if tt.change != nil {
					tt.change(&k)
				}
				p := k.bytes()
				if tt.spoil != nil {
					tt.spoil(p)
				}
				ps = append(ps, p)
			}
			got := written(t, NewCoalescer(), near, far, both, ps)
			if len(got) != len(ps) || !slices.EqualFunc(slices.Concat(got...), ps, bytes.Equal) {
				t.Errorf("written as %v: %x", sizes(got), got)
			}
		})
	}
}

// TestFragmentsOfOthers: a fragment ends the trains between its addresses, of its queue and protocol, and no others.
func TestFragmentsOfOthers(t *testing.T) {
	near, far := link(t)
	other, _ := link(t)
	run := tcpRun(2, 100)
	for name, tt := range map[string]struct {
		change func(k *packet)
		fd     int
		joined bool
	}{
		"of this":         {func(*packet) {}, near, false},
		"other ports":     {func(k *packet) { k.sport++ }, near, false},
		"other source":    {func(k *packet) { k.src[3]++ }, near, true},
		"other way":       {func(k *packet) { k.src, k.dst = k.dst, k.src }, near, true},
		"other protocol":  {func(k *packet) { k.protocol = unix.IPPROTO_UDP }, near, true},
		"without ports":   {func(k *packet) { k.protocol = unix.IPPROTO_ICMP }, near, true},
		"of other device": {func(*packet) {}, other, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := run[0]
			k.fragment = 0x2000
			tt.change(&k)
			c := NewCoalescer()
			c.Add(Queue{near, both}, bufOf(t, run[0].bytes()))
			c.Add(Queue{tt.fd, both}, bufOf(t, k.bytes()))
			c.Add(Queue{near, both}, bufOf(t, run[1].bytes()))
			if joined := c.made == 2; joined != tt.joined {
				t.Errorf("joined: %t, want %t", joined, tt.joined)
			}
			c.Flush()
			drain(t, far)
		})
	}
}

// TestTrainLengths: how long trains get.
func TestTrainLengths(t *testing.T) {
	for _, tt := range []struct {
		name string
		ks   []packet
		o    Offloads
		want []int
	}{
		{"TCP of 1348", tcpRun(60, 1348), both, []int{48, 12}}, // 65535-52 / 1348
		{"TCP of 1", tcpRun(MaxPackets, 1), both, []int{MaxPackets}},
		{"UDP of 100", udpRun(MaxPackets, 100), both, []int{64, 64}},
		{"UDP of 1372", udpRun(60, 1372), both, []int{47, 13}},
		{"TCP of 65535 in all", change(tcpRun(49, 1348), 48, shorter(779)), both, []int{49}},
		{"TCP of 65536 in all", change(tcpRun(49, 1348), 48, shorter(780)), both, []int{48, 1}},
		{"no TSO", tcpRun(5, 100), Offloads{USO: true}, []int{1, 1, 1, 1, 1}},
		{"no USO", udpRun(5, 100), Offloads{TSO: true}, []int{1, 1, 1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := link(t)
			ps := build(tt.ks)
			got := written(t, NewCoalescer(), near, far, tt.o, ps)
			if !slices.Equal(sizes(got), tt.want) {
				t.Errorf("written as %v, want %v", sizes(got), tt.want)
			}
			if !equal(slices.Concat(got...), ps) {
				t.Error("not what went in")
			}
		})
	}
}

// randomBatch is packets of some flows, mostly in sequence, with all that can come between.
func randomBatch(r *rand.Rand, n int) [][]byte {
	type state struct {
		k    packet
		size int
	}
	flows := make([]state, 1+r.IntN(5))
	for i := range flows {
		k := packet{
			src: hostA, dst: hostB, protocol: unix.IPPROTO_TCP, sport: uint16(1 + r.IntN(3)), dport: 80, ttl: 64, id: uint16(r.Uint32()),
			seq: r.Uint32(), ack: 9, flags: tcpACK, window: 100, options: timestamps,
		}
		if r.IntN(2) == 0 {
			k.protocol = unix.IPPROTO_UDP
		}
		if r.IntN(2) == 0 {
			k.fragment = ipDontFragment
		}
		if r.IntN(3) == 0 {
			k.options = nil
		}
		flows[i] = state{k, 1 + r.IntN(500)}
	}
	var ps [][]byte
	for range n {
		f := &flows[r.IntN(len(flows))]
		k := f.k
		k.payload = octets(f.size, r.Uint64())
		odd := r.IntN(60)
		switch odd {
		case 0:
			k.payload = k.payload[:r.IntN(len(k.payload)+1)]
		case 1:
			k.payload = octets(f.size+1, 1)
		case 2:
			k.flags |= byte(1 << r.IntN(8))
		case 3:
			k.tos++
		case 4:
			k.id++
		case 5:
			k.ack++
		case 6:
			k.fragment ^= uint16(1 << r.IntN(16))
		case 7:
			k.ipOptions = []byte{1, 1, 1, 1}
		case 8:
			k.protocol = byte(r.IntN(20))
		case 9:
			k.seq += uint32(r.IntN(3))
		case 10:
			k.flags |= tcpPSH
		}
		p := k.bytes()
		switch odd {
		case 11:
			p[r.IntN(len(p))] ^= byte(1 << r.IntN(8))
		case 12:
			p = p[:r.IntN(len(p))]
		case 13:
			if len(k.payload) >= 12 { // its first octets as TCP options, or the header cut off
				p = finish(append(p[:20+8], k.payload...))
			}
		case 14:
			p[26], p[27] = 0, 0
		}
		ps = append(ps, p)
		f.k.seq += uint32(len(k.payload))
		f.k.id++
	}
	return ps
}

// TestAgainstModel: written is exactly what the model says, in the same order, and everything that went in comes out.
func TestAgainstModel(t *testing.T) {
	near, far := link(t)
	r, c := rand.New(rand.NewPCG(11, 12)), NewCoalescer()
	joined := 0
	for round := range 300 {
		ps := randomBatch(r, 1+r.IntN(MaxPackets))
		o := Offloads{TSO: r.IntN(8) != 0, USO: r.IntN(8) != 0}
		want := slowMerge(ps, near, o)
		got := written(t, c, near, far, o, ps)
		if !slices.Equal(sizes(got), sizes(want)) {
			t.Fatalf("round %d: written as %v, the model says %v", round, sizes(got), sizes(want))
		}
		for i := range got {
			if !equal(got[i], want[i]) {
				t.Fatalf("round %d: write %d is\n%x\nwant\n%x", round, i, got[i], want[i])
			}
			joined += len(got[i]) - 1
		}
	}
	if joined < 3000 {
		t.Errorf("only %d packets were joined: the test tests little", joined)
	}
}

// TestThroughTrain: what Coalescer writes Train cuts, for flows side by side in several queues.
func TestThroughTrain(t *testing.T) {
	c, tr := NewCoalescer(), NewTrain()
	type end struct{ near, far int }
	var ends []end
	for range 3 {
		near, far := link(t)
		ends = append(ends, end{near, far})
	}
	flows := [][]packet{tcpRun(20, 1000), udpRun(20, 900)}
	want := map[int][][][]byte{}
	for i := range 20 {
		for q, e := range ends {
			want[q] = append(want[q], nil, nil)
			for f, ks := range flows {
				k := ks[i]
				k.payload = octets(len(k.payload), uint64(100*q+i))
				p := k.bytes()
				want[q][f] = append(want[q][f], p)
				c.Add(Queue{e.near, both}, bufOf(t, p))
			}
		}
	}
	c.Flush()
	for q, e := range ends {
		for f := range flows {
			var b pktbuf.Buf
			if got, errno := tr.Read(Queue{e.far, both}, &b); got != Several || errno != 0 {
				t.Fatalf("queue %d, flow %d: %d, %v", q, f, got, errno)
			}
			if !equal(all(t, tr), want[q][f]) {
				t.Errorf("queue %d, flow %d: not what went in", q, f)
			}
		}
		if _, errno := tr.Read(Queue{e.far, both}, new(pktbuf.Buf)); errno != unix.EAGAIN {
			t.Errorf("queue %d has more: %v", q, errno)
		}
	}
}

// TestFull: the end of the room, and that the next batch is a new one.
func TestFull(t *testing.T) {
	near, far := link(t)
	c := NewCoalescer()
	if c.Full() || c.Len() != 0 {
		t.Error("a new one is not empty")
	}
	k := udpRun(1, 10)[0]
	for i := range MaxPackets {
		k.sport = uint16(i)
		if c.Full() || c.Add(Queue{near, both}, bufOf(t, k.bytes())) != i {
			t.Fatalf("packet %d is not taken", i)
		}
	}
	if !c.Full() || c.Add(Queue{near, both}, bufOf(t, k.bytes())) != -1 || c.Errno(-1) != unix.ENOBUFS || c.Errno(MaxPackets) != unix.ENOBUFS {
		t.Error("one more is taken")
	}
	c.Flush()
	if n := len(drain(t, far)); n != MaxPackets {
		t.Errorf("%d packets", n)
	}
	c.Flush()
	if n := len(drain(t, far)); n != 0 {
		t.Errorf("%d packets of an empty Coalescer", n)
	}
	c.Add(Queue{near, both}, bufOf(t, k.bytes()))
	c.Reset()
	c.Flush()
	if n := len(drain(t, far)); n != 0 || c.Len() != 0 {
		t.Errorf("%d packets after Reset", n)
	}
	// What was in the batch before is not followed.
	ps := build(udpRun(2, 10))
	for _, p := range ps {
		if got := written(t, c, near, far, both, [][]byte{p}); !equal(slices.Concat(got...), [][]byte{p}) {
			t.Errorf("%x", got)
		}
	}
}

// TestEpochWraps: places of the table that are 2^32 flushes old must not be taken for new ones.
func TestEpochWraps(t *testing.T) {
	near, far := link(t)
	c := NewCoalescer()
	ps := build(udpRun(2, 10))
	written(t, c, near, far, both, ps) // in epoch 1
	c.epoch = 1<<32 - 1
	c.Reset()
	if c.epoch != 1 {
		t.Fatalf("epoch %d", c.epoch)
	}
	for i := range c.table {
		if c.table[i].epoch != 0 {
			t.Fatalf("place %d is in use", i)
		}
	}
	if got := written(t, c, near, far, both, ps); !slices.Equal(sizes(got), []int{2}) {
		t.Errorf("written as %v", sizes(got))
	}
}

// TestCollisions: flows that meet in the table are still apart.
func TestCollisions(t *testing.T) {
	near, far := link(t)
	c := NewCoalescer()
	c.seeds = [2]uint64{} // and zero addresses: every hash is 0
	var ps [][]byte
	for i := range MaxPackets {
		k := udpRun(2, 10)[i/(MaxPackets/2)]
		k.src, k.dst, k.sport = [4]byte{}, [4]byte{}, uint16(i%(MaxPackets/2))
		ps = append(ps, k.bytes())
	}
	got := written(t, c, near, far, both, ps)
	if len(got) != MaxPackets/2 {
		t.Fatalf("%d writes", len(got))
	}
	for i, w := range got {
		if !equal(w, [][]byte{ps[i], ps[i+MaxPackets/2]}) {
			t.Errorf("flow %d: %x", i, w)
		}
	}
}

// TestNoHeadroom: a buffer without room for the virtio-net header.
func TestNoHeadroom(t *testing.T) {
	near, far := link(t)
	c := NewCoalescer()
	ps := build(tcpRun(3, 100))
	for _, n := range []int{3, 1} { // nothing of the train's header is left
		for _, p := range ps[:n] {
			b := new(pktbuf.Buf)
			b.Reset()
			b.Prepend(pktbuf.Headroom)
			copy(b.Append(len(p)), p)
			copy(b.Bytes(), p)
			b.Truncate(len(p))
			c.Add(Queue{near, both}, b)
		}
		c.Flush()
		raw := drain(t, far)
		if len(raw) != 1 {
			t.Fatalf("%d writes", len(raw))
		}
		if got, ok := slowCut(raw[0]); !ok || !equal(got, ps[:n]) {
			t.Errorf("%x", got)
		}
		if plain := bytes.Equal(raw[0][:HeaderLen], make([]byte, HeaderLen)); plain != (n == 1) {
			t.Errorf("%d packets have the header %x", n, raw[0][:HeaderLen])
		}
	}
}

// TestErrno: each packet has the error of its own write.
func TestErrno(t *testing.T) {
	near, far := link(t)
	c := NewCoalescer()
	for i, p := range build(append(tcpRun(3, 100), udpRun(3, 100)...)) {
		fd := near
		if i < 3 || i == 5 {
			fd = -1
		}
		c.Add(Queue{fd, both}, bufOf(t, p))
	}
	c.Flush()
	for i, want := range []unix.Errno{unix.EBADF, unix.EBADF, unix.EBADF, 0, 0, unix.EBADF} {
		if got := c.Errno(i); got != want {
			t.Errorf("packet %d: %v, want %v", i, got, want)
		}
	}
	if raw := drain(t, far); len(raw) != 1 {
		t.Errorf("%d writes", len(raw))
	}
}

// pickySocket takes single packets and answers EINVAL to trains: a UDP socket that must cut into so small pieces that a
// train would be too many.
func pickySocket(t *testing.T) (near, far int) {
	t.Helper()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		closeLater(t, fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
	}
	to, err := unix.Getsockname(fds[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fds[0], to); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fds[0], unix.IPPROTO_UDP, unix.UDP_SEGMENT, 24); err != nil {
		t.Skipf("no UDP_SEGMENT: %v", err)
	}
	return fds[0], fds[1]
}

// TestKernelWithoutTrains: packets of a train that is refused go singly, as they were, and no more trains are tried.
func TestKernelWithoutTrains(t *testing.T) {
	for name, ps := range map[string][][]byte{"tcp": build(tcpRun(4, 1300)), "udp": build(udpRun(4, 1300))} {
		t.Run(name, func(t *testing.T) {
			near, far := pickySocket(t)
			c := NewCoalescer()
			for round := range 2 {
				for _, p := range ps {
					c.Add(Queue{near, both}, bufOf(t, p))
				}
				if round == 1 && c.made != len(ps) {
					t.Errorf("%d trains are made when it is known that they are refused", c.made)
				}
				c.Flush()
				var want []byte
				for i, p := range ps {
					if errno := c.Errno(i); errno != 0 {
						t.Errorf("packet %d: %v", i, errno)
					}
					want = append(append(want, make([]byte, HeaderLen)...), p...)
				}
				if got := bytes.Join(drain(t, far), nil); !bytes.Equal(got, want) {
					t.Errorf("round %d: the packets are not as they were", round)
				}
			}
			if want := (Offloads{TSO: name == "tcp", USO: name == "udp"}); c.lacks != want {
				t.Errorf("remembers %+v, want %+v", c.lacks, want)
			}
		})
	}
}

// TestRefusedAltogether: where single packets are refused too it was not the train.
func TestRefusedAltogether(t *testing.T) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) // any write: EINVAL
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	c := NewCoalescer()
	for _, p := range build(tcpRun(3, 100)) {
		c.Add(Queue{fd, both}, bufOf(t, p))
	}
	c.Flush()
	if c.Errno(0) != unix.EINVAL || c.Errno(2) != unix.EINVAL || c.lacks != (Offloads{}) {
		t.Errorf("%v, %v, %+v", c.Errno(0), c.Errno(2), c.lacks)
	}
}

func FuzzCoalescer(f *testing.F) {
	corpus.Add(f)
	pack := func(ps [][]byte) []byte {
		var all []byte
		for _, p := range ps {
			all = append(binary.BigEndian.AppendUint16(all, uint16(len(p))), p...)
		}
		return all
	}
	f.Add([]byte{}, uint8(0))
	f.Add(pack(build(append(tcpRun(4, 30), udpRun(4, 30)...))), uint8(3))
	r := rand.New(rand.NewPCG(13, 14))
	for range 5 {
		f.Add(pack(randomBatch(r, 12)), uint8(r.UintN(4)))
	}
	c := NewCoalescer()
	f.Fuzz(func(t *testing.T, all []byte, offloads uint8) {
		near, far := link(t)
		var ps [][]byte
		for len(all) >= 2 && len(ps) < MaxPackets {
			n := min(int(binary.BigEndian.Uint16(all)), len(all)-2, 1500)
			ps = append(ps, all[2:2+n])
			all = all[2+n:]
		}
		o := Offloads{TSO: offloads&1 != 0, USO: offloads&2 != 0}
		want := slowMerge(ps, near, o)
		got := written(t, c, near, far, o, ps)
		if !slices.Equal(sizes(got), sizes(want)) {
			t.Fatalf("written as %v, the model says %v", sizes(got), sizes(want))
		}
		for i := range got {
			if !equal(got[i], want[i]) {
				t.Fatalf("write %d is %x, want %x", i, got[i], want[i])
			}
		}
	})
}

func TestCoalescerDoesNotAllocate(t *testing.T) {
	near, far := link(t)
	c, tr, b := NewCoalescer(), NewTrain(), new(pktbuf.Buf)
	ps := build(append(append(tcpRun(10, 1000), udpRun(10, 1000)...), change(tcpRun(1, 10), 0, func(k *packet) { k.fragment = 1 })...))
	bufs := make([]*pktbuf.Buf, len(ps))
	for i := range ps {
		bufs[i] = new(pktbuf.Buf)
	}
	if n := testing.AllocsPerRun(100, func() {
		for i, p := range ps {
			bufs[i].SetBytes(p)
			c.Add(Queue{near, both}, bufs[i])
		}
		c.Flush()
		reads := 0
		for {
			if _, errno := tr.Read(Queue{far, both}, b); errno != 0 {
				break
			}
			reads++
		}
		if reads != 3 {
			t.Fatalf("%d writes", reads)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
