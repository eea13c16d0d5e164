package corpus

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

var everything = []Entry{
	{Note: "by hand\nin two lines", Values: []any{
		[]byte("a\n\x00\xff\""), "b\u00e9\n`", true, byte('\''), byte(0xff), -1, int8(-2), int16(3), int32(4), int64(5), uint(6), uint16(7), uint32(8),
		^uint64(0),
	}},
	{Values: []any{
		[]byte{}, "", false, byte(0), byte('\n'), 0, int8(0), int16(0), int32(0), int64(0), uint(0), uint16(0), uint32(0), uint64(0),
	}},
}

func TestRoundTrip(t *testing.T) {
	text := Format(everything)
	got, err := Parse(text)
	if err != nil || !reflect.DeepEqual(got, everything) {
		t.Fatalf("%s\n%v, %v", text, got, err)
	}
	if !bytes.HasPrefix(text, []byte("go test fuzz v1\n\n# by hand\n# in two lines\n[]byte(\"a\\n")) {
		t.Errorf("%s", text)
	}
}

// TestGo reads an input as the go command keeps it, byte values in both of its spellings.
func TestGo(t *testing.T) {
	got, err := Parse([]byte("go test fuzz v1\n[]byte(\"x\")\nbyte('\\x01')\nuint8(2)\nuint16(0x10)\n"))
	want := []Entry{{Values: []any{[]byte("x"), byte(1), byte(2), uint16(16)}}}
	if err != nil || !reflect.DeepEqual(got, want) || got[0].Types() != "[]byte, uint8, uint8, uint16" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Parse([]byte("go test fuzz v1")); err != nil || len(got) != 0 {
		t.Errorf("an empty one: %v, %v", got, err)
	}
}

var refused = []struct{ text, err string }{
	{"", "line 1"},
	{"go test fuzz v2\nbool(true)\n", "line 1"},
	{"go test fuzz v1\n\nbool(true)\n\nbyte('a')\n", `line 5: an entry of uint8 among those of bool`},
	{"go test fuzz v1\n# a\n\nbool(true)\n", "line 2: a note without an entry"},
	{"go test fuzz v1\nbool(true)\n# a\n", "line 3: a note inside an entry"},
	{"go test fuzz v1\n\n[]byte(\"a)\n", "line 3"},
	{"go test fuzz v1\nfloat64(1)\n", `"float64" can't be kept`},
	{"go test fuzz v1\nbyte('\u0100')\n", "is not a byte"},
	{"go test fuzz v1\nuint8(256)\n", "out of range"},
	{"go test fuzz v1\ntrue\n", "is not a value"},
	{"go test fuzz v1\n" + strings.Repeat("x", 1000), "..."},
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		if got, err := Parse([]byte(c.text)); err == nil || got != nil || !strings.Contains(err.Error(), c.err) || len(err.Error()) > 200 {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	Add(f)
	f.Add(Format(everything))
	for _, c := range refused {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			return
		}
		text := Format(got)
		again, err := Parse(text)
		if err != nil || !bytes.Equal(Format(again), text) || len(again) != len(got) {
			t.Fatalf("%s\nbecame\n%s\n%v", text, Format(again), err)
		}
	})
}
