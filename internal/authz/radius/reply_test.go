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
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

const proof = "S=407A5589115FD0D6209F510FE9C04566932CDA56"

func success(id byte, text string) []byte { return ms(26, append([]byte{id}, text...)...) }
func failure(id byte, text string) []byte { return ms(2, append([]byte{id}, text...)...) }
func words(typ radius.Type, s string) []byte {
	return attr(typ, []byte(s)...)
}

func mikrotik(s string) []byte { return vsa(vendorMikrotik, 8, []byte(s)...) }

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

// msk is the Master Session Key of EAP.
var msk = []byte("recv-key-0123456789abcdef-0123456send-key-0123456789abcdef-0123456")

// longEAP is an EAP Request that takes two attributes.
var longEAP = eapPacket(1, 9, bytes.Repeat([]byte{13}, 400)...)

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
		ms(28, 10, 0, 0, 53), ms(29, 10, 0, 1, 53), ms(31, 10, 0, 0, 2),
		ms(7, 0, 0, 0, 2), ms(8, 0, 0, 0, 0xe),
		mppeKey(16, []byte("0123456789abcdef")), mppeKey(17, []byte("fedcba9876543210")),
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
			0, 0, 1, 0x37, byte(7), 6, 0, 0, 0, 1, byte(8), 6, 0, 0, 0, 4),
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
	{
		name: "filter, the last one", code: radius.CodeAccessAccept, attrs: join(words(11, "all.in"), words(11, "web-only.in")),
		want: authz.Verdict{ACL: "web-only.in"},
	},
	{name: "termination action", code: radius.CodeAccessAccept, attrs: attr(29, 0, 0, 0, 1), detail: []string{"Termination-Action"}},
	{name: "unknown MPPE policy", code: radius.CodeAccessAccept, attrs: ms(7, 0, 0, 0, 3), detail: []string{"Policy 3"}},
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
		attrs:  join(mikrotik("fast\x1b"), wispr(7, 1_000_000)),
		want:   authz.Verdict{UpBps: new(uint64(1_000_000))},
		detail: []string{`Mikrotik-Rate-Limit "fast" is not applied`},
	},
	{
		name: "rates out of range", code: radius.CodeAccessAccept, attrs: mikrotik("1k/999G"),
		want:   authz.Verdict{UpBps: new(uint64(8_000)), DownBps: new(uint64(100_000_000_000))},
		detail: []string{"1000 bits a second", "8000 is applied", "999000000000", "100000000000 is applied"},
	},
	{
		name: "WISPr", code: radius.CodeAccessAccept, attrs: join(wispr(7, 256_000), wispr(8, 4_000_000_000)),
		want: authz.Verdict{UpBps: new(uint64(256_000)), DownBps: new(uint64(4_000_000_000))},
	},
	{
		name: "WISPr down alone", code: radius.CodeAccessAccept, attrs: wispr(8, 1_000_000),
		want: authz.Verdict{DownBps: new(uint64(1_000_000))},
	},
	{
		name: "Ascend-Data-Rate alone is both", code: radius.CodeAccessAccept, attrs: ascend(197, 1_000_000),
		want: authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(1_000_000))},
	},
	{
		name: "two Ascend-Data-Rate are down and up", code: radius.CodeAccessAccept,
		attrs: join(ascend(197, 2_000_000), ascend(197, 1_000_000)),
		want:  authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(2_000_000))},
	},
	{
		name: "Ascend-Data-Rate and Ascend-Xmit-Rate are up and down", code: radius.CodeAccessAccept,
		attrs: join(ascend(197, 1_000_000), ascend(255, 2_000_000)),
		want:  authz.Verdict{UpBps: new(uint64(1_000_000)), DownBps: new(uint64(2_000_000))},
	},
	{
		name: "Mikrotik before Ascend before WISPr", code: radius.CodeAccessAccept,
		attrs: join(wispr(7, 8_001), wispr(8, 8_002), ascend(197, 8_003), mikrotik("9k/10k")),
		want:  authz.Verdict{UpBps: new(uint64(9_000)), DownBps: new(uint64(10_000))},
	},
	{
		name: "Ascend before WISPr, each way", code: radius.CodeAccessAccept,
		attrs: join(wispr(7, 8_001), ascend(255, 8_003), wispr(8, 8_002)),
		want:  authz.Verdict{UpBps: new(uint64(8_001)), DownBps: new(uint64(8_003))},
	},
	{
		name: "rate of wrong length", code: radius.CodeAccessAccept, attrs: vsa(vendorWISPr, 7, 1, 2, 3),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"WISPr-Bandwidth-Max-Up", "length"},
	},

	{
		name: "accounting", code: radius.CodeAccessAccept, attrs: join(
			words(1, "ALICE"), ms(10, 7, 'A', 'C', 'M', 'E'), attr(85, 0, 0, 1, 0x2c), attr(62, 0, 0, 0, 2)),
		want: authz.Verdict{UserName: "ALICE", Domain: "ACME", InterimInterval: 5 * time.Minute, MaxSessions: 2},
	},
	{
		name: "short interim interval", code: radius.CodeAccessAccept, attrs: attr(85, 0, 0, 0, 59),
		want: authz.Verdict{InterimInterval: time.Minute}, detail: []string{"Acct-Interim-Interval 59s", "1m0s is applied"},
	},
	{name: "no interim records", code: radius.CodeAccessAccept, attrs: attr(85, 0, 0, 0, 0)},
	{name: "no sessions", code: radius.CodeAccessAccept, attrs: attr(62, 0, 0, 0, 0), detail: []string{"Port-Limit 0"}},
	{name: "netmask of a host", code: radius.CodeAccessAccept, attrs: attr(9, 255, 255, 255, 255)},
	{
		name: "netmask of a network", code: radius.CodeAccessAccept, attrs: attr(9, 255, 255, 255, 0),
		detail: []string{"Framed-IP-Netmask 255.255.255.0", "Framed-Route"},
	},
	{
		name: "too much Class", code: radius.CodeAccessAccept, attrs: bytes.Repeat(attr(25, make([]byte, 250)...), 9),
		want: authz.Verdict{Class: slices.Repeat([][]byte{make([]byte, 250)}, 8)}, detail: []string{"2048"},
	},
	{
		name: "quota", code: radius.CodeAccessAccept, attrs: vsa(vendorMikrotik, 17, 0, 0, 0, 1),
		detail: []string{"Mikrotik-Total-Limit is not applied"},
	},
	{name: "IPv6", code: radius.CodeAccessAccept, attrs: attr(97, 0, 64), detail: []string{"Framed-IPv6-Prefix is not applied"}},
	{
		name: "end in the past", code: radius.CodeAccessAccept, attrs: vsa(vendorWISPr, 9, []byte("2001-02-03T04:05:06+01:00")...),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"WISPr-Session-Terminate-Time", "past"},
	},
	{
		name: "end that is no time", code: radius.CodeAccessAccept, attrs: vsa(vendorWISPr, 9, []byte("tomorrow")...),
		detail: []string{"WISPr-Session-Terminate-Time", "tomorrow"},
	},

	{name: "EAP, no message", code: radius.CodeAccessAccept, method: tenant.AuthEAP},
	{
		name: "EAP Success", code: radius.CodeAccessAccept, method: tenant.AuthEAP, wanted: true,
		attrs: join(attr(79, 3, 9, 0, 4), mppeKey(16, msk[32:]), mppeKey(17, msk[:32])),
		want: authz.Verdict{
			EAP: []byte{3, 9, 0, 4}, Keys: tenant.KeyPair{Send: tenant.Secret(msk[32:48]), Recv: tenant.Secret(msk[:16])},
		},
	},
	{
		name: "accept with EAP Failure", code: radius.CodeAccessAccept, method: tenant.AuthEAP, attrs: attr(79, 4, 9, 0, 4),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one accepted, but", "no EAP Success"},
	},
	{
		name: "accept with EAP Request", code: radius.CodeAccessAccept, method: tenant.AuthEAP, attrs: attr(79, 1, 9, 0, 5, 1),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"no EAP Success"},
	},
	{
		name: "accept with broken EAP", code: radius.CodeAccessAccept, method: tenant.AuthEAP, attrs: attr(79, 3, 9, 0),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"no EAP Success"},
	},
	{
		name: "accept of PAP with EAP Failure", code: radius.CodeAccessAccept, attrs: attr(79, 4, 9, 0, 4),
	},
	{
		name: "EAP Failure", code: radius.CodeAccessReject, method: tenant.AuthEAP, attrs: attr(79, 4, 9, 0, 4),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject, EAP: []byte{4, 9, 0, 4}}, detail: []string{"one rejected"},
	},
	{
		name: "reject with EAP Success", code: radius.CodeAccessReject, method: tenant.AuthEAP, attrs: attr(79, 3, 9, 0, 4),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"one rejected"},
	},
	{
		name: "EAP Request", code: radius.CodeAccessChallenge, method: tenant.AuthEAP,
		attrs: join(attr(79, longEAP[:253]...), attr(24, 1, 2), attr(79, longEAP[253:]...), attr(27, 0, 0, 0, 30)),
		want: authz.Verdict{Next: &authz.Step{
			EAP: longEAP, Timeout: 30 * time.Second, State: &conversation{server: "one", state: []byte{1, 2}},
		}},
	},
	{
		name: "EAP Request without State", code: radius.CodeAccessChallenge, method: tenant.AuthEAP, attrs: attr(79, 1, 9, 0, 5, 4),
		want: authz.Verdict{Next: &authz.Step{EAP: []byte{1, 9, 0, 5, 4}, State: &conversation{server: "one"}}},
	},
	{
		name: "challenge without EAP", code: radius.CodeAccessChallenge, method: tenant.AuthEAP, attrs: attr(24, 1, 2),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"no EAP-Message"},
	},
	{
		name: "challenge with EAP Success", code: radius.CodeAccessChallenge, method: tenant.AuthEAP, attrs: attr(79, 3, 9, 0, 4),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"no EAP Request"},
	},
	{
		name: "challenge with cut EAP", code: radius.CodeAccessChallenge, method: tenant.AuthEAP, attrs: attr(79, 1, 9, 0, 6, 4),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"no EAP Request"},
	},
	{
		name: "709", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "E=709 R=0 V=3 M=Too short"),
		want: authz.Verdict{Deny: tenant.ReasonUserExpired, Message: "Too short"}, detail: []string{"E=709", "could not be changed"},
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
		name: "vendor attribute of wrong length", code: radius.CodeAccessAccept, attrs: ms(28, 1, 2, 3),
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
		attrs: join(attr(8, 10, 9, 0, 7), mppeKey(16, make([]byte, 16)), mppeKey(17, make([]byte, 16))),
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
		name: "one key", code: radius.CodeAccessAccept, attrs: mppeKey(16, make([]byte, 16)),
		detail: []string{"one MPPE key"},
	},
	{
		name: "key of 8 octets", code: radius.CodeAccessAccept, wanted: true,
		attrs: join(mppeKey(16, []byte("12345678")), mppeKey(17, []byte("87654321"))),
		want:  authz.Verdict{Keys: tenant.KeyPair{Send: tenant.Secret("12345678"), Recv: tenant.Secret("87654321")}},
	},
	{
		name: "key of 7 octets", code: radius.CodeAccessAccept, attrs: mppeKey(16, make([]byte, 7)),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"MS-MPPE-Send-Key", "7 octets"},
	},
	{
		name: "key that does not decrypt", code: radius.CodeAccessAccept, attrs: ms(17, make([]byte, 34)...),
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
		want:   authz.Verdict{Deny: tenant.ReasonUserExpired, Message: "Renew it", ChangePassword: true},
		detail: []string{"E=648", "expired"},
	},
	{
		name: "649", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2, attrs: failure(7, "E=649 R=0 V=3"),
		want: authz.Verdict{Deny: tenant.ReasonRadiusReject}, detail: []string{"E=649", "dial in"},
	},
	{
		name: "error without identifier", code: radius.CodeAccessReject, method: tenant.AuthMSCHAPv2,
		attrs: ms(2, []byte("E=647 R=0 V=3")...),
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
		name: "challenge, PAP", code: radius.CodeAccessChallenge, attrs: join(words(18, "Enter the code"), attr(24, 1, 2, 3)),
		want:   authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: "Enter the code", Retry: true},
		detail: []string{"Access-Challenge", "1m0s"},
	},
	{
		name: "challenge, MS-CHAPv2", code: radius.CodeAccessChallenge, method: tenant.AuthMSCHAPv2,
		attrs:  join(words(18, "Enter the code"), attr(24, 1, 2, 3)),
		want:   authz.Verdict{Deny: tenant.ReasonRadiusReject, Message: "Enter the code"},
		detail: []string{"Access-Challenge", "no place"},
	},
}

