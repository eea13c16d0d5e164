package traffic

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int // of the first; 0: an error
	}{
		{"64", 64},
		{"1400", 1400},
		{"52", MinSize},
		{"1500", MaxSize},
		{"imix", 64},
		{"51", 0},
		{"1501", 0},
		{"", 0},
		{"-64", 0},
		{"IMIX", 0},
		{"64k", 0},
	} {
		s, err := ParseSize(tt.in)
		if tt.want == 0 {
			if !errors.Is(err, ErrSize) {
				t.Errorf("%q: %v, %v", tt.in, s, err)
			}
			continue
		}
		if err != nil || s[0] != tt.want {
			t.Errorf("%q: %v, %v", tt.in, s, err)
		}
	}
	count := map[int]int{}
	for _, n := range imix {
		count[n]++
	}
	if len(imix) != 12 || count[64] != 7 || count[576] != 4 || count[1400] != 1 {
		t.Errorf("imix is %v", count)
	}
}

func TestParseDirection(t *testing.T) {
	for _, d := range []Direction{Up, Down, Both, Echo} {
		if got, err := ParseDirection(d.String()); got != d || err != nil {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	if _, err := ParseDirection("sideways"); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// slowSum is RFC 1071 word by word.
func slowSum(parts ...[]byte) uint16 {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	s := uint32(0)
	for ; len(all) > 0; all = all[2:] {
		s += uint32(all[0])<<8 | uint32(all[1])
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// TestFrame: packets of every length have right headers and checksums, by an independent model, and are read as they were
// written.
func TestFrame(t *testing.T) {
	to := netip.MustParseAddrPort("10.99.0.1:5001")
	rng := rand.New(rand.NewPCG(1, 2))
	for size := MinSize; size <= MaxSize; size++ {
		tmpl := newTemplate(size, to)
		src := [4]byte{10, 7, byte(rng.Uint32()), byte(rng.Uint32())}
		s := stamp{rng.Uint32(), rng.Uint32(), rng.Uint64(), rng.Int64()}
		p := make([]byte, size)
		tmpl.put(p, src, sum(src[:]), s)
		if int(binary.BigEndian.Uint16(p[2:])) != size || slowSum(p[:20]) != 0 {
			t.Fatalf("%d octets: IPv4 header % x", size, p[:20])
		}
		pseudo := []byte{0, protoUDP, 0, 0}
		binary.BigEndian.PutUint16(pseudo[2:], uint16(size-20))
		if slowSum(p[12:20], pseudo, p[20:]) != 0 || binary.BigEndian.Uint16(p[26:]) == 0 {
			t.Fatalf("%d octets: UDP checksum is wrong", size)
		}
		got, ok := parseStamp(p[28:], s.run)
		if !ok || got != s {
			t.Fatalf("%d octets: %+v, %v, want %+v", size, got, ok, s)
		}
		if _, ok := parseStamp(p[28:], s.run+1); ok {
			t.Fatal("another run's packet is taken")
		}
		// The way back: addresses and ports are the other way round.
		answer := reversed(p)
		data, ok := payload(answer, to)
		if !ok || len(data) != size-28 || &data[0] != &answer[28] {
			t.Fatalf("%d octets: not read back", size)
		}
	}
}

// reversed is packet p with its ends exchanged.
func reversed(p []byte) []byte {
	a := append([]byte(nil), p...)
	turn(a)
	return a
}

// turn exchanges the ends of packet p.
func turn(p []byte) {
	src, ports := [4]byte(p[12:]), [2]byte(p[20:])
	copy(p[12:], p[16:20])
	copy(p[16:], src[:])
	copy(p[20:], p[22:24])
	copy(p[22:], ports[:])
}

func TestPayloadRefuses(t *testing.T) {
	to := netip.MustParseAddrPort("10.99.0.1:5001")
	p := make([]byte, 100)
	newTemplate(100, to).put(p, [4]byte{10, 7, 0, 1}, sum([]byte{10, 7, 0, 1}), stamp{})
	good := reversed(p)
	if _, ok := payload(append(good, 0, 0), to); !ok {
		t.Error("padding behind the packet is not allowed")
	}
	for name, change := range map[string]func(p []byte) []byte{
		"short":         func(p []byte) []byte { return p[:27] },
		"cut":           func(p []byte) []byte { return p[:99] },
		"IPv6":          func(p []byte) []byte { p[0] = 0x60; return p },
		"TCP":           func(p []byte) []byte { p[9] = 6; return p },
		"fragment":      func(p []byte) []byte { p[7] = 1; return p },
		"more to come":  func(p []byte) []byte { p[6] |= 0x20; return p },
		"other source":  func(p []byte) []byte { p[15]++; return p },
		"other port":    func(p []byte) []byte { p[21]++; return p },
		"UDP length":    func(p []byte) []byte { p[25]++; return p },
		"header length": func(p []byte) []byte { p[3] = 20; return p },
	} {
		if _, ok := payload(change(append([]byte(nil), good...)), to); ok {
			t.Errorf("%s: taken", name)
		}
	}
}

// flowModel is a flow with unbounded memory.
type flowModel struct {
	seen map[uint64]bool
	next uint64
}

func (m *flowModel) accept(seq uint64) (passed uint64, late, twice bool) {
	switch {
	case m.seen[seq]:
		return 0, false, true
	case seq < m.next:
		m.seen[seq] = true
		return 0, true, false
	}
	passed = seq + 1 - m.next
	m.seen[seq], m.next = true, seq+1
	return passed, false, false
}

// TestFlow compares with the model: order, loss, lateness and duplicates within what a flow remembers.
func TestFlow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var f flow
		m := flowModel{seen: map[uint64]bool{}}
		var late, twice, received uint64
		at := uint64(0)
		for range 5000 {
			switch rng.IntN(20) {
			case 0:
				at += rng.Uint64N(50) // lost
			case 1:
				at += rng.Uint64N(3000)
			}
			seq := at
			at++
			if rng.IntN(10) == 0 { // late, or once more
				seq -= min(seq, rng.Uint64N(seenBits))
				if f.next-min(f.next, seq) > seenBits {
					continue
				}
			}
			wantPassed, isLate, isTwice := m.accept(seq)
			passed, fresh := f.accept(seq, 100)
			if passed != wantPassed || fresh == isTwice {
				t.Fatalf("number %d: passed %d, fresh %v; want %d, %v", seq, passed, fresh, wantPassed, !isTwice)
			}
			if isLate {
				late++
			}
			if isTwice {
				twice++
			} else {
				received++
			}
		}
		if f.reordered != late || f.duplicates != twice || f.received != received || f.octets != 100*received {
			t.Fatalf("%+v; want %d late, %d twice, %d received", f, late, twice, received)
		}
	}
}

// TestFlowForgets: what is older than its memory counts as late and not as a duplicate, and spoils nothing.
func TestFlowForgets(t *testing.T) {
	var f flow
	f.accept(0, 1)
	f.accept(5000, 1)
	if passed, fresh := f.accept(1, 1); passed != 0 || !fresh || f.reordered != 1 {
		t.Errorf("an old one: %+v", f)
	}
	if _, fresh := f.accept(5000, 1); fresh {
		t.Error("a duplicate is new")
	}
	if _, fresh := f.accept(5000-seenBits+1, 1); !fresh {
		t.Error("a late one is a duplicate")
	}
}

// TestTurns: trains, round robin, every session's lengths and numbers in their order.
func TestTurns(t *testing.T) {
	const train, sessions = 3, 4
	turns := newTurns([]uint32{10, 11, 12, 13}, Size{100, 200}, train)
	seqs := map[uint32]uint64{}
	for i := range 10 * train * sessions {
		flow, seq, size := turns.next()
		if want := uint32(10 + i/train%sessions); flow != want || seq != seqs[flow] {
			t.Fatalf("packet %d: flow %d number %d; want %d, %d", i, flow, seq, want, seqs[flow])
		}
		if want := 100 + 100*int((seq+uint64(flow))%2); size != want {
			t.Fatalf("flow %d number %d: %d octets, want %d", flow, seq, size, want)
		}
		seqs[flow]++
	}
}
