package esphdr

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"concentrator/internal/corpus"
)

// headers is the table of the unit test and the seed of the fuzz target.
var headers = []struct {
	name string
	wire string
	want Header
	err  error
}{
	{"first packet", "0000010000000001", Header{SPI: 256, Seq: 1}, nil},
	{"with payload", "fffffffffffffffe00112233", Header{SPI: 0xffffffff, Seq: 0xfffffffe}, nil},
	{"low half of an extended number", "1234567800000000", Header{SPI: 0x12345678}, nil},
	{"empty", "", Header{}, ErrShort},
	{"seven octets", "12345678000000", Header{}, ErrShort},
	{"SPI 0", "0000000000000001", Header{}, ErrSPI},
	{"the last reserved SPI", "000000ff00000001", Header{}, ErrSPI},
}

func TestParseHeader(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			h, err := ParseHeader(wire)
			if !errors.Is(err, tt.err) || h != tt.want {
				t.Fatalf("%+v, %v; want %+v, %v", h, err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			out, err := h.AppendBinary([]byte("before"))
			if err != nil || !bytes.Equal(out, append([]byte("before"), wire[:HeaderLen]...)) {
				t.Errorf("appended %x, %v; want %x", out, err, wire[:HeaderLen])
			}
			put := make([]byte, HeaderLen)
			if h.Put(put); !bytes.Equal(put, wire[:HeaderLen]) {
				t.Errorf("put %x, want %x", put, wire[:HeaderLen])
			}
		})
	}
}

