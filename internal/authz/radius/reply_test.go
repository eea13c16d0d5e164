package radius

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
)

const proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56"

func success(id byte, text string) []byte { return ms(msCHAP2Success, append([]byte{id}, text...)...) }
func failure(id byte, text string) []byte { return ms(msCHAPError, append([]byte{id}, text...)...) }
func words(typ radius.Type, s string) []byte {
	return attr(typ, []byte(s)...)
}

func mikrotik(s string) []byte { return vsa(vendorMikrotik, mikrotikRateLimit, []byte(s)...) }

func wispr(typ radius.Type, bps uint32) []byte {
	return vsa(vendorWISPr, typ, binary.BigEndian.AppendUint32(nil, bps)...)
}

func ascend(typ radius.Type, bps uint32) []byte {
	return vsa(vendorAscend, typ, binary.BigEndian.AppendUint32(nil, bps)...)
}

// key is an MPPE key as encrypted for a request with an authenticator of zeros.
func mppeKey(typ radius.Type, key []byte) []byte {
	v, err := radius.NewTunnelPassword(key, []byte{0x80 | byte(typ), 1}, []byte(secret), make([]byte, 16))
	if err != nil {
		panic(err)
	}
	return ms(typ, v...)
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// interpretations are replies to exchange 7 and what is made of them. The Detail is compared word by word with detail.
var interpretations = []struct {
	name   string
	code   radius.Code
	method tenant.AuthMethod
	wanted bool // MPPEWanted
	attrs  []byte
	want   authz.Verdict
	detail []string // what it must hold; none: it must be empty
}{
	{name: "accept", code: radius.CodeAccessAccept},
	{name: "everything", code: radius.CodeAccessAccept, attrs: join(
		attr(rfc2865.ServiceType_Type, 0, 0, 0, 2), attr(rfc2865.FramedProtocol_Type, 0, 0, 0, 1),
		attr(rfc2865.FramedIPAddress_Type, 10, 9, 0, 7), attr(rfc2865.FramedMTU_Type, 0, 0, 5, 0x78),
		words(rfc2865.ReplyMessage_Type, "Welcome,"), words(rfc2865.ReplyMessage_Type, " alice\x1b[31m\r\n"),
		words(rfc2865.FramedRoute_Type, "10.20.0.9/16 0.0.0.0 1"), words(rfc2865.FramedRoute_Type, "10.30.0.0/24"),
		attr(rfc2865.Class_Type, 0, 1), attr(rfc2865.Class_Type, 2),
		attr(rfc2865.SessionTimeout_Type, 0, 0, 0x0e, 0x10), attr(rfc2865.IdleTimeout_Type, 0, 0, 0, 60),
		words(rfc2869.FramedPool_Type, "staff"),
		ms(msPrimaryDNS, 10, 0, 0, 53), ms(msSecondaryDNS, 10, 0, 1, 53), ms(msSecondaryNBNS, 10, 0, 0, 2),
		ms(msMPPEPolicy, 0, 0, 0, 2), ms(msMPPETypes, 0, 0, 0, 0xe),
		mppeKey(msMPPESendKey, []byte("0123456789abcdef")), mppeKey(msMPPERecvKey, []byte("fedcba9876543210")),
		attr(250, 1, 2, 3), attr(26, 0, 0, 0, 9, 1, 3, 'x'),
	), want: authz.Verdict{
		Address: netip.MustParseAddr("10.9.0.7"), MTU: 1400, Message: "Welcome, alice [31m",
		Routes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("10.30.0.0/24")},
		Class:  [][]byte{{0, 1}, {2}}, SessionTimeout: time.Hour, IdleTimeout: time.Minute, Pool: "staff",
		DNS: addrs("10.0.0.53", "10.0.1.53"), WINS: addrs("10.0.0.2"),
		MPPEPolicy: tenant.MPPERequired, MPPEKeyBits: []int{128, 56, 40},
		Keys: tenant.KeyPair{Send: tenant.Secret("0123456789abcdef"), Recv: tenant.Secret("fedcba9876543210")},
	}},
	{
		name: "several in one Vendor-Specific", code: radius.CodeAccessAccept, attrs: attr(26,
			0, 0, 1, 0x37, byte(msMPPEPolicy), 6, 0, 0, 0, 1, byte(msMPPETypes), 6, 0, 0, 0, 4),
		want: authz.Verdict{MPPEPolicy: tenant.MPPEOptional, MPPEKeyBits: []int{128}},
	},
	{name: "the first of what may come once", code: radius.CodeAccessAccept, attrs: join(
		attr(rfc2865.FramedMTU_Type, 0, 0, 5, 0x78), attr(rfc2865.FramedMTU_Type, 0, 0, 5, 0)), want: authz.Verdict{MTU: 1400}},
	{name: "broken Vendor-Specific", code: radius.CodeAccessAccept, attrs: join(
		attr(26, 0, 0, 1), attr(26, 0, 0, 1, 0x37), attr(26, 0, 0, 1, 0x37, 7), attr(26, 0, 0, 1, 0x37, 7, 0),
		attr(26, 0, 0, 1, 0x37, 7, 1), attr(26, 0, 0, 1, 0x37, 7, 200, 1), attr(26, 0, 0, 1, 0x37, 7, 2))},
	{name: "address of the pool, 255.255.255.254", code: radius.CodeAccessAccept, attrs: attr(8, 255, 255, 255, 254)},
	{name: "address of the pool, 255.255.255.255", code: radius.CodeAccessAccept, attrs: attr(8, 255, 255, 255, 255)},
	{name: "loopback address", code: radius.CodeAccessAccept, attrs: attr(8, 127, 0, 0, 1), detail: []string{"127.0.0.1"}},
	{name: "multicast address", code: radius.CodeAccessAccept, attrs: attr(8, 224, 0, 0, 1), detail: []string{"224.0.0.1"}},
	{name: "address 0.0.0.0", code: radius.CodeAccessAccept, attrs: attr(8, 0, 0, 0, 0), detail: []string{"0.0.0.0"}},
	{name: "MTU out of range", code: radius.CodeAccessAccept, attrs: attr(12, 0, 0, 0, 63), detail: []string{"Framed-MTU 63"}},
	{
		name: "route that is none", code: radius.CodeAccessAccept, attrs: words(22, "default"),
		detail: []string{"Framed-Route", "default"},
	},
	{name: "filter", code: radius.CodeAccessAccept, attrs: words(11, "web-only"), detail: []string{`Filter-Id "web-only"`}},
	{name: "termination action", code: radius.CodeAccessAccept, attrs: attr(29, 0, 0, 0, 1), detail: []string{"Termination-Action"}},
	{name: "unknown MPPE policy", code: radius.CodeAccessAccept, attrs: ms(msMPPEPolicy, 0, 0, 0, 3), detail: []string{"Policy 3"}},
	{
		name: "longest session timeout", code: radius.CodeAccessAccept, attrs: attr(27, 255, 255, 255, 255),
		want: authz.Verdict{SessionTimeout: (1<<32 - 1) * time.Second},
	},

	{
		name: "Mikrotik-Rate-Limit", code: radius.CodeAccessAccept, attrs: mikrotik("512k/10M"),
		want: authz.Verdict{UpBps: new(uint64(512_000)), DownBps: new(uint64(10_000_000))},
	},
	{
		name: "Mikrotik-Rate-Limit, unlimited up", code: radius.CodeAccessAccept, attrs: mikrotik("0/10M"),
		want: authz.Verdict{UpBps: new(uint64(0)), DownBps: new(uint64(10_000_000))},
	},
	{
		name: "Mikrotik-Rate-Limit, bursts", code: radius.CodeAccessAccept, attrs: mikrotik("64k 256k"),
		want:   authz.Verdict{UpBps: new(uint64(64_000)), DownBps: new(uint64(64_000))},
		detail: []string{"only the rate", `not "256k"`},
	},
	{
		name: "Mikrotik-Rate-Limit that is none", code: radius.CodeAccessAccept,
		attrs:  join(mikrotik("fast\x1b"), wispr(wisprMaxUp, 1_000_000)),
		want:   authz.Verdict{UpBps: new(uint64(1_000_000))},
		detail: []string{`Mikrotik-Rate-Limit "fast" is not applied`},
	},
	{
		name: "rates out of range", code: radius.CodeAccessAccept, attrs: mikrotik("1k/999G"),
		want:   authz.Verdict{UpBps: new(uint64(8_000)), DownBps: new(uint64(100_000_000_000))},
		detail: []string{"1000 bits a second", "8000 is applied", "999000000000", "100000000000 is applied"},
	},
	{
		name: "WISPr", code: radius.CodeAccessAccept, attrs: join(wispr(wisprMaxUp, 256_000), wispr(wisprMaxDown, 4_000_000_000)),
		want: authz.Verdict{UpBps: new(uint64(256_000)), DownBps: new(uint64(4_000_000_000))},
	},
	{
		name: "WISPr down alone", code: radius.CodeAccessAccept, attrs: wispr(wisprMaxDown, 1_000_000),
		want: authz.Verdict{DownBps: new(uint64(1_000_000))},
	},
	{
		name: "Ascend-Data-Rate alone is both", code: radius.CodeAccessAccept, attrs: ascend(ascendDataRate, 1_000_000),
		want: authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(1_000_000))},
	},
	{
		name: "two Ascend-Data-Rate are down and up", code: radius.CodeAccessAccept,
		attrs: join(ascend(ascendDataRate, 2_000_000), ascend(ascendDataRate, 1_000_000)),
		want:  authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(2_000_000))},
	},
	{
		name: "Ascend-Data-Rate and Ascend-Xmit-Rate are up and down", code: radius.CodeAccessAccept,
		attrs: join(ascend(ascendDataRate, 1_000_000), ascend(ascendXmitRate, 2_000_000)),
		want:  authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(2_000_000))},
	},
	{
		name: "Mikrotik before Ascend before WISPr", code: radius.CodeAccessAccept,
		attrs: join(wispr(wisprMaxUp, 8_001), wispr(wisprMaxDown, 8_002), ascend(ascendDataRate, 8_003), mikrotik("9k/10k")),
		want:  authz.Verdict{UpBps: new(uint64(9_000)), DownBps: new(uint64(10_000))},
	},
	{
		name: "Ascend before WISPr, each way", code: radius.CodeAccessAccept,
		attrs: join(wispr(wisprMaxUp, 8_001), ascend(ascendXmitRate, 8_003), wispr(wisprMaxDown, 8_002)),
		want:  authz.Verdict{UpBps: new(uint64(8_001)), DownBps: new(uint64(8_003))},
	},
	{
		name: "rate of wrong length", code: radius.CodeAccessAccept, attrs: vsa(vendorWISPr, wisprMaxUp, 1, 2, 3),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"WISPr-Bandwidth-Max-Up", "length"},
	},

	{
		name: "Service-Type Login", code: radius.CodeAccessAccept, attrs: attr(6, 0, 0, 0, 1),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one accepted, but", "Service-Type"},
	},
	{
		name: "Framed-Protocol SLIP", code: radius.CodeAccessAccept, attrs: attr(7, 0, 0, 0, 2),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"Framed-Protocol"},
	},
	{
		name: "attribute of wrong length", code: radius.CodeAccessAccept,
		attrs: join(attr(8, 10, 9, 0, 7), words(18, "hi"), attr(27, 0, 0, 1)),
		want:  authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"Session-Timeout", "length"},
	},
	{
		name: "vendor attribute of wrong length", code: radius.CodeAccessAccept, attrs: ms(msPrimaryDNS, 1, 2, 3),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"MS-Primary-DNS-Server", "length"},
	},

	{
		name: "MS-CHAPv2", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2, attrs: success(7, proof),
		want: authz.Verdict{Success: proof},
	},
	{
		name: "MS-CHAPv2 with a message", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: success(7, proof+" M=Hello"), want: authz.Verdict{Success: proof, Message: "Hello"},
	},
	{
		name: "MS-CHAPv2, Reply-Message first", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: join(success(7, proof+" M=Hello"), words(18, "Hi")), want: authz.Verdict{Success: proof, Message: "Hi"},
	},
	{
		name: "MS-CHAPv2 without MS-CHAP2-Success", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: join(attr(8, 10, 9, 0, 7), mppeKey(msMPPESendKey, make([]byte, 16)), mppeKey(msMPPERecvKey, make([]byte, 16))),
		want:  authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one accepted, but", "no MS-CHAP2-Success"},
	},
	{
		name: "MS-CHAPv2, other exchange", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2, attrs: success(8, proof),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"exchange 8", "7"},
	},
	{
		name: "MS-CHAPv2, short proof", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: success(7, proof[:41]), want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"40 hex"},
	},
	{
		name: "MS-CHAPv2, no hex", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: success(7, proof[:41]+"G"), want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"40 hex"},
	},
	{
		name: "MS-CHAPv2, identifier alone", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2,
		attrs: success(7, ""), want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"40 hex"},
	},

	{
		name: "no keys", code: radius.CodeAccessAccept, method: tenant.AuthMSCHAPv2, wanted: true, attrs: success(7, proof),
		want: authz.Verdict{Success: proof}, detail: []string{"no MS-MPPE-Send-Key"},
	},
	{
		name: "one key", code: radius.CodeAccessAccept, attrs: mppeKey(msMPPESendKey, make([]byte, 16)),
		detail: []string{"one MPPE key"},
	},
	{
		name: "key of 8 octets", code: radius.CodeAccessAccept, wanted: true,
		attrs: join(mppeKey(msMPPESendKey, []byte("12345678")), mppeKey(msMPPERecvKey, []byte("87654321"))),
		want:  authz.Verdict{Keys: tenant.KeyPair{Send: tenant.Secret("12345678"), Recv: tenant.Secret("87654321")}},
	},
	{
		name: "key of 7 octets", code: radius.CodeAccessAccept, attrs: mppeKey(msMPPESendKey, make([]byte, 7)),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"MS-MPPE-Send-Key", "7 octets"},
	},
	{
		name: "key that does not decrypt", code: radius.CodeAccessAccept, attrs: ms(msMPPERecvKey, make([]byte, 34)...),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"MS-MPPE-Recv-Key", "decrypt"},
	},

	{
		name: "reject", code: radius.CodeAccessReject, attrs: words(18, "account disabled"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: "account disabled"}, detail: []string{"one rejected"},
	},
	{
		name: "reject gives nothing", code: radius.CodeAccessReject,
		attrs: join(attr(8, 10, 9, 0, 7), attr(25, 1), attr(27, 0), success(7, proof)),
		want:  authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one rejected"},
	},
	{
		name: "691, may retry", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2,
		attrs:  failure(7, "E=691 R=1 C=000102030405060708090a0b0c0d0e0f V=3 M=Wrong again"),
		want:   authz.Verdict{Deny: tenant.ReasonRadiusReject, Retry: true, Message: "Wrong again"},
		detail: []string{"E=691", "wrong user name or password"},
	},
	{
		name: "691, may not", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "E=691 R=0 V=3"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"E=691"},
	},
	{
		name: "647", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "E=647 R=1 V=3"),
		want: authz.Verdict{Deny: tenant.ReasonUserDisabled}, detail: []string{"E=647", "disabled"},
	},
	{
		name: "648", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2,
		attrs:  join(words(18, "Renew it"), failure(7, "E=0000000648 R=1 V=3 M=Expired")),
		want:   authz.Verdict{Deny: tenant.ReasonUserExpired, Message: "Renew it"},
		detail: []string{"E=648", "expired"},
	},
	{
		name: "649", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "E=649 R=0 V=3"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"E=649", "dial in"},
	},
	{
		name: "error without identifier", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2,
		attrs: ms(msCHAPError, []byte("E=647 R=0 V=3")...),
		want:  authz.Verdict{Deny: tenant.ReasonUserDisabled}, detail: []string{"E=647"},
	},
	{
		name: "error of another exchange", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2,
		attrs: failure(8, "E=647 R=1 V=3"),
		want:  authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one rejected", "exchange 8"},
	},
	{
		name: "error that is none", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "no"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"MS-CHAP-Error", `"no"`},
	},
	{
		name: "error for PAP", code: radius.CodeAccessReject, method: tenant.AuthPAP, attrs: failure(7, "E=647 R=1 V=3"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one rejected"},
	},
	{
		name: "challenge", code: radius.CodeAccessChallenge, attrs: join(words(18, "Enter the code"), attr(24, 1, 2, 3)),
		want:   authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: "Enter the code"},
		detail: []string{"Access-Challenge", "not supported"},
	},
}

