package pap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"concentrator/internal/corpus"
)

var requests = []struct {
	name, wire string
	want       Request
	err        error
}{
	{"name and password", "05616c696365" + "06" + hex.EncodeToString([]byte("secret")), Request{[]byte("alice"), []byte("secret")}, nil},
	{"both empty", "0000", Request{}, nil},
	{"octets behind it", "0161" + "0162" + "ff", Request{[]byte("a"), []byte("b")}, nil},
	{"empty", "", Request{}, ErrShortData},
	{"no password", "0161", Request{}, ErrShortData},
	{"name over the end", "0561", Request{}, ErrShortData},
	{"password over the end", "01610562", Request{}, ErrShortData},
}

func TestParseRequest(t *testing.T) {
	for _, c := range requests {
		b, err := hex.DecodeString(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRequest(b)
		if !errors.Is(err, c.err) || !bytes.Equal(r.Name, c.want.Name) || !bytes.Equal(r.Password, c.want.Password) {
			t.Errorf("%s: %v %v", c.name, r, err)
		}
	}
}

func TestAppendRequestRefusesLongFields(t *testing.T) {
	long := make([]byte, 256)
	for _, r := range []Request{{Name: long}, {Password: long}} {
		if _, err := r.AppendBinary(nil); !errors.Is(err, ErrFieldLen) {
			t.Errorf("got %v", err)
		}
	}
}

func TestReply(t *testing.T) {
	for _, text := range []string{"", "welcome", strings.Repeat("x", 255)} {
		got, err := ParseReply(AppendReply(nil, text))
		if err != nil || string(got) != text {
			t.Errorf("%q became %q %v", text, got, err)
		}
	}
	if b := AppendReply(nil, strings.Repeat("x", 300)); len(b) != 256 || b[0] != 255 {
		t.Errorf("a long message became %d octets", len(b))
	}
	if got, err := ParseReply(nil); err != nil || len(got) != 0 {
		t.Errorf("nothing at all: %q %v", got, err)
	}
	if _, err := ParseReply([]byte{9, 'x'}); !errors.Is(err, ErrShortData) {
		t.Errorf("over the end: %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	corpus.Add(f)
	for _, c := range requests {
		b, _ := hex.DecodeString(c.wire)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		if got, err := r.AppendBinary(nil); err != nil || !bytes.HasPrefix(b, got) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{2, 'o', 'k'})
	f.Add([]byte{9, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseReply(b)
		if err != nil || len(b) == 0 {
			return
		}
		if got := AppendReply(nil, string(m)); !bytes.HasPrefix(b, got) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}
