package lcp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"concentrator/internal/corpus"
	"concentrator/internal/wire/ppp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"MRU 1400", AppendMRU(nil, 1400), "01040578"},
		{"ACCM 0", AppendACCM(nil, 0x000a0000), "0206000a0000"},
		{"magic", AppendMagic(nil, 0xdeadbeef), "0506deadbeef"},
		{"PFC", AppendFlag(nil, OptionPFC), "0702"},
		{"ACFC", AppendFlag(nil, OptionACFC), "0802"},
		{"PAP", AppendAuth(nil, Auth{Protocol: ppp.ProtocolPAP}), "0304c023"},
		{"CHAP", AppendAuth(nil, Auth{ppp.ProtocolCHAP, AlgorithmMD5}), "0305c22305"},
		{"MS-CHAPv2", AppendAuth(nil, Auth{ppp.ProtocolCHAP, AlgorithmMSCHAPv2}), "0305c22381"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

var auths = []struct {
	wire string
	want Auth
	err  error
}{
	{"c023", Auth{Protocol: ppp.ProtocolPAP}, nil},
	{"c22305", Auth{ppp.ProtocolCHAP, AlgorithmMD5}, nil},
	{"c22381", Auth{ppp.ProtocolCHAP, AlgorithmMSCHAPv2}, nil},
	{"c227", Auth{Protocol: ppp.ProtocolEAP}, nil},
	{"", Auth{}, ErrOptionValue},
	{"c2", Auth{}, ErrOptionValue},
	{"c223", Auth{}, ErrOptionValue},
	{"c2238100", Auth{}, ErrOptionValue},
	{"c02300", Auth{}, ErrOptionValue},
}

func TestParseAuth(t *testing.T) {
	for _, c := range auths {
		if got, err := ParseAuth(unhex(t, c.wire)); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v %v, want %v %v", c.wire, got, err, c.want, c.err)
		}
	}
}

func TestParseValues(t *testing.T) {
	if v, err := ParseMRU([]byte{5, 0x78}); v != 1400 || err != nil {
		t.Errorf("MRU %d %v", v, err)
	}
	if v, err := ParseACCM([]byte{0, 10, 0, 0}); v != 0xa0000 || err != nil {
		t.Errorf("ACCM %x %v", v, err)
	}
	if v, err := ParseMagic([]byte{1, 2, 3, 4}); v != 0x01020304 || err != nil {
		t.Errorf("magic %x %v", v, err)
	}
	if class, address, err := ParseEndpoint([]byte{1, 9, 8}); class != 1 || !bytes.Equal(address, []byte{9, 8}) || err != nil {
		t.Errorf("endpoint %d %x %v", class, address, err)
	}
	if err := ParseFlag(nil); err != nil {
		t.Errorf("flag: %v", err)
	}
	for n := range 6 {
		v := make([]byte, n)
		for name, err := range map[string]error{
			"MRU":   second(ParseMRU(v)),
			"ACCM":  second(ParseACCM(v)),
			"magic": second(ParseMagic(v)),
			"flag":  ParseFlag(v),
		} {
			good := map[string]int{"MRU": 2, "ACCM": 4, "magic": 4, "flag": 0}[name]
			if (err == nil) != (n == good) {
				t.Errorf("%s of %d octets: %v", name, n, err)
			}
		}
	}
	if _, _, err := ParseEndpoint(nil); !errors.Is(err, ErrOptionValue) {
		t.Errorf("empty endpoint: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestProtocolReject(t *testing.T) {
	b := AppendProtocolReject(nil, ppp.ProtocolIPv6CP, []byte{1, 2, 3})
	if hex.EncodeToString(b) != "8057010203" {
		t.Errorf("got %x", b)
	}
	protocol, info, err := ParseProtocolReject(b)
	if protocol != ppp.ProtocolIPv6CP || !bytes.Equal(info, []byte{1, 2, 3}) || err != nil {
		t.Errorf("got %04x %x %v", protocol, info, err)
	}
	if _, _, err := ParseProtocolReject([]byte{0x80}); !errors.Is(err, ErrShortData) {
		t.Errorf("one octet: %v", err)
	}
}

// numbered are the Identifications that Windows 10 sends, and broken packets.
var numbered = []struct {
	wire string
	want Numbered
	err  error
}{
	{"1b2c3d4e" + hex.EncodeToString([]byte("MSRASV5.20")), Numbered{0x1b2c3d4e, []byte("MSRASV5.20")}, nil},
	{"00000000", Numbered{}, nil},
	{"000000", Numbered{}, ErrShortData},
	{"", Numbered{}, ErrShortData},
}

func TestParseNumbered(t *testing.T) {
	for _, c := range numbered {
		got, err := ParseNumbered(unhex(t, c.wire))
		if got.Magic != c.want.Magic || !bytes.Equal(got.Rest, c.want.Rest) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v %v", c.wire, got, err)
		}
	}
}

func FuzzParseAuth(f *testing.F) {
	corpus.Add(f)
	for _, c := range auths {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAuth(b)
		if err != nil {
			return
		}
		if got := AppendAuth(nil, a); !bytes.Equal(got[2:], b) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}

func FuzzParseNumbered(f *testing.F) {
	corpus.Add(f)
	for _, c := range numbered {
		f.Add(unhex(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNumbered(b)
		if err != nil {
			return
		}
		if got, err := n.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x became %x %v", b, got, err)
		}
	})
}

func FuzzParseProtocolReject(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0x80, 0x57, 1, 1, 0, 4})
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		protocol, info, err := ParseProtocolReject(b)
		if err != nil {
			return
		}
		if got := AppendProtocolReject(nil, protocol, info); !bytes.Equal(got, b) {
			t.Fatalf("%x became %x", b, got)
		}
	})
}
