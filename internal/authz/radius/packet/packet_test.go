package packet

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"layeh.com/radius"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// RFC 2865 section 7, secret "xyzzy5461".
var rfc2865Section7 = []struct{ name, request, reply string }{
	{
		"7.1",
		`01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d
		 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8 01 10 05 06 00 00 00 03`,
		`02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00
		 0e 06 c0 a8 01 03`,
	},
	{
		"7.2",
		`01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9
		 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75 04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00
		 02 07 06 00 00 00 01`,
		`02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4 06 06 00 00 00 02 07 06 00 00 00 01
		 08 06 ff ff ff fe 0a 06 00 00 00 02 0d 06 00 00 00 01 0c 06 00 00 05 dc`,
	},
	{
		"7.3 challenge",
		`01 02 00 39 f3 a4 7a 1f 6a 6d 76 71 0b 94 7a b9 30 41 a0 39 01 07 6d 6f 70 73 79 02 12 33 65 75
		 73 77 82 89 b5 70 88 5e 15 08 48 25 c5 04 06 c0 a8 01 10 05 06 00 00 00 07`,
		`0b 02 00 4e 36 f3 c8 76 4a e8 c7 11 57 40 3c 0c 71 ff 9c 45 12 30 43 68 61 6c 6c 65 6e 67 65 20
		 33 32 37 36 39 34 33 30 2e 20 20 45 6e 74 65 72 20 72 65 73 70 6f 6e 73 65 20 61 74 20 70 72 6f
		 6d 70 74 2e 18 0a 33 32 37 36 39 34 33 30`,
	},
	{
		"7.3 reject",
		`01 03 00 43 b1 22 55 6d 42 8a 13 d0 d6 25 38 07 c4 57 ec f0 01 07 6d 6f 70 73 79 02 12 69 2c 1f
		 20 5f c0 81 b9 19 b9 51 95 f5 61 a5 81 04 06 c0 a8 01 10 05 06 00 00 00 07 18 0a 33 32 37 36 39
		 34 33 30`,
		`03 03 00 14 a4 2f 4f ca 45 91 6c 4e 09 c8 34 0f 9e 74 6a a0`,
	},
}

var secrets = []tenant.Secret{tenant.Secret("wrong"), tenant.Secret("xyzzy5461")}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC2865Section7(t *testing.T) {
	for _, tt := range rfc2865Section7 {
		t.Run(tt.name, func(t *testing.T) {
			auth, b := [16]byte(unhex(t, tt.request)[4:20]), unhex(t, tt.reply)
			p, drop := Trim(append(bytes.Clone(b), 0, 0, 0))
			if drop != DropNone || !bytes.Equal(p, b) {
				t.Fatalf("Trim: %s", drop)
			}
			which, signed, drop := Verify(b, radius.CodeAccessRequest, auth, secrets)
			if which != 1 || signed || drop != DropNone {
				t.Errorf("Verify = %d, %t, %s, want the second secret, unsigned", which, signed, drop)
			}
			for i := range b {
				bad := bytes.Clone(b)
				bad[i] ^= 0x40
				if _, _, drop := Verify(bad, radius.CodeAccessRequest, auth, secrets); drop == DropNone {
					t.Errorf("octet %d may be changed", i)
				}
			}
			auth[0] ^= 1
			if _, _, drop := Verify(b, radius.CodeAccessRequest, auth, secrets); drop != DropResponseAuthenticator {
				t.Errorf("answer to another request: %s", drop)
			}
		})
	}
}

// The codes that answer each request; all others must not.
func TestAnswers(t *testing.T) {
	want := map[radius.Code][]radius.Code{
		radius.CodeAccessRequest:     {radius.CodeAccessAccept, radius.CodeAccessReject, radius.CodeAccessChallenge},
		radius.CodeAccountingRequest: {radius.CodeAccountingResponse},
		radius.CodeStatusServer:      {radius.CodeAccessAccept, radius.CodeAccountingResponse},
		radius.CodeDisconnectRequest: {radius.CodeDisconnectACK, radius.CodeDisconnectNAK},
		radius.CodeCoARequest:        {radius.CodeCoAACK, radius.CodeCoANAK},
	}
	for request := range radius.Code(256) {
		for reply := range radius.Code(256) {
			is := false
			for _, c := range want[request] {
				is = is || c == reply
			}
			if Answers(reply, request) != is {
				t.Errorf("%s answers %s: %t", reply, request, !is)
			}
		}
	}
}

