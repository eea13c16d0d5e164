package ipcp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"concentrator/internal/corpus"
)

func TestAppendAddr(t *testing.T) {
	for _, c := range []struct {
		addr netip.Addr
		want string
	}{
		{netip.MustParseAddr("192.0.2.1"), "0306c0000201"},
		{netip.MustParseAddr("::ffff:192.0.2.1"), "0306c0000201"},
		{netip.MustParseAddr("2001:db8::1"), "030600000000"},
		{netip.Addr{}, "030600000000"},
	} {
		if got := hex.EncodeToString(AppendAddr(nil, OptionAddress, c.addr)); got != c.want {
			t.Errorf("%v: %s, want %s", c.addr, got, c.want)
		}
	}
}

func TestParseAddr(t *testing.T) {
	if a, err := ParseAddr([]byte{198, 51, 100, 7}); a != netip.MustParseAddr("198.51.100.7") || err != nil {
		t.Errorf("%v %v", a, err)
	}
	for _, n := range []int{0, 3, 5, 16} {
		if _, err := ParseAddr(make([]byte, n)); !errors.Is(err, ErrOptionValue) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func FuzzParseAddr(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{10, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAddr(b)
		if err != nil {
			return
		}
		if got := AppendAddr(nil, OptionPrimaryDNS, a); !bytes.Equal(got[2:], b) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}