func TestInterpret(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	for _, tt := range interpretations {
		t.Run(tt.name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = tenant.AuthPAP
			}
			got := interpret(answerOf{code: tt.code, attrs: tt.attrs}.build(query), answering{
				server: "one", method: tt.method, id: 7, mppeWanted: tt.wanted, secret: tenant.Secret(secret),
			})
			if len(tt.detail) == 0 && got.Detail != "" {
				t.Errorf("detail %q, want none", got.Detail)
			}
			for _, w := range tt.detail {
				if !strings.Contains(got.Detail, w) {
					t.Errorf("detail %q lacks %q", got.Detail, w)
				}
			}
			got.Detail = ""
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
		})
	}
}

func TestDetailIsBounded(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	b := answerOf{code: radius.CodeAccessAccept, attrs: bytes.Repeat(words(11, strings.Repeat("é", 100)), 19)}.build(query)
	got := interpret(b, answering{method: tenant.AuthPAP})
	if len(got.Detail) > maxDetail || len(got.Detail) < maxDetail-3 || strings.ToValidUTF8(got.Detail, "") != got.Detail {
		t.Errorf("a detail of %d octets: %q", len(got.Detail), got.Detail)
	}
}

func TestAskable(t *testing.T) {
	chapRequest := authz.Request{User: "a", PeerName: "a", Method: tenant.AuthCHAP, Challenge: make([]byte, 16), Response: make([]byte, 16)}
	v2 := authz.Request{User: "a", PeerName: "a", Method: tenant.AuthMSCHAPv2, Challenge: make([]byte, 16), Response: make([]byte, 49)}
	for _, tt := range []struct {
		name   string
		r      authz.Request
		change func(*authz.Request)
		want   tenant.Reason
	}{
		{"PAP", papRequest(), func(*authz.Request) {}, ""},
		{"PAP, empty password", papRequest(), func(r *authz.Request) { r.Password = nil }, ""},
		{"PAP, longest", papRequest(), func(r *authz.Request) { r.Password = make([]byte, 128); r.User = strings.Repeat("x", 253) }, ""},
		{"PAP, longer", papRequest(), func(r *authz.Request) { r.Password = make([]byte, 129) }, tenant.ReasonWrongCredentials},
		{"name too long", papRequest(), func(r *authz.Request) { r.User = strings.Repeat("x", 254) }, tenant.ReasonWrongCredentials},
		{"no name", papRequest(), func(r *authz.Request) { r.User, r.PeerName = "", "" }, tenant.ReasonWrongCredentials},
		{"CHAP", chapRequest, func(*authz.Request) {}, ""},
		{"CHAP, response", chapRequest, func(r *authz.Request) { r.Response = r.Response[1:] }, tenant.ReasonProtocolError},
		{"CHAP, no challenge", chapRequest, func(r *authz.Request) { r.Challenge = nil }, tenant.ReasonProtocolError},
		{"CHAP, challenge too long", chapRequest, func(r *authz.Request) { r.Challenge = make([]byte, 254) }, tenant.ReasonProtocolError},
		{"MS-CHAPv2", v2, func(*authz.Request) {}, ""},
		{"MS-CHAPv2, response", v2, func(r *authz.Request) { r.Response = r.Response[1:] }, tenant.ReasonProtocolError},
		{"MS-CHAPv2, challenge", v2, func(r *authz.Request) { r.Challenge = r.Challenge[1:] }, tenant.ReasonProtocolError},
		{"EAP", papRequest(), func(r *authz.Request) { r.Method = tenant.AuthEAP }, tenant.ReasonNoCommonAuthMethod},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change(&tt.r)
			v, ok := askable(tt.r)
			if ok != (tt.want == "") || v.Deny != tt.want || !ok && v.Detail == "" {
				t.Errorf("askable = %+v, %t, want %q", v, ok, tt.want)
			}
			if !ok {
				return
			}
			// What is askable can be built, with the longest of everything that we add.
			tt.r.SessionID = strings.Repeat("s", 300)
			if _, err := request(asking{
				Request: tt.r, nasIdentifier: strings.Repeat("n", 253), secret: tenant.Secret(secret),
				nasAddress: netip.IPv6Loopback(),
			}, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUserName(t *testing.T) {
	for _, tt := range []struct {
		method         tenant.AuthMethod
		user, peerName string
		want           string
	}{
		{tenant.AuthPAP, "alice", "alice@acme", "alice"},
		{tenant.AuthCHAP, "alice", `ACME\alice`, "alice"},
		{tenant.AuthPAP, "", "alice", "alice"},
		{tenant.AuthMSCHAPv2, "alice", "alice", "alice"},
		{tenant.AuthMSCHAPv2, "alice", `ACME\alice`, "alice"},
		{tenant.AuthMSCHAPv2, `ACME\alice`, `ACME\alice`, `ACME\alice`},
		{tenant.AuthMSCHAPv2, "alice", "alice@acme", "alice@acme"}, // the peer hashed it with the realm
	} {
		r := authz.Request{Method: tt.method, User: tt.user, PeerName: tt.peerName}
		if got := userName(r); got != tt.want {
			t.Errorf("%s, %s of %s: %q, want %q", tt.method, tt.user, tt.peerName, got, tt.want)
		}
	}
}

func TestRequestAttributes(t *testing.T) {
	v2 := papRequest()
	v2.Method, v2.ID, v2.Challenge = tenant.AuthMSCHAPv2, 9, bytes.Repeat([]byte{0xaa}, 16)
	v2.Response = append(bytes.Repeat([]byte{0xbb}, 48), 0xcc)
	md5 := papRequest()
	md5.Method, md5.ID, md5.Challenge, md5.Response = tenant.AuthCHAP, 9, []byte("0123456789"), bytes.Repeat([]byte{0xdd}, 16)
	l2tp := papRequest()
	l2tp.Protocol, l2tp.SessionID = tenant.ProtocolL2TPIPsec, ""
	l2tp.ClientAddress, l2tp.ListenerAddress = netip.MustParseAddr("::ffff:198.51.100.7"), netip.MustParseAddr("2001:db8::1")

	build := func(r authz.Request) *radius.Packet {
		b, err := request(asking{
			Request: r, nasIdentifier: "nas-1", nasAddress: netip.MustParseAddr("192.0.2.1"), secret: tenant.Secret(secret),
		}, 1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := radius.Parse(b, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	all := func(p *radius.Packet) (out []string) {
		for _, a := range p.Attributes {
			if a.Type != 80 && a.Type != 2 {
				out = append(out, string(attr(a.Type, a.Attribute...)))
			}
		}
		return out
	}
	common := []string{
		string(attr(6, 0, 0, 0, 2)), string(attr(7, 0, 0, 0, 1)), string(words(32, "nas-1")), string(attr(4, 192, 0, 2, 1)),
		string(attr(5, 0, 0, 0, 17)), string(attr(61, 0, 0, 0, 5)), string(words(31, "198.51.100.7")),
	}
	pptp := append(slices.Clone(common), string(words(30, "192.0.2.1")), string(words(44, "s-1")),
		string(attr(64, 0, 0, 0, 1)), string(attr(65, 0, 0, 0, 1)), string(words(66, "198.51.100.7")), string(words(67, "192.0.2.1")))
	for _, tt := range []struct {
		name string
		r    authz.Request
		want []string
	}{
		{"PAP", papRequest(), append([]string{string(words(1, "alice"))}, pptp...)},
		{"CHAP", md5, append([]string{
			string(words(1, "alice")), string(attr(3, append([]byte{9}, md5.Response...)...)), string(words(60, "0123456789")),
		}, pptp...)},
		{"MS-CHAPv2", v2, append([]string{
			string(words(1, "alice")), string(ms(11, v2.Challenge...)),
			string(ms(25, append([]byte{9, 0xcc}, v2.Response[:48]...)...)),
		}, pptp...)},
		{"L2TP", l2tp, append(append([]string{string(words(1, "alice"))}, common...), string(words(30, "2001:db8::1")),
			string(attr(64, 0, 0, 0, 3)), string(attr(65, 0, 0, 0, 1)), string(words(66, "198.51.100.7")), string(words(67, "2001:db8::1")))},
	} {
		if got := all(build(tt.r)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
	if p := build(papRequest()); len(p.Get(2)) != 16 {
		t.Errorf("User-Password of %d octets, want 16", len(p.Get(2)))
	}
}

var framedRoutes = []struct{ in, want string }{
	{"10.20.0.0/16", "10.20.0.0/16"},
	{"10.20.0.0/16 0.0.0.0 1", "10.20.0.0/16"},
	{"  192.168.1.0/24 192.168.1.1 1 2 -1 3 400", "192.168.1.0/24"},
	{"10.20.30.40/16 10.0.0.1", "10.20.0.0/16"},
	{"10.20.30.40/32", "10.20.30.40/32"},
	{"0.0.0.0/0 0.0.0.0 1", "0.0.0.0/0"},
	{"10.0.0.0 10.0.0.1 1", "10.0.0.0/8"},
	{"172.16.0.0", "172.16.0.0/16"},
	{"192.168.7.0 0.0.0.0", "192.168.7.0/24"},
	{"192.168.7.0/24\x00", "192.168.7.0/24"},
	{"", ""},
	{" ", ""},
	{"default", ""},
	{"10.0.0.0/33", ""},
	{"10.0.0.0/-1", ""},
	{"10.0.0/8", ""},
	{"2001:db8::/32", ""},
	{"2001:db8::", ""},
	{"224.0.0.0/4", ""},
	{"239.1.2.3", ""},
	{"/8", ""},
}

func TestParseFramedRoute(t *testing.T) {
	for _, tt := range framedRoutes {
		p, err := ParseFramedRoute(tt.in)
		if (err == nil) != (tt.want != "") || err == nil && p.String() != tt.want {
			t.Errorf("ParseFramedRoute(%q) = %s, %v, want %q", tt.in, p, err, tt.want)
		}
	}
}

func FuzzParseFramedRoute(f *testing.F) {
	for _, tt := range framedRoutes {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseFramedRoute(s)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || !p.Addr().Is4() {
			t.Fatalf("ParseFramedRoute(%q) = %s", s, p)
		}
		if again, err := ParseFramedRoute(p.String()); err != nil || again != p {
			t.Fatalf("%s reads back as %s, %v", p, again, err)
		}
	})
}

func TestDropNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range Drop(NumDrops) {
		if n := d.String(); n == "" || n == "unknown" || seen[n] {
			t.Errorf("drop %d is called %q", d, n)
		} else {
			seen[n] = true
		}
	}
	if Drop(NumDrops).String() != "unknown" {
		t.Error("a drop beyond the table has a name")
	}
}