// signature says what Sign has to make of each code, by the letter of the RFCs.
var signatures = []struct {
	code   radius.Code
	mac    bool // has a Message-Authenticator
	digest bool // its authenticator is computed
	keeps  bool // p.Authenticator counts
}{
	{radius.CodeAccessRequest, true, false, true},
	{radius.CodeStatusServer, true, false, true},
	{radius.CodeAccountingRequest, false, true, false},
	{radius.CodeDisconnectRequest, true, true, false},
	{radius.CodeCoARequest, true, true, false},
	{radius.CodeAccessAccept, true, true, true},
	{radius.CodeAccessReject, true, true, true},
	{radius.CodeAccessChallenge, true, true, true},
	{radius.CodeAccountingResponse, false, true, true},
	{radius.CodeDisconnectACK, true, true, true},
	{radius.CodeDisconnectNAK, true, true, true},
	{radius.CodeCoAACK, true, true, true},
	{radius.CodeCoANAK, true, true, true},
}

func TestSign(t *testing.T) {
	for _, tt := range signatures {
		t.Run(tt.code.String(), func(t *testing.T) {
			auth := [16]byte{1, 2, 3, 4}
			p := &radius.Packet{Code: tt.code, Identifier: 200, Authenticator: auth, Secret: []byte("xyzzy5461")}
			p.Add(1, radius.Attribute("alice"))
			b, err := Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Attributes) != 1 || p.Authenticator != auth {
				t.Error("Sign changed its packet")
			}
			if b[0] != byte(tt.code) || b[1] != 200 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
				t.Fatalf("header % x", b[:20])
			}
			if !tt.keeps {
				auth = [16]byte{}
			}
			at := 20
			plain := bytes.Clone(b)
			copy(plain[4:], auth[:])
			if tt.mac {
				if b[20] != 80 || b[21] != 18 {
					t.Fatalf("first attribute % x, want a Message-Authenticator", b[20:])
				}
				at += 18
				zeroed := bytes.Clone(plain)
				clear(zeroed[22:38])
				h := hmac.New(md5.New, p.Secret)
				h.Write(zeroed)
				if want := h.Sum(nil); !bytes.Equal(b[22:38], want) {
					t.Errorf("Message-Authenticator % x, want % x", b[22:38], want)
				}
			}
			if want := []byte("\x01\x07alice"); !bytes.Equal(b[at:], want) {
				t.Errorf("attributes % x, want % x", b[at:], want)
			}
			sum := auth
			if tt.digest {
				sum = md5.Sum(append(plain, p.Secret...))
			}
			if !bytes.Equal(b[4:20], sum[:]) {
				t.Errorf("authenticator % x, want % x", b[4:20], sum)
			}
		})
	}
}

// What Sign makes, Verify and VerifyRequest take, and nothing that differs in one bit.
func TestSignedIsVerified(t *testing.T) {
	for _, tt := range signatures {
		if !tt.digest || tt.code == radius.CodeAccountingRequest {
			continue
		}
		t.Run(tt.code.String(), func(t *testing.T) {
			auth := [16]byte{5, 6, 7}
			p := &radius.Packet{Code: tt.code, Identifier: 9, Authenticator: auth, Secret: secrets[1]}
			p.Add(24, radius.Attribute("state"))
			p.Add(33, nil)
			b, err := Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			verify := func(b []byte) (int, bool, Drop) {
				for _, request := range []radius.Code{1, 4, 40, 43} {
					if Answers(tt.code, request) {
						return Verify(b, request, auth, secrets)
					}
				}
				return VerifyRequest(b, secrets)
			}
			if which, signed, drop := verify(b); which != 1 || signed != tt.mac || drop != DropNone {
				t.Fatalf("%d, %t, %s", which, signed, drop)
			}
			for i := range b {
				bad := bytes.Clone(b)
				bad[i] ^= 1
				if _, _, drop := verify(bad); drop == DropNone {
					t.Errorf("octet %d may be changed", i)
				}
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *radius.Packet)
		want   string
	}{
		{"no secret", func(p *radius.Packet) { p.Secret = nil }, "secret"},
		{"own Message-Authenticator", func(p *radius.Packet) { p.Add(80, make([]byte, 16)) }, ErrSigned.Error()},
		{"unknown code", func(p *radius.Packet) { p.Code = 52 }, "52"},
		{"attribute too long", func(p *radius.Packet) { p.Add(1, make([]byte, 254)) }, "too large"},
		{"packet too long", func(p *radius.Packet) {
			fill(p)
			p.Add(1, nil)
		}, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &radius.Packet{Code: radius.CodeAccessRequest, Secret: []byte("x")}
			tt.change(p)
			if b, err := Sign(p); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d octets, %v, want %q", len(b), err, tt.want)
			}
		})
	}
	p := &radius.Packet{Code: radius.CodeAccessRequest, Secret: []byte("x")}
	fill(p)
	if b, err := Sign(p); err != nil || len(b) != MaxLen {
		t.Errorf("the longest packet: %d octets, %v", len(b), err)
	}
	p.Add(80, nil)
	if _, err := Sign(p); !errors.Is(err, ErrSigned) {
		t.Errorf("error %v, want ErrSigned", err)
	}
}

