package radius

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"testing"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
)

// RFC 2865 section 7, secret "xyzzy5461".
var rfc2865Section7 = []struct {
	name, request, reply string
	code                 radius.Code
}{
	{
		"7.1",
		`01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d
		 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8 01 10 05 06 00 00 00 03`,
		`02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00
		 0e 06 c0 a8 01 03`, radius.CodeAccessAccept,
	},
	{
		"7.2",
		`01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9
		 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75 04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00
		 02 07 06 00 00 00 01`,
		`02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4 06 06 00 00 00 02 07 06 00 00 00 01
		 08 06 ff ff ff fe 0a 06 00 00 00 02 0d 06 00 00 00 01 0c 06 00 00 05 dc`, radius.CodeAccessAccept,
	},
	{
		"7.3 challenge",
		`01 02 00 39 f3 a4 7a 1f 6a 6d 76 71 0b 94 7a b9 30 41 a0 39 01 07 6d 6f 70 73 79 02 12 33 65 75
		 73 77 82 89 b5 70 88 5e 15 08 48 25 c5 04 06 c0 a8 01 10 05 06 00 00 00 07`,
		`0b 02 00 4e 36 f3 c8 76 4a e8 c7 11 57 40 3c 0c 71 ff 9c 45 12 30 43 68 61 6c 6c 65 6e 67 65 20
		 33 32 37 36 39 34 33 30 2e 20 20 45 6e 74 65 72 20 72 65 73 70 6f 6e 73 65 20 61 74 20 70 72 6f
		 6d 70 74 2e 18 0a 33 32 37 36 39 34 33 30`, radius.CodeAccessChallenge,
	},
	{
		"7.3 reject",
		`01 03 00 43 b1 22 55 6d 42 8a 13 d0 d6 25 38 07 c4 57 ec f0 01 07 6d 6f 70 73 79 02 12 69 2c 1f
		 20 5f c0 81 b9 19 b9 51 95 f5 61 a5 81 04 06 c0 a8 01 10 05 06 00 00 00 07 18 0a 33 32 37 36 39
		 34 33 30`,
		`03 03 00 14 a4 2f 4f ca 45 91 6c 4e 09 c8 34 0f 9e 74 6a a0`, radius.CodeAccessReject,
	},
}

func TestRFC2865Section7(t *testing.T) {
	secrets := []tenant.Secret{tenant.Secret("wrong"), tenant.Secret("xyzzy5461")}
	for _, tt := range rfc2865Section7 {
		t.Run(tt.name, func(t *testing.T) {
			request, b := unhex(t, tt.request), unhex(t, tt.reply)
			auth := [16]byte(request[4:20])
			p, drop := trim(append(bytes.Clone(b), 0, 0, 0))
			if drop != dropNone || !bytes.Equal(p, b) {
				t.Fatalf("trim: %s", drop)
			}
			which, signed, drop := verify(b, auth, secrets)
			if which != 1 || signed || drop != dropNone {
				t.Errorf("verify = %d, %t, %s, want the second secret, unsigned", which, signed, drop)
			}
			for i := range b {
				bad := bytes.Clone(b)
				bad[i] ^= 0x40
				if _, _, drop := verify(bad, auth, secrets); drop == dropNone {
					t.Errorf("octet %d may be changed", i)
				}
			}
			auth[0] ^= 1
			if _, _, drop := verify(b, auth, secrets); drop != DropResponseAuthenticator {
				t.Errorf("answer to another request: %s", drop)
			}
		})
	}
}

func TestRFC2865Section7Password(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request string
		a       asking
		typ     radius.Type
	}{
		{
			"7.1 User-Password", rfc2865Section7[0].request,
			asking{Request: authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("arctangent")}},
			2,
		},
		{"7.2 CHAP-Password", rfc2865Section7[1].request, asking{Request: authz.Request{Method: tenant.AuthCHAP, ID: 22}}, 3},
		{
			"7.3 User-Password", rfc2865Section7[2].request,
			asking{Request: authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("challenge")}},
			2,
		},
		{
			"7.3 User-Password, response", rfc2865Section7[3].request,
			asking{Request: authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("99101462")}},
			2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := radius.Parse(unhex(t, tt.request), nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.a.secret, tt.a.authenticator = tenant.Secret("xyzzy5461"), p.Authenticator
			sum := chap.MD5Response(tt.a.ID, []byte("arctangent"), p.Authenticator[:])
			tt.a.Response = sum[:]
			for _, s := range sent {
				if s.vendor == 0 && s.typ == tt.typ {
					if got := s.value(&tt.a); !bytes.Equal(got, p.Get(tt.typ)) {
						t.Errorf("got %x, want %x", got, p.Get(tt.typ))
					}
					return
				}
			}
			t.Error("the attribute is not sent")
		})
	}
}

// The Message-Authenticator must be first and right, by the letter of RFC 3579 section 3.2.
func TestRequestIsSigned(t *testing.T) {
	a := asking{
		Request: papRequest(), nasIdentifier: "nas-1", nasAddress: netip.MustParseAddr("192.0.2.1"),
		authenticator: [16]byte{1, 2, 3, 4}, secret: tenant.Secret("xyzzy5461"),
	}
	b, err := request(a, 200)
	if err != nil {
		t.Fatal(err)
	}
	if b[0] != 1 || b[1] != 200 || int(binary.BigEndian.Uint16(b[2:])) != len(b) || !bytes.Equal(b[4:20], a.authenticator[:]) {
		t.Fatalf("header % x", b[:20])
	}
	if b[20] != 80 || b[21] != 18 {
		t.Fatalf("first attribute % x, want a Message-Authenticator", b[20:38])
	}
	zeroed := bytes.Clone(b)
	clear(zeroed[22:38])
	h := hmac.New(md5.New, []byte("xyzzy5461"))
	h.Write(zeroed)
	if want := h.Sum(nil); !bytes.Equal(b[22:38], want) {
		t.Errorf("Message-Authenticator % x, want % x", b[22:38], want)
	}
}

func TestSignWantsMessageAuthenticatorFirst(t *testing.T) {
	for _, attrs := range []radius.Attributes{
		nil,
		{{Type: 1, Attribute: radius.Attribute("alice")}},
		{{Type: 80, Attribute: make(radius.Attribute, 15)}},
	} {
		if _, err := sign(&radius.Packet{Code: radius.CodeAccessRequest, Attributes: attrs}); err == nil {
			t.Errorf("signed %v", attrs)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	for _, tt := range rfc2865Section7 {
		f.Add(unhex(f, tt.reply))
	}
	query := append([]byte{1, 7, 0, 20}, make([]byte, 16)...)
	for _, tt := range interpretations {
		f.Add(answerOf{code: tt.code, attrs: tt.attrs}.build(query))
	}
	secrets := []tenant.Secret{tenant.Secret(secret)}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, drop := trim(b)
		if drop != dropNone {
			return
		}
		_, _, drop = verify(p, [16]byte{}, secrets)
		switch drop {
		case DropCode, DropAttributes, DropManyAuthenticators, DropAuthenticatorLength:
			return // what interpret never sees
		default:
		}
		v := interpret(p, answering{server: "one", method: tenant.AuthMSCHAPv2, id: 7, secret: secrets[0]})
		if radius.Code(p[0]) != radius.CodeAccessAccept && v.Deny == "" {
			t.Fatal("let in without an Access-Accept")
		}
		if v.Deny == "" && v.Success == "" {
			t.Fatal("MS-CHAPv2 let in without its proof")
		}
		if len(v.Detail) > maxDetail {
			t.Fatalf("a detail of %d octets", len(v.Detail))
		}
	})
}
