package capture_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"concentrator/internal/dataplane/capture"
	"concentrator/internal/dataplane/capture/capturetest"
	"concentrator/internal/dataplane/checksum"
)

// drain reads all there is, by chunks of that capacity.
func drain(tap *capture.Tap, capacity int) (all []byte) {
	for {
		b := tap.Read(make([]byte, 0, capacity))
		if len(b) == 0 {
			return all
		}
		all = append(all, b...)
	}
}

func numbered(n, size int) []byte {
	p := bytes.Repeat([]byte{byte(n)}, size)
	if size >= 4 {
		binary.BigEndian.PutUint32(p, uint32(n))
	}
	return p
}

// TestFileHeader has the octets of draft-ietf-opsawg-pcap section 4.
func TestFileHeader(t *testing.T) {
	want := "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x65\x00\x00\x00"
	if got := capture.AppendFileHeader(nil, capture.MaxSnap); string(got) != want || len(got) != capture.FileHeaderLen {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestPut(t *testing.T) {
	tap := capture.New(capture.Limits{Snap: 100})
	before := time.Now().Truncate(time.Microsecond)
	tap.Put(numbered(1, 60))
	tap.Put(numbered(2, 100))
	tap.Put(numbered(3, 1400))
	tap.Put(nil)
	got := capturetest.Records(t, drain(tap, 200)) // one or two at a time
	want := []capturetest.Packet{
		{Size: 60, Data: numbered(1, 60)}, {Size: 100, Data: numbered(2, 100)}, {Size: 1400, Data: numbered(3, 1400)[:100]}, {},
	}
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i, p := range got {
		if p.Size != want[i].Size || !bytes.Equal(p.Data, want[i].Data) {
			t.Errorf("packet %d: %d octets, % x", i, p.Size, p.Data)
		}
		if p.Time.Before(before) || time.Since(p.Time) > time.Minute {
			t.Errorf("packet %d came at %v", i, p.Time)
		}
		before = p.Time
	}
	if tap.Packets() != 4 || tap.Missed() != 0 || tap.Done() {
		t.Errorf("%d packets, missed %d, done %v", tap.Packets(), tap.Missed(), tap.Done())
	}
	tap.End()
	tap.Put(numbered(4, 60))
	if b := drain(tap, 200); len(b) != 0 || !tap.Done() {
		t.Errorf("% x after the end", b)
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limits  capture.Limits
		packets int64
		atOnce  bool // done with the last packet, not with one more
	}{
		{"none", capture.Limits{}, 50, false},
		{"packets", capture.Limits{Packets: 7}, 7, true},
		{"octets, to the last", capture.Limits{Octets: 300}, 3, true},
		{"octets, not quite", capture.Limits{Octets: 399}, 3, false},
		{"octets, fewer than a packet", capture.Limits{Octets: 99}, 0, false},
		{"what is cut off does not count", capture.Limits{Snap: 20, Octets: 100}, 5, true},
		{"the first counts", capture.Limits{Packets: 4, Octets: 10000}, 4, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tap := capture.New(tt.limits)
			for n := range tt.packets {
				if tap.Done() {
					t.Fatalf("done before packet %d", n)
				}
				tap.Put(numbered(int(n), 100))
			}
			if tap.Done() != tt.atOnce {
				t.Errorf("done after %d packets: %v", tt.packets, tap.Done())
			}
			if tt.name == "none" {
				return
			}
			tap.Put(numbered(99, 100))
			tap.Put(numbered(100, 1))
			if got := capturetest.Records(t, drain(tap, 1<<16)); int64(len(got)) != tt.packets || !tap.Done() {
				t.Errorf("%d packets, done %v", len(got), tap.Done())
			}
			if tap.Missed() != 0 {
				t.Errorf("%d missed", tap.Missed())
			}
		})
	}
}

// TestFull: a reader that stalls costs packets, which are counted, and those before and after are whole. The ring goes around
// many times, at every alignment.
func TestFull(t *testing.T) {
	tap := capture.New(capture.Limits{})
	r := rand.New(rand.NewPCG(1, 2))
	put, got := 0, 0
	last := -1
	for range 10 {
		for range 8000 {
			tap.Put(numbered(put, 4+r.IntN(1500)))
			put++
		}
		for _, p := range capturetest.Records(t, drain(tap, 128<<10)) {
			n := int(binary.BigEndian.Uint32(p.Data))
			if n <= last || !bytes.Equal(p.Data, numbered(n, len(p.Data))) {
				t.Fatalf("after packet %d came % x", last, p.Data)
			}
			last = n
			got++
		}
	}
	if missed := int(tap.Missed()); missed+got != put || got == put {
		t.Errorf("%d put, %d read, %d missed", put, got, missed)
	}
	missed := tap.Missed()
	for n := range 2000 { // 4 MiB hold that
		tap.Put(numbered(n, 1400))
	}
	if tap.Missed() != missed {
		t.Errorf("%d missed though there is room", tap.Missed()-missed)
	}
}

// TestManyShards: several put at the same time, one reads.
func TestManyShards(t *testing.T) {
	const shards, each = 4, 5000
	tap := capture.New(capture.Limits{})
	var wg sync.WaitGroup
	for shard := range shards {
		wg.Go(func() {
			for n := range each {
				p := numbered(n, 100)
				p[4] = byte(shard)
				tap.Put(p)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); tap.End(); close(ended) }()
	var all []byte
	for done := false; !done; {
		done = tap.Done() // before the last look
		all = append(all, drain(tap, 64<<10)...)
	}
	<-ended
	next := [shards]int{}
	packets := capturetest.Records(t, all)
	for _, p := range packets {
		shard, n := p.Data[4], int(binary.BigEndian.Uint32(p.Data))
		if n < next[shard] || len(p.Data) != 100 {
			t.Fatalf("packet %d of shard %d after %d", n, shard, next[shard])
		}
		next[shard] = n + 1
	}
	if len(packets)+int(tap.Missed()) != shards*each || len(packets) == 0 {
		t.Errorf("%d read, %d missed, want %d", len(packets), tap.Missed(), shards*each)
	}
}

func TestHeaders(t *testing.T) {
	payload := numbered(7, 33)
	for _, tt := range []struct {
		name string
		h    capture.Headers
		want string // but for the checksum
	}{
		{
			"GRE",
			capture.Headers{From: [4]byte{198, 51, 100, 1}, To: [4]byte{203, 0, 113, 9}, TOS: 0xb8, Protocol: 47},
			"\x45\xb8\x00\x35\x00\x00\x00\x00\x40\x2f\x00\x00\xc6\x33\x64\x01\xcb\x00\x71\x09",
		},
		{
			"UDP",
			capture.Headers{From: [4]byte{203, 0, 113, 9}, To: [4]byte{198, 51, 100, 1}, FromPort: 61234, ToPort: 4500, Protocol: 17},
			"\x45\x00\x00\x3d\x00\x00\x00\x00\x40\x11\x00\x00\xcb\x00\x71\x09\xc6\x33\x64\x01\xef\x32\x11\x94\x00\x29\x00\x00",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tap := capture.New(capture.Limits{})
			tap.PutBehind(&tt.h, payload)
			got := capturetest.Records(t, drain(tap, 1<<16))
			if len(got) != 1 {
				t.Fatalf("%d packets", len(got))
			}
			p := got[0].Data
			if checksum.Of(p[:20]) != 0 {
				t.Errorf("checksum %x is wrong", p[10:12])
			}
			p[10], p[11] = 0, 0
			if want := tt.want + string(payload); string(p) != want {
				t.Errorf("% x, want % x", p, want)
			}
		})
	}
	// A snap that ends in the headers.
	tap := capture.New(capture.Limits{Snap: 21})
	tap.PutBehind(&capture.Headers{Protocol: 17}, payload)
	if got := capturetest.Records(t, drain(tap, 1<<16)); len(got[0].Data) != 21 || got[0].Size != 28+33 {
		t.Errorf("%d of %d octets", len(got[0].Data), got[0].Size)
	}
}

func TestPutDoesNotAllocate(t *testing.T) {
	tap := capture.New(capture.Limits{})
	taps := capture.Taps{tap, capture.New(capture.Limits{Snap: 64})}
	p, b := numbered(1, 1400), make([]byte, 0, 64<<10)
	h := capture.Headers{Protocol: 17}
	if n := testing.AllocsPerRun(1000, func() {
		taps.Put(p)
		taps.PutBehind(&h, p)
		tap.Read(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(taps.Without(tap)) != 1 {
		t.Error("a tap can't be taken out")
	}
}

// BenchmarkPut is what a packet costs while it is captured.
func BenchmarkPut(b *testing.B) {
	tap := capture.New(capture.Limits{})
	p, room := numbered(1, 1400), make([]byte, 0, 128<<10)
	h := capture.Headers{Protocol: 17}
	b.SetBytes(1400)
	for n := 0; b.Loop(); n++ {
		tap.PutBehind(&h, p)
		if n%64 == 0 {
			tap.Read(room)
		}
	}
}

// TestLimitOfManyShards: not one packet more, whoever puts it.
func TestLimitOfManyShards(t *testing.T) {
	for range 50 {
		tap := capture.New(capture.Limits{Packets: 100})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n := 0; !tap.Done(); n++ {
					tap.Put(numbered(n, 100))
				}
			})
		}
		wg.Wait()
		if got := len(capturetest.Records(t, drain(tap, 1<<20))); got != 100 {
			t.Fatalf("%d packets", got)
		}
	}
}
