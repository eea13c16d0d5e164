package l2tpdata

import (
	"bytes"
	"encoding/hex"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/dataplane/pktbuf"
	"concentrator/internal/wire/l2tp"
)

// bufOf is a buffer that holds b.
func bufOf(b []byte) *pktbuf.Buf {
	var buf pktbuf.Buf
	if !buf.SetBytes(b) {
		panic("too long for a buffer")
	}
	return &buf
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// messages is the table of the unit test and the seed of the fuzz target. left is what the buffer holds afterwards; "" with
// a verdict other than OK: what it held before.
var messages = []struct {
	name string
	wire string
	want l2tp.Header
	v    Verdict
	left string
}{
	{"6 octets", "0002" + "00070012" + "ff030021", l2tp.Header{TunnelID: 7, SessionID: 0x12}, OK, "ff030021"},
	{
		"8 octets with length", "4002000c" + "00070012" + "ff030021",
		l2tp.Header{HasLength: true, Length: 12, TunnelID: 7, SessionID: 0x12},
		OK, "ff030021",
	},
	{
		"priority, as Windows marks LCP", "4102000c" + "00070012" + "ff03c021",
		l2tp.Header{HasLength: true, Length: 12, TunnelID: 7, SessionID: 0x12, Priority: true},
		OK, "ff03c021",
	},
	{
		"10 octets with sequence", "0802" + "00070012" + "00050003" + "0021",
		l2tp.Header{HasSequence: true, TunnelID: 7, SessionID: 0x12, Ns: 5, Nr: 3},
		OK, "0021",
	},
	{
		"12 octets with both", "4802000e" + "00070012" + "fffe0003" + "0021",
		l2tp.Header{HasLength: true, Length: 14, HasSequence: true, TunnelID: 7, SessionID: 0x12, Ns: 0xfffe, Nr: 3},
		OK, "0021",
	},
	{
		"offset", "0202" + "00070012" + "0003aaaaaa" + "0021",
		l2tp.Header{HasOffset: true, Offset: 3, TunnelID: 7, SessionID: 0x12},
		OK, "0021",
	},
	{
		"offset of nothing", "0202" + "00070012" + "0000" + "0021",
		l2tp.Header{HasOffset: true, TunnelID: 7, SessionID: 0x12},
		OK, "0021",
	},
	{
		"everything", "4b020014" + "00070012" + "00050003" + "0002aaaa" + "ff030021",
		l2tp.Header{
			HasLength: true, HasSequence: true, HasOffset: true, Priority: true,
			Length: 20, TunnelID: 7, SessionID: 0x12, Ns: 5, Nr: 3, Offset: 2,
		},
		OK, "ff030021",
	},
	{
		"octets behind the length", "4002000c" + "00070012" + "ff030021" + "0000",
		l2tp.Header{HasLength: true, Length: 12, TunnelID: 7, SessionID: 0x12},
		OK, "ff030021",
	},
	{"no frame", "40020008" + "00070012", l2tp.Header{HasLength: true, Length: 8, TunnelID: 7, SessionID: 0x12}, OK, ""},
	{
		"control", "c802000c" + "00070000" + "00010002",
		l2tp.Header{Control: true, HasLength: true, HasSequence: true, Length: 12, TunnelID: 7, Ns: 1, Nr: 2},
		Control, "",
	},
	{"empty", "", l2tp.Header{}, Malformed, ""},
	{"five octets", "0002000700", l2tp.Header{}, Malformed, ""},
	{"cut in the header", "40020008000700", l2tp.Header{}, Malformed, ""},
	{"cut in Ns", "08020007001200", l2tp.Header{}, Malformed, ""},
	{"length beyond the packet", "4002000d" + "00070012" + "ff030021", l2tp.Header{}, Malformed, ""},
	{"length inside the header", "40020007" + "00070012" + "ff030021", l2tp.Header{}, Malformed, ""},
	{"offset beyond the packet", "0202" + "00070012" + "0003aaaa", l2tp.Header{}, Malformed, ""},
	{"offset beyond the length", "4202000b" + "00070012" + "0002aaaa", l2tp.Header{}, Malformed, ""},
	{"offset of 65535", "0202" + "00070012" + "ffff0021", l2tp.Header{}, Malformed, ""},
	{"version 3", "0003" + "00070012" + "ff030021", l2tp.Header{}, Malformed, ""},
	{"control without sequence", "c002000c" + "00070000" + "00010002", l2tp.Header{}, Malformed, ""},
}

func TestStrip(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			b := bufOf(wire)
			h, v := Strip(b)
			if h != tt.want || v != tt.v {
				t.Errorf("%+v, %v; want %+v, %v", h, v, tt.want, tt.v)
			}
			want := unhex(t, tt.left)
			if tt.v != OK {
				want = wire
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("left %x, want %x", b.Bytes(), want)
			}
		})
	}
}

