package radius

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/chap"
)

// build is what goes out for r, after a round through the wire form.
func build(t *testing.T, r *authz.Request, state []byte, to transport.Target) *radius.Packet {
	t.Helper()
	o := &outgoing{packet: inRequest, Caller: r.Caller, user: userName(r), method: r.Method, ask: r, state: state, at: time.Now()}
	return built(t, o, radius.CodeAccessRequest, to)
}

// built is o as packet.Sign makes it, parsed again.
func built(t *testing.T, o *outgoing, code radius.Code, to transport.Target) *radius.Packet {
	t.Helper()
	p, err := o.build(to)
	if err != nil {
		t.Fatal(err)
	}
	p.Code, p.Secret, p.Authenticator = code, to.Secret, to.Authenticator
	b, err := packet.Sign(p)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = radius.Parse(b, to.Secret); err != nil {
		t.Fatal(err)
	}
	return p
}

// wire is the attributes of p as they went over the wire, without those of the types.
func wire(p *radius.Packet, without ...radius.Type) (out []string) {
	for _, a := range p.Attributes {
		if !slices.Contains(without, a.Type) {
			out = append(out, string(attr(a.Type, a.Attribute...)))
		}
	}
	return out
}

// compare fails the test where two lists of attributes differ.
func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("attribute %q is missing", want[i])
		case i >= len(want):
			t.Errorf("attribute %q is too many", got[i])
		case got[i] != want[i]:
			t.Errorf("attribute %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func text(parts ...[]byte) (out []string) {
	for _, p := range parts {
		out = append(out, string(p))
	}
	return out
}

func TestRequestAttributes(t *testing.T) {
	v2 := papRequest()
	v2.Method, v2.ID, v2.Challenge = tenant.AuthMSCHAPv2, 9, bytes.Repeat([]byte{0xaa}, 16)
	v2.PeerName = `ACME\alice`
	v2.Response = append(bytes.Repeat([]byte{0xbb}, 48), 0xcc)
	change := v2
	change.NewPassword = append(bytes.Repeat([]byte{1}, 243), bytes.Repeat([]byte{2}, 243)...)
	change.NewPassword = append(change.NewPassword, bytes.Repeat([]byte{3}, 30)...)
	change.NewPassword = append(change.NewPassword, bytes.Repeat([]byte{4}, 16)...)
	md5 := papRequest()
	md5.Method, md5.ID, md5.Challenge, md5.Response = tenant.AuthCHAP, 9, []byte("0123456789"), bytes.Repeat([]byte{0xdd}, 16)
	l2tp := papRequest()
	l2tp.Protocol, l2tp.SessionID, l2tp.MTU = tenant.ProtocolL2TPIPsec, "", 1400
	l2tp.TunnelID, l2tp.TunnelClient, l2tp.ClientName, l2tp.ClientVersion = "l2tp-7", "laptop\x01", "MSRAS-0-LAPTOP", "MSRASV5.20"
	l2tp.ClientAddress, l2tp.ListenerAddress = netip.MustParseAddr("::ffff:198.51.100.7"), netip.MustParseAddr("2001:db8::1")
	long := eapRequest(eapPacket(2, 5, bytes.Repeat([]byte{13}, 600)...))
	long.PeerName, long.MTU = "alice@acme", 60

	common := text(attr(6, 0, 0, 0, 2), attr(7, 0, 0, 0, 1), words(32, "nas-1"), attr(4, 192, 0, 2, 1),
		attr(5, 0, 0, 0, 17), attr(61, 0, 0, 0, 5), words(31, "198.51.100.7"))
	tunnel := text(words(30, "192.0.2.1"), words(44, "s-1"), attr(64, 0, 0, 0, 1), attr(65, 0, 0, 0, 1),
		words(66, "198.51.100.7"), words(67, "192.0.2.1"), words(91, "nas-1"))
	vpn := text(ms(47, 0, 0, 0, 2))
	for _, tt := range []struct {
		name  string
		r     authz.Request
		state []byte
		want  []string
	}{
		{"PAP", papRequest(), nil, slices.Concat(text(words(1, "alice")), common, tunnel, vpn)},
		{"PAP, next step", papRequest(), []byte{1, 2}, slices.Concat(text(words(1, "alice"), attr(24, 1, 2)), common, tunnel, vpn)},
		{"CHAP", md5, nil, slices.Concat(
			text(words(1, "alice"), attr(3, append([]byte{9}, md5.Response...)...), words(60, "0123456789")), common, tunnel, vpn)},
		{"MS-CHAPv2", v2, nil, slices.Concat(
			text(words(1, "alice"), ms(11, v2.Challenge...), ms(25, append([]byte{9, 0xcc}, v2.Response[:48]...)...)),
			common, tunnel, text(ms(10, 9, 'A', 'C', 'M', 'E')), vpn)},
		{"MS-CHAPv2, new password", change, nil, slices.Concat(
			text(words(1, "alice"), ms(11, v2.Challenge...),
				ms(6, append([]byte{6, 9, 0, 1}, bytes.Repeat([]byte{1}, 243)...)...),
				ms(6, append([]byte{6, 9, 0, 2}, bytes.Repeat([]byte{2}, 243)...)...),
				ms(6, append([]byte{6, 9, 0, 3}, bytes.Repeat([]byte{3}, 30)...)...),
				ms(27, slices.Concat([]byte{7, 9}, bytes.Repeat([]byte{4}, 16), v2.Response[:48], []byte{0, 0xcc})...)),
			common, tunnel, text(ms(10, 9, 'A', 'C', 'M', 'E')), vpn)},
		{"EAP", long, []byte{9}, slices.Concat(
			text(words(1, "alice@acme"), attr(79, long.EAP[:253]...), attr(79, long.EAP[253:506]...), attr(79, long.EAP[506:]...),
				attr(24, 9)),
			common, tunnel, text(attr(12, 0, 0, 0, 64)), vpn)},
		{"L2TP", l2tp, nil, slices.Concat(
			text(words(1, "alice")), common, text(words(30, "2001:db8::1"), attr(64, 0, 0, 0, 3), attr(65, 0, 0, 0, 1),
				words(66, "198.51.100.7"), words(67, "2001:db8::1"), words(82, "l2tp-7"), words(90, "laptop"), words(91, "nas-1"),
				attr(12, 0, 0, 5, 0x74), ms(34, []byte("MSRAS-0-LAPTOP")...), ms(35, []byte("MSRASV5.20")...)), vpn)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, &tt.r, tt.state, transport.Target{
				NASIdentifier: "nas-1", LocalAddr: netip.MustParseAddr("192.0.2.1"), Secret: tenant.Secret(secret),
			})
			compare(t, wire(p, 2, 55, 80), tt.want)
			if at := time.Unix(int64(binary.BigEndian.Uint32(p.Get(55))), 0); time.Since(at) > time.Minute || time.Until(at) > time.Second {
				t.Errorf("Event-Timestamp %s", at)
			}
			if n := len(p.Get(2)); (n == 16) != (tt.r.Method == tenant.AuthPAP) {
				t.Errorf("User-Password of %d octets", n)
			}
		})
	}
}

