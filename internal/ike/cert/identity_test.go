package cert

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"strings"
	"testing"

	wireike "concentrator/internal/wire/ike"
)

// dn encodes a distinguished name, given as attribute, value, attribute, value and so on.
func dn(t testing.TB, parts ...any) []byte {
	t.Helper()
	var seq pkix.RDNSequence
	for i := 0; i+1 < len(parts); i += 2 {
		seq = append(seq, pkix.RelativeDistinguishedNameSET{{Type: parts[i].(asn1.ObjectIdentifier), Value: parts[i+1]}})
	}
	b, err := asn1.Marshal(seq)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	oidC  = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidO  = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOU = asn1.ObjectIdentifier{2, 5, 4, 11}
)

func utf8String(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
}

func printableString(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte(s)}
}

func TestCheckID(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	subject := dn(t, oidC, printableString("CH"), oidO, utf8String("Linux  strongSwan"), oidOU, utf8String("A"), oidOU, utf8String("B"),
		oidCommonName, utf8String("carol"), oidEmailAddress, utf8String("carol@work.example"))
	p := present(t, issue(t, root, "", func(c *template) {
		c.RawSubject = subject
		c.DNSNames = []string{"carol.example.net", "*.wild.example"}
		c.EmailAddresses = []string{"carol@example.net"}
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)}
	}))
	re := func(c, o, ou1, ou2, cn, mail string) []byte {
		return dn(t, oidC, utf8String(c), oidO, printableString(o), oidOU, printableString(ou1), oidOU, printableString(ou2),
			oidCommonName, printableString(cn), oidEmailAddress, utf8String(mail))
	}
	several, _ := parseName(subject)
	last := len(several) - 1
	several[last] = append(several[last], several[last][0]) // one part of two attributes
	joined, err := asn1.Marshal(several)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		id   wireike.IDType
		data []byte
		ok   bool
	}{
		{"its name", wireike.IDDERASN1DN, subject, true},
		{"in other string types", wireike.IDDERASN1DN, re("CH", "Linux  strongSwan", "A", "B", "carol", "carol@work.example"), true},
		{"in other case and spaces", wireike.IDDERASN1DN, re("ch", " linux STRONGSWAN ", "a", "b", "Carol", "CAROL@work.example"), true},
		{"parts in another order", wireike.IDDERASN1DN, re("CH", "Linux strongSwan", "B", "A", "carol", "carol@work.example"), false},
		{"another name", wireike.IDDERASN1DN, re("CH", "Linux strongSwan", "A", "B", "dave", "carol@work.example"), false},
		{"another attribute", wireike.IDDERASN1DN, dn(t, oidC, utf8String("CH"), oidOU, utf8String("Linux strongSwan"), oidOU, utf8String("A"),
			oidOU, utf8String("B"), oidCommonName, utf8String("carol"), oidEmailAddress, utf8String("carol@work.example")), false},
		{"parts joined to one", wireike.IDDERASN1DN, joined, false},
		{"a part of it", wireike.IDDERASN1DN, dn(t, oidC, utf8String("CH")), false},
		{"joined words", wireike.IDDERASN1DN, re("CH", "LinuxstrongSwan", "A", "B", "carol", "carol@work.example"), false},
		{"no name", wireike.IDDERASN1DN, nil, false},
		{"empty name", wireike.IDDERASN1DN, []byte{0x30, 0}, false},
		{"short name", wireike.IDDERASN1DN, []byte{0x30}, false},
		{"octets behind the name", wireike.IDDERASN1DN, append(re("CH", "Linux strongSwan", "A", "B", "carol", "carol@work.example"), 0), false},
		{"FQDN", wireike.IDFQDN, []byte("Carol.Example.Net"), true},
		{"common name as FQDN", wireike.IDFQDN, []byte("carol"), true},
		{"country as FQDN", wireike.IDFQDN, []byte("CH"), false},
		{"another FQDN", wireike.IDFQDN, []byte("dave.example.net"), false},
		{"FQDN with a zero", wireike.IDFQDN, []byte("carol.example.net\x00"), false},
		{"FQDN below a wildcard", wireike.IDFQDN, []byte("x.wild.example"), false},
		{"empty FQDN", wireike.IDFQDN, nil, false},
		{"mail as FQDN", wireike.IDFQDN, []byte("carol@example.net"), false},
		{"user FQDN", wireike.IDUserFQDN, []byte("carol@Example.net"), true},
		{"user FQDN of the subject", wireike.IDUserFQDN, []byte("carol@work.example"), true},
		{"another user FQDN", wireike.IDUserFQDN, []byte("dave@example.net"), false},
		{"its address", wireike.IDIPv4Addr, []byte{192, 0, 2, 7}, true},
		{"a private address, as Windows and macOS send", wireike.IDIPv4Addr, []byte{192, 168, 0, 5}, true},
		{"IPv6", wireike.IDIPv6Addr, make([]byte, 16), true},
		{"key ID", wireike.IDKeyID, []byte("carol"), false},
		{"subnet", wireike.IDIPv4AddrSubnet, []byte{192, 0, 2, 0, 255, 255, 255, 0}, false},
		{"general name", wireike.IDDERASN1GN, subject, false},
		{"type 0", 0, subject, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := p.CheckID(tt.id, tt.data)
			if (err == nil) != tt.ok || (err != nil && reasonOf(t, err) != isUntrusted) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSubject(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	subject := func(b []byte, change func(*template)) string {
		return present(t, issue(t, root, "", and(func(c *template) { c.RawSubject = b }, func(c *template) {
			if change != nil {
				change(c)
			}
		}))).Subject()
	}
	for _, tt := range []struct{ got, want string }{
		{subject(dn(t, oidC, "CH", oidOU, "b", oidOU, "a", oidCommonName, "carol"), nil), "CN=carol,OU=a,OU=b,C=CH"},
		{subject(dn(t, oidOU, "a", oidOU, "b"), nil), "OU=b,OU=a"},
		{subject(dn(t, oidCommonName, utf8String("a,b+c")), nil), `CN=a\,b\+c`},
		{subject(dn(t, oidCommonName, utf8String("a\nb\x1b[2J")), nil), `CN=a\0Ab\1B[2J`},
		{subject(dn(t, oidCommonName, utf8String("Zoë\u202e")), nil), `CN=Zoë\E2\80\AE`},
		{subject(dn(t), func(c *template) { c.DNSNames = []string{"carol.example.net"} }), "DNS:carol.example.net"},
		{subject(dn(t), func(c *template) { c.EmailAddresses = []string{"carol@example.net"} }), "email:carol@example.net"},
		{subject(dn(t), func(c *template) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 7)} }), "IP:192.0.2.7"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
	if got := subject(dn(t), nil); !strings.HasPrefix(got, "serial ") || !strings.HasSuffix(got, " of CN=Root,O=Example") {
		t.Error(got)
	}
}

// TestDetailsAreShort: what a peer chose fills no log.
func TestDetailsAreShort(t *testing.T) {
	p := present(t, issue(t, nil, strings.Repeat("n\n", 400), nil))
	for _, err := range []error{
		p.CheckID(wireike.IDFQDN, []byte(strings.Repeat("\x00", 60000))),
		p.CheckID(wireike.IDDERASN1DN, make([]byte, 60000)),
		p.CheckSignature(wireike.AuthPSK, nil, nil),
		trustIn0(t).Verify(p, now),
	} {
		if reasonOf(t, err) != isUntrusted || len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%d octets: %.200q", len(err.Error()), err)
		}
	}
}