func FuzzParseHeader(f *testing.F) {
	corpus.Add(f)
	for _, s := range headers {
		wire, err := hex.DecodeString(s.wire)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if (err == nil) != (Classify(b) == KindESP) {
			t.Fatalf("%x is %v, but parses to %+v, %v", b, Classify(b), h, err)
		}
		if err != nil {
			return
		}
		if out, err := h.AppendBinary(nil); err != nil || !bytes.HasPrefix(b, out) {
			t.Fatalf("%x is parsed as %+v, %v", b, h, err)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		wire string
		want Kind
	}{
		{"ff", KindKeepalive},
		{"fe", KindMalformed},
		{"ffff", KindMalformed},
		{"", KindMalformed},
		{"000000", KindMalformed},
		{"00000000", KindIKE},
		{"00000000" + "0102030405060708", KindIKE},
		{"0000000100000001", KindMalformed},
		{"000000ff00000001", KindMalformed},
		{"0000010000000001", KindESP},
		{"00000100000000", KindMalformed},
		{"ffffffffffffffff", KindESP},
	} {
		wire, err := hex.DecodeString(tt.wire)
		if err != nil {
			t.Fatal(err)
		}
		if got := Classify(wire); got != tt.want {
			t.Errorf("%q is %v, want %v", tt.wire, got, tt.want)
		}
	}
}

// TestSuites is the list of all suites with their names, as the API shows them, and lengths.
func TestSuites(t *testing.T) {
	type suite struct {
		name                         string
		salt, iv, align, icv, macKey int
	}
	want := []suite{
		{"AES-128-CBC-SHA1", 0, 16, 16, 12, 20},
		{"AES-128-CBC-SHA256", 0, 16, 16, 16, 32},
		{"AES-128-CBC-SHA384", 0, 16, 16, 24, 48},
		{"AES-128-CBC-SHA512", 0, 16, 16, 32, 64},
		{"AES-128-CBC-MD5", 0, 16, 16, 12, 16},
		{"AES-192-CBC-SHA1", 0, 16, 16, 12, 20},
		{"AES-192-CBC-SHA256", 0, 16, 16, 16, 32},
		{"AES-192-CBC-SHA384", 0, 16, 16, 24, 48},
		{"AES-192-CBC-SHA512", 0, 16, 16, 32, 64},
		{"AES-192-CBC-MD5", 0, 16, 16, 12, 16},
		{"AES-256-CBC-SHA1", 0, 16, 16, 12, 20},
		{"AES-256-CBC-SHA256", 0, 16, 16, 16, 32},
		{"AES-256-CBC-SHA384", 0, 16, 16, 24, 48},
		{"AES-256-CBC-SHA512", 0, 16, 16, 32, 64},
		{"AES-256-CBC-MD5", 0, 16, 16, 12, 16},
		{"AES-128-GCM", 4, 8, 4, 16, 0},
		{"AES-192-GCM", 4, 8, 4, 16, 0},
		{"AES-256-GCM", 4, 8, 4, 16, 0},
		{"3DES-CBC-SHA1", 0, 8, 8, 12, 20},
		{"3DES-CBC-SHA256", 0, 8, 8, 16, 32},
		{"3DES-CBC-SHA384", 0, 8, 8, 24, 48},
		{"3DES-CBC-SHA512", 0, 8, 8, 32, 64},
		{"3DES-CBC-MD5", 0, 8, 8, 12, 16},
	}
	var got []suite
	for e := EncryptionUnset; e <= TripleDES+1; e++ {
		for keyLen := range 65 {
			for i := IntegrityUnset; i <= HMACMD5_96+1; i++ {
				name := Name(e, keyLen, i)
				if (name != "") != Valid(e, keyLen, i) {
					t.Errorf("%v, %d, %v: named %q", e, keyLen, i, name)
				}
				if name != "" {
					got = append(got, suite{name, e.SaltLen(), e.IVLen(), e.Align(), ICVLen(e, i), i.KeyLen()})
				}
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d suites, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// links are the columns of TestMaxInner: the length of the outer IP header beyond IPv4's, and the link's MTU.
var links = [8]struct{ more, mtu int }{
	{0, 1500}, {0, 1492}, {0, 1480}, {0, 1280}, {20, 1500}, {20, 1492}, {20, 1480}, {20, 1280},
}

// TestMaxInner is a table that was computed by hand once, for IPv4 and IPv6 outside and four links.
func TestMaxInner(t *testing.T) {
	for _, tt := range []struct {
		name       string
		encryption Encryption
		integrity  Integrity
		udpEncap   bool
		l2tp, ppp  int
		want       [8]int
	}{
		{"plain", EncryptionUnset, IntegrityUnset, false, 8, 4, [8]int{1460, 1452, 1440, 1240, 1440, 1432, 1420, 1220}},
		{"plain, shortest headers", EncryptionUnset, IntegrityUnset, false, 6, 2, [8]int{1464, 1456, 1444, 1244, 1444, 1436, 1424, 1224}},
		{"AES-CBC-SHA1", AESCBC, HMACSHA1_96, false, 8, 4, [8]int{1418, 1402, 1402, 1194, 1402, 1386, 1370, 1178}},
		{"AES-CBC-SHA1, NAT-T", AESCBC, HMACSHA1_96, true, 8, 4, [8]int{1402, 1402, 1386, 1194, 1386, 1386, 1370, 1162}},
		{"AES-CBC-SHA1, NAT-T, Ns", AESCBC, HMACSHA1_96, true, 12, 4, [8]int{1398, 1398, 1382, 1190, 1382, 1382, 1366, 1158}},
		{"AES-CBC-SHA256", AESCBC, HMACSHA256_128, false, 8, 4, [8]int{1418, 1402, 1386, 1194, 1386, 1386, 1370, 1178}},
		{"AES-CBC-SHA256, NAT-T", AESCBC, HMACSHA256_128, true, 8, 4, [8]int{1402, 1402, 1386, 1178, 1386, 1370, 1370, 1162}},
		{"AES-CBC-SHA256, NAT-T, Ns", AESCBC, HMACSHA256_128, true, 12, 4, [8]int{1398, 1398, 1382, 1174, 1382, 1366, 1366, 1158}},
		{"3DES-CBC-SHA1", TripleDES, HMACSHA1_96, false, 8, 4, [8]int{1426, 1418, 1410, 1210, 1410, 1402, 1386, 1186}},
		{"3DES-CBC-SHA1, NAT-T", TripleDES, HMACSHA1_96, true, 8, 4, [8]int{1418, 1410, 1402, 1202, 1402, 1394, 1378, 1178}},
		{"3DES-CBC-SHA1, NAT-T, Ns", TripleDES, HMACSHA1_96, true, 12, 4, [8]int{1414, 1406, 1398, 1198, 1398, 1390, 1374, 1174}},
		{"AES-GCM", AESGCM16, IntegrityUnset, false, 8, 4, [8]int{1426, 1418, 1406, 1206, 1406, 1398, 1386, 1186}},
		{"AES-GCM, NAT-T", AESGCM16, IntegrityUnset, true, 8, 4, [8]int{1418, 1410, 1398, 1198, 1398, 1390, 1378, 1178}},
		{"AES-GCM, NAT-T, Ns", AESGCM16, IntegrityUnset, true, 12, 4, [8]int{1414, 1406, 1394, 1194, 1394, 1386, 1374, 1174}},
	} {
		for i, l := range links {
			if got := MaxInner(l.mtu-l.more, tt.encryption, tt.integrity, tt.udpEncap, tt.l2tp, tt.ppp); got != tt.want[i] {
				t.Errorf("%s, link of %d, header %d: %d, want %d", tt.name, l.mtu, 20+l.more, got, tt.want[i])
			}
		}
	}
	for _, mtu := range []int{-5, 0, 19, 60} {
		if got := MaxInner(mtu, AESCBC, HMACSHA1_96, true, 8, 4); got != 0 {
			t.Errorf("link of %d: %d", mtu, got)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := make([]byte, HeaderLen)
	h := Header{SPI: 0x12345678, Seq: 2}
	if n := testing.AllocsPerRun(1000, func() {
		h.Put(b)
		if got, err := ParseHeader(b); err != nil || got != h || Classify(b) != KindESP {
			t.Error(got, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNames(t *testing.T) {
	for k, want := range map[Kind]string{KindESP: "esp", KindIKE: "ike", KindKeepalive: "keepalive", KindMalformed: "malformed", 9: "malformed"} {
		if k.String() != want {
			t.Errorf("%d is %v", k, k)
		}
	}
	if AESCBC.String() != "AES-CBC" || Encryption(9).String() != "unset" || HMACMD5_96.String() != "MD5" || Integrity(9).String() != "unset" {
		t.Error(AESCBC, HMACMD5_96)
	}
}