// RFC 2865 section 7, secret "xyzzy5461".
func TestRFC2865Section7Password(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request string
		r       authz.Request
		typ     radius.Type
	}{
		{
			"7.1 User-Password",
			`01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d
			 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8 01 10 05 06 00 00 00 03`,
			authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("arctangent")},
			2,
		},
		{
			"7.2 CHAP-Password",
			`01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9
			 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75 04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00
			 02 07 06 00 00 00 01`,
			authz.Request{Method: tenant.AuthCHAP, ID: 22},
			3,
		},
		{
			"7.3 User-Password",
			`01 02 00 39 f3 a4 7a 1f 6a 6d 76 71 0b 94 7a b9 30 41 a0 39 01 07 6d 6f 70 73 79 02 12 33 65 75
			 73 77 82 89 b5 70 88 5e 15 08 48 25 c5 04 06 c0 a8 01 10 05 06 00 00 00 07`,
			authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("challenge")},
			2,
		},
		{
			"7.3 User-Password, response",
			`01 03 00 43 b1 22 55 6d 42 8a 13 d0 d6 25 38 07 c4 57 ec f0 01 07 6d 6f 70 73 79 02 12 69 2c 1f
			 20 5f c0 81 b9 19 b9 51 95 f5 61 a5 81 04 06 c0 a8 01 10 05 06 00 00 00 07 18 0a 33 32 37 36 39
			 34 33 30`,
			authz.Request{Method: tenant.AuthPAP, Password: tenant.Secret("99101462")},
			2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := radius.Parse(unhex(t, tt.request), nil)
			if err != nil {
				t.Fatal(err)
			}
			sum := chap.MD5Response(tt.r.ID, []byte("arctangent"), p.Authenticator[:])
			tt.r.Response, tt.r.Challenge, tt.r.User = sum[:], p.Authenticator[:], "nemo"
			got := build(t, &tt.r, nil, transport.Target{Secret: tenant.Secret("xyzzy5461"), Authenticator: p.Authenticator})
			if !bytes.Equal(got.Get(tt.typ), p.Get(tt.typ)) {
				t.Errorf("got %x, want %x", got.Get(tt.typ), p.Get(tt.typ))
			}
		})
	}
}
