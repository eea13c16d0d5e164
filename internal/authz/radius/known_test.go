package radius

import (
	"bytes"
	"net/netip"
	"testing"

	"layeh.com/radius"

	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/tenant"
)

// sizes are the octets that values of a kind of fixed size have.
var sizes = map[kind]int{kindInteger: 4, kindTagged: 4, kindAddress: 4, kindAddress6: 16, kindTime: 4}

// Each attribute that is read, in every length that it can have: one of a fixed size in another one makes a refusal, and no
// length breaks anything. Addresses, prefixes and interface identifiers of wrong length have been written over the stack of
// others (CVE-2021-42870, CVE-2022-0982).
func TestKnownAttributeLengths(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	unread := map[string]bool{} // only that they came is told
	for _, row := range unappliedAttributes {
		unread[row.name] = true
	}
	checked := 0
	for _, row := range attributes {
		for n := range 254 {
			if row.vendor != 0 && n > 247 {
				break // as long as a Vendor-Specific attribute holds
			}
			value := bytes.Repeat([]byte{'1'}, n)
			one := attr(row.typ, value...)
			if row.vendor != 0 {
				one = vsa(row.vendor, row.typ, value...)
			}
			for _, code := range []radius.Code{radius.CodeAccessAccept, radius.CodeAccessReject, radius.CodeAccessChallenge} {
				for _, m := range []tenant.AuthMethod{tenant.AuthPAP, tenant.AuthMSCHAPv2, tenant.AuthEAP} {
					if m != tenant.AuthPAP && n > 40 {
						continue
					}
					b := answerOf{code: code, attrs: one}.build(query)
					v, _ := interpret(b, answering{server: "one", method: m, id: 7, secret: tenant.Secret(secret)})
					if m == tenant.AuthPAP && len(describe(b)) > 2 { // and the Message-Authenticator
						t.Fatalf("%s of %d octets is traced as %v", row.name, n, describe(b))
					}
					if code != radius.CodeAccessAccept && v.Deny == "" && v.Next == nil {
						t.Fatalf("%s of %d octets lets somebody in", row.name, n)
					}
					size := sizes[row.kind]
					if code == radius.CodeAccessAccept && m == tenant.AuthPAP && size != 0 && n != 0 && n != size &&
						row.in&inAccept != 0 && row.set != nil && !unread[row.name] {
						checked++
						if v.Deny == "" {
							t.Errorf("%s of %d octets is taken", row.name, n)
						}
					}
				}
			}
		}
	}
	if checked < 20*200 {
		t.Errorf("only %d lengths were checked", checked)
	}
	// What is not in the table is ignored in any length: RFC 5447's home network prefix is one of those.
	for _, typ := range []radius.Type{97, 96, 124, 125, 241} {
		for n := range 254 {
			v, _ := interpret(answerOf{code: radius.CodeAccessAccept, attrs: attr(typ, make([]byte, n)...)}.build(query), answering{
				server: "one", method: tenant.AuthPAP, secret: tenant.Secret(secret),
			})
			if v.Deny != "" {
				t.Errorf("attribute %d of %d octets: %s", typ, n, v.Detail)
			}
		}
	}
}

// Every length that can stand inside a Vendor-Specific attribute, against every number of octets: what is yielded lies
// within.
func TestKnownVendorLengths(t *testing.T) {
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	for there := range 24 {
		for length := range 256 {
			value := append([]byte{0, 0, 1, 0x37}, make([]byte, there)...)
			if there > 1 {
				value[4], value[5] = 7, byte(length)
			}
			b := answerOf{code: radius.CodeAccessAccept, attrs: attr(26, value...)}.build(query)
			total := 0
			for n, v := range walk(b) {
				if n.vendor == vendorMicrosoft {
					total += vsaHeader + len(v)
				}
			}
			if total > there || there > 1 && (length < vsaHeader || length > there) && total != 0 {
				t.Fatalf("%d octets, the first attribute of %d: %d were read", there, length, total)
			}
		}
	}
}

// A packet of more attributes than an octet counts, the last of which says something: all are read.
func TestKnownManyAttributes(t *testing.T) {
	attrs := join(bytes.Repeat(attr(200), 1500), attr(8, 10, 0, 0, 66))
	f := startFake(t, func(q query) { q.send(answerOf{code: radius.CodeAccessAccept, attrs: attrs}.to(q)) })
	c := start(t, f, nil)
	if v := mustAllow(t, c, papRequest()); v.Address != netip.MustParseAddr("10.0.0.66") {
		t.Errorf("verdict %+v lacks the address", v)
	}
	// As many EAP-Messages as a packet holds: what is put together of them is no longer than a packet.
	long := eapPacket(1, 9, make([]byte, 3900)...)
	var pieces []byte
	for rest := long; len(rest) > 0; {
		n := min(len(rest), 253)
		pieces, rest = append(pieces, attr(79, rest[:n]...)...), rest[n:]
	}
	query := append([]byte{1, 200, 0, 20}, make([]byte, 16)...)
	b := answerOf{code: radius.CodeAccessChallenge, attrs: pieces}.build(query)
	v, _ := interpret(b, answering{server: "one", method: tenant.AuthEAP})
	if len(b) > packet.MaxLen || v.Next == nil || !bytes.Equal(v.Next.EAP, long) {
		t.Errorf("%d octets: %+v", len(b), v)
	}
}
