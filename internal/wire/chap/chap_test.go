package chap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"concentrator/internal/corpus"
)

var values = []struct {
	name, wire string
	want       Value
	err        error
}{
	{"with a name", "02aabb" + hex.EncodeToString([]byte("lns")), Value{[]byte{0xaa, 0xbb}, []byte("lns")}, nil},
	{"without a name", "01aa", Value{[]byte{0xaa}, nil}, nil},
	{"empty", "", Value{}, ErrValue},
	{"size zero", "00", Value{}, ErrValue},
	{"runs over the end", "03aabb", Value{}, ErrValue},
}

func TestParseValue(t *testing.T) {
	for _, c := range values {
		b, err := hex.DecodeString(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		v, err := ParseValue(b)
		if !errors.Is(err, c.err) || !bytes.Equal(v.Value, c.want.Value) || !bytes.Equal(v.Name, c.want.Name) {
			t.Errorf("%s: %v %v", c.name, v, err)
		}
	}
}

func TestAppendValueRefusesLengthsThatDoNotFit(t *testing.T) {
	for _, n := range []int{0, MaxValue + 1} {
		if _, err := (Value{Value: make([]byte, n)}).AppendBinary(nil); !errors.Is(err, ErrValue) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// TestMD5Response uses the CHAP exchange of RFC 2865 section 7.2: identifier 0x16, password "arctangent", the Request
// Authenticator as challenge.
func TestMD5Response(t *testing.T) {
	challenge, err := hex.DecodeString("2aee86f08d0d55969ca5978e0d3367a2")
	if err != nil {
		t.Fatal(err)
	}
	got := MD5Response(0x16, []byte("arctangent"), challenge)
	if want := "e97557c316185895f293ff6344077275"; hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, want %s", got, want)
	}
}

func FuzzParseValue(f *testing.F) {
	corpus.Add(f)
	for _, c := range values {
		b, _ := hex.DecodeString(c.wire)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseValue(b)
		if err != nil {
			return
		}
		if got, err := v.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
	})
}
