package l2tp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// headers are messages written by hand, and what they mean.
var headers = []struct {
	name, wire string
	want       Header
	payload    string
}{
	{"six octets", "0002 0001 0002 ff03c021", Header{TunnelID: 1, SessionID: 2}, "ff03c021"},
	{"Windows data", "4002 000c 0001 0002 ff03c021", Header{HasLength: true, Length: 12, TunnelID: 1, SessionID: 2}, "ff03c021"},
	{
		"Windows data with priority", "4102 0008 0001 0002",
		Header{HasLength: true, Priority: true, Length: 8, TunnelID: 1, SessionID: 2},
		"",
	},
	{
		"sequenced data", "0802 0001 0002 0003 0004 21",
		Header{HasSequence: true, TunnelID: 1, SessionID: 2, Ns: 3, Nr: 4},
		"21",
	},
	{
		"everything, two octets of padding, and junk behind the length", "4b02 0011 0001 0002 0003 0004 0002 eeee 21 dddd",
		Header{
			HasLength: true, HasSequence: true, HasOffset: true, Priority: true,
			Length: 17, TunnelID: 1, SessionID: 2, Ns: 3, Nr: 4, Offset: 2,
		},
		"21",
	},
	{"offset of nothing", "0202 0001 0002 0000 21", Header{HasOffset: true, TunnelID: 1, SessionID: 2}, "21"},
	{
		"control", "c802 000c 0001 0000 0002 0003",
		Header{Control: true, HasLength: true, HasSequence: true, Length: 12, TunnelID: 1, Ns: 2, Nr: 3},
		"",
	},
	{
		"control with reserved bits", "fcf2 000c 0001 0000 0002 0003",
		Header{Control: true, HasLength: true, HasSequence: true, Length: 12, TunnelID: 1, Ns: 2, Nr: 3},
		"",
	},
}

func TestParseHeader(t *testing.T) {
	for _, c := range headers {
		got, payload, err := ParseHeader(unhex(t, c.wire))
		if err != nil || got != c.want || !bytes.Equal(payload, unhex(t, c.payload)) {
			t.Errorf("%s: %+v, payload %x, %v", c.name, got, payload, err)
		}
	}
}

func TestPutHeader(t *testing.T) {
	for _, c := range headers {
		b, err := c.want.AppendBinary([]byte{0xaa})
		if err != nil || len(b) != 1+c.want.Len() || b[0] != 0xaa {
			t.Fatalf("%s: %x, %v", c.name, b, err)
		}
		got, _, err := ParseHeader(append(b[1:], unhex(t, c.payload)...))
		if err != nil || got != c.want {
			t.Errorf("%s: %x is read as %+v, %v", c.name, b, got, err)
		}
		h := c.want
		h.Offset = 0 // padding is written as zeros, not as it came
		h.Put(b[1:])
		if want := unhex(t, c.wire); b[1]&^0x34 != want[0]&^0x34 || b[2] != want[1]&0x0f {
			t.Errorf("%s: flags %x", c.name, b[1:3])
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       error
	}{
		{"nothing", "", ErrShort},
		{"five octets", "0002 0001 00", ErrShort},
		{"L2F", "0001 0001 0002", ErrVersion},
		{"L2TPv3", "0003 0001 0002", ErrVersion},
		{"control without length", "8802 0001 0000 0000 0000", ErrFlags},
		{"control without sequence", "c002 0008 0001 0000", ErrFlags},
		{"control with offset", "ca02 000e 0001 0000 0000 0000 0000", ErrFlags},
		{"control cut short", "c802 000c 0001 0000 0002 00", ErrShort},
		{"length beyond the end", "4002 0009 0001 0002", ErrShort},
		{"length within the header", "4002 0007 0001 0002 ffff", ErrLength},
		{"control length within the header", "c802 000b 0001 0000 0002 0003", ErrLength},
		{"length 0", "4002 0000 0001 0002", ErrLength},
		{"sequence cut short", "0802 0001 0002 0003 00", ErrShort},
		{"offset cut short", "0202 0001 0002 00", ErrShort},
		{"padding beyond the end", "0202 0001 0002 0002 00", ErrLength},
		{"padding beyond the length", "4202 000b 0001 0002 0002 0000", ErrLength},
		{"padding of 65535 octets", "0202 0001 0002 ffff 00", ErrLength},
	} {
		// The error as such: the hot path does not wrap.
		if _, _, err := ParseHeader(unhex(t, c.wire)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestHeaderDoesNotAllocate(t *testing.T) {
	b := unhex(t, "4002 000c 0001 0002 ff03c021")
	out := make([]byte, 8)
	if n := testing.AllocsPerRun(100, func() {
		h, _, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.Put(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseHeader(f *testing.F) {
	corpus.Add(f)
	for _, c := range headers {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := ParseHeader(b)
		if err != nil {
			return
		}
		if len(payload)+h.Len() > len(b) {
			t.Fatalf("header %d and payload %d of %d octets", h.Len(), len(payload), len(b))
		}
		again, _ := h.AppendBinary(nil)
		if got, p, err := ParseHeader(append(again, payload...)); err != nil || got != h || !bytes.Equal(p, payload) {
			t.Fatalf("%+v became %+v, %v", h, got, err)
		}
	})
}

// TestPutData: the same as Put.
func TestPutData(t *testing.T) {
	for _, n := range []uint16{8, 9, 0x1234, 0xffff} {
		h := Header{HasLength: true, Length: n, TunnelID: n * 3, SessionID: n * 5}
		want, got := make([]byte, h.Len()), make([]byte, DataHeaderLen)
		h.Put(want)
		PutData(got, h.Length, h.TunnelID, h.SessionID)
		if !bytes.Equal(got, want) {
			t.Errorf("%x, want %x", got, want)
		}
	}
}