// fill adds what just fits into an Access-Request.
func fill(p *radius.Packet) {
	for range 15 {
		p.Add(1, make([]byte, 253))
	}
	p.Add(1, make([]byte, 4096-20-18-15*255-2))
}

func TestTrim(t *testing.T) {
	for _, tt := range []struct {
		name   string
		octets int
		length int
		want   int // octets; 0: dropped
	}{
		{"header only", 20, 20, 20},
		{"padded", 40, 20, 20},
		{"empty", 0, 0, 0},
		{"half a header", 19, 20, 0},
		{"Length too short", 40, 19, 0},
		{"Length 0", 40, 0, 0},
		{"Length beyond the end", 40, 41, 0},
		{"longest", 4096, 4096, 4096},
		{"too long", 5000, 4097, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := make([]byte, tt.octets)
			if len(b) > 3 {
				binary.BigEndian.PutUint16(b[2:], uint16(tt.length))
			}
			p, drop := Trim(b)
			if len(p) != tt.want || (drop == DropNone) != (tt.want != 0) || tt.want == 0 && drop != DropTruncated {
				t.Errorf("%d octets, %s", len(p), drop)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	header := make([]byte, 20)
	for _, tt := range []struct {
		name  string
		attrs string
		want  string // "type=value" of each
		drop  Drop
	}{
		{"none", "", "", DropNone},
		{"some", "\x01\x05abc\x12\x02\x19\x03x", "1=abc 18= 25=x ", DropNone},
		{"length 0", "\x01\x03a\x08\x00", "1=a ", DropAttributes},
		{"length 1", "\x08\x01\x02", "", DropAttributes},
		{"beyond the end", "\x08\x04a", "", DropAttributes},
		{"half", "\x01\x03a\x08", "1=a ", DropAttributes},
		{
			"two Message-Authenticators", strings.Repeat("\x50\x12"+strings.Repeat("m", 16), 2),
			strings.Repeat("80=mmmmmmmmmmmmmmmm ", 2), DropManyAuthenticators,
		},
		{"short Message-Authenticator", "\x50\x11" + strings.Repeat("m", 15), "80=mmmmmmmmmmmmmmm ", DropAuthenticatorLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := append(bytes.Clone(header), tt.attrs...)
			var got strings.Builder
			for typ, value := range Attributes(b) {
				fmt.Fprintf(&got, "%d=%s ", typ, value)
			}
			if got.String() != tt.want {
				t.Errorf("got %q, want %q", got.String(), tt.want)
			}
			if _, drop := find(b); drop != tt.drop {
				t.Errorf("find: %s, want %s", drop, tt.drop)
			}
			for range Attributes(b) {
				break // must not panic
			}
		})
	}
}

func TestVerifyRequestCodes(t *testing.T) {
	for code := range 256 {
		b := make([]byte, 20)
		b[0], b[3] = byte(code), 20
		sum := authenticator(b, [16]byte{}, secrets[0])
		copy(b[4:], sum[:])
		which, signed, drop := VerifyRequest(b, secrets)
		if is := code == 40 || code == 43; (drop == DropNone) != is || which != 0 || signed {
			t.Errorf("code %d: %d, %t, %s", code, which, signed, drop)
		}
	}
}

func TestDropNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range Drop(NumDrops) {
		if seen[d.String()] || d.String() == "" || d.String() == "unknown" {
			t.Errorf("drop %d is called %q", d, d)
		}
		seen[d.String()] = true
	}
	if Drop(NumDrops).String() != "unknown" {
		t.Error("a drop out of range has a name")
	}
}

func FuzzParseReply(f *testing.F) {
	corpus.Add(f)
	for _, tt := range rfc2865Section7 {
		f.Add(unhex(f, tt.reply))
	}
	for _, tt := range signatures {
		b, err := Sign(&radius.Packet{Code: tt.code, Secret: secrets[1]})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, drop := Trim(b)
		if drop != DropNone {
			return
		}
		total := HeaderLen
		for _, value := range Attributes(p) {
			total += 2 + len(value)
		}
		_, _, request := VerifyRequest(p, secrets)
		_, drop = find(p)
		if total == len(p) && drop == DropAttributes || total != len(p) && drop == DropNone {
			t.Fatalf("attributes of %d octets in all in a packet of %d: %s", total-HeaderLen, len(p), drop)
		}
		for _, code := range []radius.Code{1, 4, 12, 40, 43} {
			_, _, reply := Verify(p, code, [16]byte{}, secrets)
			if drop != DropNone && (reply == DropNone || request == DropNone) {
				t.Fatal("a malformed packet is genuine")
			}
		}
	})
}
