package ccp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"concentrator/internal/corpus"
)

// values are "supported bits" seen from clients.
var values = []struct {
	name, wire string
	want       MPPE
	keyBits    int
	err        error
}{
	{"Windows 10, no own wish", "01000000", Stateless, 0, nil},
	{"128 bits stateless", "01000040", Stateless | Bits128, 128, nil},
	{"pppd, 128 and 40 bits", "01000060", Stateless | Bits128 | Bits40, 0, nil},
	{"Windows 2000", "010000e1", Stateless | Strengths | MPPC, 0, nil},
	{"40 bits stateful", "00000020", Bits40, 40, nil},
	{"56 bits", "01000080", Stateless | Bits56, 56, nil},
	{"short", "010000", 0, 0, ErrOptionValue},
	{"long", "0100004000", 0, 0, ErrOptionValue},
	{"empty", "", 0, 0, ErrOptionValue},
}

func TestParseMPPE(t *testing.T) {
	for _, c := range values {
		b, err := hex.DecodeString(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseMPPE(b)
		if got != c.want || got.KeyBits() != c.keyBits || !errors.Is(err, c.err) {
			t.Errorf("%s: %08x %d %v", c.name, got, got.KeyBits(), err)
		}
		if err == nil && !bytes.Equal(AppendMPPE(nil, got), append([]byte{18, 6}, b...)) {
			t.Errorf("%s: became %x", c.name, AppendMPPE(nil, got))
		}
	}
}

func TestStrength(t *testing.T) {
	for _, n := range []int{128, 56, 40} {
		if got := Strength(n).KeyBits(); got != n {
			t.Errorf("%d became %d", n, got)
		}
	}
	if Strength(64) != 0 {
		t.Error("64 is no key length of MPPE")
	}
}

func FuzzParseMPPE(f *testing.F) {
	corpus.Add(f)
	for _, c := range values {
		b, _ := hex.DecodeString(c.wire)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMPPE(b)
		if err != nil {
			return
		}
		if got := AppendMPPE(nil, m); !bytes.Equal(got[2:], b) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}