func TestPrepend(t *testing.T) {
	frame := unhex(t, "ff030021450000")
	b := bufOf(frame)
	if !Prepend(b, 0x1234, 0x5678, nil) {
		t.Fatal("no room")
	}
	if want := unhex(t, "4002000f12345678ff030021450000"); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%x, want %x", b.Bytes(), want)
	}
	seq := Sequencer{ns: 0xffff}
	for _, want := range []string{
		"4802001312345678ffff0000ff030021450000",
		"480200131234567800000000ff030021450000",
		"480200131234567800010000ff030021450000",
	} {
		b := bufOf(frame)
		if !Prepend(b, 0x1234, 0x5678, &seq) || hex.EncodeToString(b.Bytes()) != want {
			t.Errorf("%x, want %s", b.Bytes(), want)
		}
	}
}

// TestPrependNoRoom: nothing changes, no Ns is used.
func TestPrependNoRoom(t *testing.T) {
	var seq Sequencer
	for _, tt := range []struct {
		seq  *Sequencer
		need int
	}{{nil, 8}, {&seq, 12}} {
		b := bufOf([]byte{1, 2, 3})
		b.Prepend(b.Front() - tt.need + 1)
		n := b.Len()
		if Prepend(b, 1, 2, tt.seq) || b.Len() != n || seq.ns != 0 {
			t.Errorf("with %d octets in front: %d octets, Ns %d", tt.need-1, b.Len(), seq.ns)
		}
		b.TrimFront(1)
		if !Prepend(b, 1, 2, tt.seq) {
			t.Errorf("%d octets in front do not suffice", tt.need)
		}
	}
}

// FuzzStrip gives Strip any message: what is left is a part of it, and the header put before it again makes that message up
// to its length.
func FuzzStrip(f *testing.F) {
	corpus.Add(f)
	for _, m := range messages {
		f.Add(unhex(f, m.wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if len(wire) > pktbuf.MaxRead {
			return
		}
		b := bufOf(wire)
		h, v := Strip(b)
		switch v {
		case OK:
			if h.Control || h.HasLength && int(h.Length) != h.Len()+b.Len() || !h.HasLength && h.Len()+b.Len() != len(wire) {
				t.Fatalf("%x: %+v with %d octets", wire, h, b.Len())
			}
			if !bytes.Equal(b.Bytes(), wire[h.Len():][:b.Len()]) {
				t.Fatalf("%x: %+v leaves %x", wire, h, b.Bytes())
			}
		case Control, Malformed:
			if h.Control != (v == Control) || !bytes.Equal(b.Bytes(), wire) {
				t.Fatalf("%x: %v, %+v, leaves %x", wire, v, h, b.Bytes())
			}
		default:
			t.Fatalf("%x: %v", wire, v)
		}
	})
}

func TestNoAllocation(t *testing.T) {
	frame := make([]byte, 1400)
	var b pktbuf.Buf
	var out, in Sequencer
	bad := 0
	if n := testing.AllocsPerRun(1000, func() {
		b.SetBytes(frame)
		if !Prepend(&b, 1, 2, &out) || !PrependUDP(&b, 1701) {
			bad++
		}
		if _, v := StripUDP(&b, true, [4]byte{1}, [4]byte{2}); v != OK {
			bad++
		}
		if h, v := Strip(&b); v != OK || in.Accept(h.Ns) != OK {
			bad++
		}
		b.SetBytes(frame[:5])
		if _, v := Strip(&b); v != Malformed {
			bad++
		}
	}); n != 0 || bad != 0 {
		t.Errorf("%v allocations a packet, %d wrong verdicts", n, bad)
	}
}

func TestVerdictNames(t *testing.T) {
	seen := map[string]bool{}
	for v := Verdict(0); v <= Far; v++ {
		if s := v.String(); s == "" || seen[s] {
			t.Errorf("verdict %d is %q", v, s)
		}
		seen[v.String()] = true
	}
}

// BenchmarkStrip is a data message inside ESP, UDP and L2TP header together, both ways.
func BenchmarkStrip(b *testing.B) {
	for _, tt := range []struct {
		name  string
		check bool
		seq   *Sequencer
	}{{"plain", false, nil}, {"sequence", false, &Sequencer{}}, {"checksum", true, nil}} {
		b.Run(tt.name+"/1400B", func(b *testing.B) {
			var buf pktbuf.Buf
			buf.SetBytes(make([]byte, 1400))
			src, dst := [4]byte{192, 0, 2, 1}, [4]byte{198, 51, 100, 1}
			b.ReportAllocs()
			for b.Loop() {
				Prepend(&buf, 1, 2, tt.seq)
				PrependUDP(&buf, 1701)
				if tt.check {
					buf.Bytes()[6] = 1 // there is one, and it is wrong
				}
				if _, v := StripUDP(&buf, tt.check, src, dst); (v == OK) == tt.check {
					b.Fatal(v)
				}
				if tt.check {
					buf.TrimFront(udpHeaderLen)
				}
				if _, v := Strip(&buf); v != OK {
					b.Fatal(v)
				}
			}
		})
	}
}