func TestInterpret(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	for _, tt := range interpretations {
		t.Run(tt.name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = tenant.AuthPAP
			}
			got, _ := interpret(answerOf{code: tt.code, attrs: tt.attrs}.build(query), answering{
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
	b := answerOf{code: radius.CodeAccessAccept, attrs: bytes.Repeat(words(22, strings.Repeat("é", 100)), 19)}.build(query)
	got, _ := interpret(b, answering{method: tenant.AuthPAP})
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
		{"MS-CHAPv2, new password", v2, func(r *authz.Request) { r.NewPassword = make([]byte, 532) }, ""},
		{"MS-CHAPv2, short new password", v2, func(r *authz.Request) { r.NewPassword = make([]byte, 531) }, tenant.ReasonProtocolError},
		{"EAP", eapRequest(identity), func(*authz.Request) {}, ""},
		{"EAP, longest", eapRequest(eapPacket(2, 1, make([]byte, 1496)...)), func(*authz.Request) {}, ""},
		{"EAP, longer", eapRequest(eapPacket(2, 1, make([]byte, 1497)...)), func(*authz.Request) {}, tenant.ReasonProtocolError},
		{"EAP, cut", eapRequest(identity[:5]), func(*authz.Request) {}, tenant.ReasonProtocolError},
		{"EAP, none", eapRequest(nil), func(*authz.Request) {}, tenant.ReasonProtocolError},
		{"unknown method", papRequest(), func(r *authz.Request) { r.Method = "MD4" }, tenant.ReasonNoCommonAuthMethod},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change(&tt.r)
			v, ok := askable(&tt.r)
			if ok != (tt.want == "") || v.Deny != tt.want || !ok && v.Detail == "" {
				t.Errorf("askable = %+v, %t, want %q", v, ok, tt.want)
			}
			if !ok {
				return
			}
			// What is askable can be built, with the longest of everything that we add.
			tt.r.SessionID = strings.Repeat("s", 300)
			tt.r.TunnelClient, tt.r.TunnelID = strings.Repeat("t", 300), strings.Repeat("t", 300)
			tt.r.ClientName, tt.r.ClientVersion = strings.Repeat("c", 300), strings.Repeat("c", 300)
			build(t, &tt.r, bytes.Repeat([]byte{7}, 253), transport.Target{
				NASIdentifier: strings.Repeat("n", 253), LocalAddr: netip.IPv6Loopback(), Secret: tenant.Secret(secret),
			})
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
		if got := userName(&r); got != tt.want {
			t.Errorf("%s, %s of %s: %q, want %q", tt.method, tt.user, tt.peerName, got, tt.want)
		}
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
	corpus.Add(f)
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

func FuzzParseReply(f *testing.F) {
	corpus.Add(f)
	query := append([]byte{1, 7, 0, 20}, make([]byte, 16)...)
	for _, tt := range interpretations {
		f.Add(answerOf{code: tt.code, attrs: tt.attrs}.build(query))
	}
	secrets := []tenant.Secret{tenant.Secret(secret)}
	methods := []tenant.AuthMethod{tenant.AuthMSCHAPv2, tenant.AuthEAP, tenant.AuthPAP, tenant.AuthCHAP}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, drop := packet.Trim(b)
		if drop != packet.DropNone {
			return
		}
		_, _, drop = packet.Verify(p, radius.CodeAccessRequest, [16]byte{}, secrets)
		switch drop {
		case packet.DropCode, packet.DropAttributes, packet.DropManyAuthenticators, packet.DropAuthenticatorLength:
			return // what interpret never sees
		default:
		}
		for _, m := range methods {
			v, kept := interpret(p, answering{server: "one", method: m, id: 7, secret: secrets[0]})
			switch {
			case radius.Code(p[0]) != radius.CodeAccessAccept && v.Deny == "" && v.Next == nil:
				t.Fatal("let in without an Access-Accept")
			case v.Next != nil && (m != tenant.AuthEAP || v.Deny != "" || radius.Code(p[0]) != radius.CodeAccessChallenge):
				t.Fatal("a next step without an Access-Challenge for EAP")
			case m == tenant.AuthMSCHAPv2 && v.Deny == "" && v.Success == "":
				t.Fatal("MS-CHAPv2 let in without its proof")
			case len(v.Detail) > maxDetail:
				t.Fatalf("a detail of %d octets", len(v.Detail))
			case kept != nil && (m != tenant.AuthPAP || !v.Retry):
				t.Fatal("a challenge is kept that nobody can answer")
			}
		}
		if list := describe(p); len(list) > maxTraced+1 {
			t.Fatalf("a trace of %d attributes", len(list))
		}
	})
}
