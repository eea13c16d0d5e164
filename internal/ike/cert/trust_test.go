package cert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

const (
	isUntrusted = tenant.ReasonCertificateUntrusted
	isExpired   = tenant.ReasonCertificateExpired
	isRevoked   = tenant.ReasonCertificateRevoked
)

// TestVerify goes through what can be wrong with a chain root, sub, client.
func TestVerify(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	sub := issue(t, root, "Sub", ca)
	client := issue(t, sub, "client", nil)
	other := issue(t, nil, "Other Root", ca)
	namesake := issue(t, nil, "Root", ca)
	oldRoot := issue(t, nil, "Old Root", and(ca, valid(-2*year, -time.Hour)))
	oldSub := issue(t, root, "Old Sub", and(ca, valid(-2*year, -time.Hour)))
	noSubs := issue(t, root, "No Subs", and(ca, func(c *template) { c.MaxPathLenZero = true }))
	mail := issue(t, root, "Mail Sub", and(ca, func(c *template) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }))
	noCA := issue(t, root, "no CA", nil)
	usage := func(u x509.KeyUsage) func(*template) { return func(c *template) { c.KeyUsage = u } }
	extended := func(u ...x509.ExtKeyUsage) func(*template) { return func(c *template) { c.ExtKeyUsage = u } }
	unknown := func(oid ...int) func(*template) {
		return func(c *template) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oid} }
	}
	leaf := func(change func(*template)) []*node { return []*node{issue(t, root, "client", change)} }

	for _, tt := range []struct {
		name    string
		trust   []*node
		peer    []*node
		reason  tenant.Reason
		detail  string // a part of it
		foreign bool   // not Issued
	}{
		{name: "directly", trust: []*node{root}, peer: leaf(nil)},
		{name: "over a sub-CA", trust: []*node{root}, peer: []*node{client, sub}},
		{name: "over a sub-CA, with the root", trust: []*node{root}, peer: []*node{client, sub, root}},
		{name: "the other way round", trust: []*node{root}, peer: []*node{root, sub, client}},
		{name: "twice", trust: []*node{root}, peer: []*node{client, client, sub, sub}},
		{name: "the sub-CA is an anchor", trust: []*node{sub}, peer: []*node{client}},
		{name: "the sub-CA is an anchor and sent", trust: []*node{sub}, peer: []*node{client, sub}},
		{name: "one of several CAs", trust: []*node{other, namesake, root}, peer: []*node{client, sub}},
		{name: "with strangers", trust: []*node{root}, peer: []*node{client, other, noCA, sub}},
		{name: "RSA", trust: []*node{root}, peer: leaf(withKey(rsa2048()))},
		{name: "P-384", trust: []*node{root}, peer: leaf(withKey(p384()))},
		{name: "P-521", trust: []*node{root}, peer: leaf(withKey(p521()))},

		{name: "an anchor's usages don't count", trust: []*node{mail}, peer: []*node{issue(t, mail, "client", nil)}},

		{name: "no CA at all", peer: []*node{client, sub}, reason: isUntrusted, detail: "none of the tenant's CAs", foreign: true},
		{name: "sub-CA not sent", trust: []*node{root}, peer: []*node{client}, reason: isUntrusted, detail: `issued by "CN=Sub,O=Example"`, foreign: true},
		{name: "another CA", trust: []*node{other}, peer: []*node{client, sub}, reason: isUntrusted, detail: "none of the tenant's CAs", foreign: true},
		{
			name: "another CA of the same name", trust: []*node{namesake}, peer: leaf(nil), reason: isUntrusted,
			detail: "names a CA that the tenant trusts, but the signature", foreign: true,
		},
		{
			name: "issued by no CA", trust: []*node{root}, peer: []*node{issue(t, noCA, "client", nil), noCA},
			reason: isUntrusted, foreign: true,
		},
		{
			name: "below a CA that may have none below", trust: []*node{root},
			peer:   []*node{issue(t, issue(t, noSubs, "Deep", ca), "client", nil), noSubs, issue(t, noSubs, "Deep", ca)},
			reason: isUntrusted, foreign: true, // a new key each time
		},

		{name: "expired", trust: []*node{root}, peer: leaf(valid(-2*year, -time.Second)), reason: isExpired, detail: "expired at 2030-06-01T11:59:59Z"},
		{name: "not yet valid", trust: []*node{root}, peer: leaf(valid(time.Second, year)), reason: isExpired, detail: "not valid before 2030-06-01T12:00:01Z"},
		{name: "expired sub-CA", trust: []*node{root}, peer: []*node{issue(t, oldSub, "client", nil), oldSub}, reason: isExpired, detail: "Old Sub"},
		{name: "expired root", trust: []*node{oldRoot}, peer: []*node{issue(t, oldRoot, "client", nil)}, reason: isExpired, detail: "Old Root"},
		{name: "expired and of another CA", trust: []*node{other}, peer: leaf(valid(-2*year, -time.Second)), reason: isUntrusted, foreign: true},

		{name: "digitalSignature", trust: []*node{root}, peer: leaf(usage(x509.KeyUsageDigitalSignature))},
		{name: "nonRepudiation", trust: []*node{root}, peer: leaf(usage(x509.KeyUsageContentCommitment))},
		{name: "keyEncipherment only", trust: []*node{root}, peer: leaf(usage(x509.KeyUsageKeyEncipherment)), reason: isUntrusted, detail: "digitalSignature"},
		{name: "clientAuth", trust: []*node{root}, peer: leaf(extended(x509.ExtKeyUsageClientAuth))},
		{name: "serverAuth", trust: []*node{root}, peer: leaf(extended(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageServerAuth))},
		{name: "any", trust: []*node{root}, peer: leaf(extended(x509.ExtKeyUsageAny))},
		{name: "ipsecUser", trust: []*node{root}, peer: leaf(extended(x509.ExtKeyUsageIPSECUser))},
		{name: "ipsecIKE", trust: []*node{root}, peer: leaf(unknown(1, 3, 6, 1, 5, 5, 7, 3, 17))},
		{name: "ikeIntermediate", trust: []*node{root}, peer: leaf(unknown(1, 3, 6, 1, 5, 5, 8, 2, 2))},
		{name: "unknown usage", trust: []*node{root}, peer: leaf(unknown(1, 3, 6, 1, 5, 5, 8, 2, 3)), reason: isUntrusted, detail: "extended key usage"},
		{name: "codeSigning", trust: []*node{root}, peer: leaf(extended(x509.ExtKeyUsageCodeSigning)), reason: isUntrusted, detail: "extended key usage"},
		{name: "below a CA for mail", trust: []*node{root}, peer: []*node{issue(t, mail, "client", nil), mail}, reason: isUntrusted, detail: "Mail Sub"},
		{
			name: "critical extension", trust: []*node{root}, reason: isUntrusted, detail: "unhandled critical extension",
			peer: leaf(func(c *template) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
			}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trust, p := trustIn0(t, tt.trust...), present(t, tt.peer...)
			err := trust.Verify(p, now)
			if got := reasonOf(t, err); got != tt.reason {
				t.Fatalf("%s: %v, want %s", got, err, tt.reason)
			}
			if err != nil && !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("detail %q lacks %q", err, tt.detail)
			}
			if trust.Issued(p) == tt.foreign {
				t.Errorf("Issued is %v", !tt.foreign)
			}
		})
	}
}

// trustIn0 is trustIn for any number of CAs.
func trustIn0(t testing.TB, cas ...*node) *Trust {
	t.Helper()
	if len(cas) > 0 {
		return trustIn(t, nil, cas...)
	}
	trust, err := ParseTrust(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// TestPathLength: a CA that may have none below it has one.
func TestPathLength(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	last := issue(t, root, "Last", and(ca, func(c *template) { c.MaxPathLenZero = true }))
	deep := issue(t, last, "Deep", ca)
	p := present(t, issue(t, deep, "client", nil), deep, last)
	trust := trustIn(t, nil, root)
	if err := trust.Verify(p, now); reasonOf(t, err) != isUntrusted || !trust.Issued(p) {
		t.Errorf("%v", err)
	}
	if err := trust.Verify(present(t, issue(t, last, "client", nil), last), now); err != nil {
		t.Error(err)
	}
}

func TestSHA1Refused(t *testing.T) {
	root := issue(t, nil, "Root", and(ca, withKey(rsa2048())))
	client := issue(t, root, "client", func(c *template) { c.SignatureAlgorithm = x509.SHA256WithRSA })
	forged := *client.Certificate
	forged.SignatureAlgorithm = x509.SHA1WithRSA
	p := &Peer{leaf: &forged, linked: []*x509.Certificate{&forged}, subject: "client"}
	if err := trustIn(t, nil, root).Verify(p, now); reasonOf(t, err) != isUntrusted || !strings.Contains(err.Error(), "SHA1") {
		t.Error(err)
	}
}

func TestRevocation(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	sub := issue(t, root, "Sub", ca)
	client, mate := issue(t, sub, "client", nil), issue(t, sub, "mate", nil)
	p := present(t, client, sub)
	otherSerial := mate.SerialNumber
	for _, tt := range []struct {
		name    string
		anchors []*node
		crls    []string
		reason  tenant.Reason
		detail  string
	}{
		{name: "no list", anchors: []*node{root}},
		{name: "lists without it", anchors: []*node{root, sub}, crls: []string{revocations(t, root, year), revocations(t, sub, year, otherSerial)}},
		{
			name: "in the list", anchors: []*node{root, sub}, crls: []string{revocations(t, sub, year, otherSerial, client.SerialNumber)},
			reason: isRevoked, detail: `"CN=client,O=Example"`,
		},
		{
			name: "the sub-CA is in the root's list", anchors: []*node{root}, crls: []string{revocations(t, root, year, sub.SerialNumber)},
			reason: isRevoked, detail: `"CN=Sub,O=Example"`,
		},
		{
			name: "the sub-CA is in the root's list and an anchor", anchors: []*node{root, sub},
			crls: []string{revocations(t, root, year, sub.SerialNumber)}, reason: isRevoked, detail: `"CN=Sub,O=Example"`,
		},
		{name: "the same serial at another CA", anchors: []*node{root, sub}, crls: []string{revocations(t, root, year, client.SerialNumber)}},
		{
			name: "old list", anchors: []*node{root, sub}, crls: []string{revocations(t, sub, -time.Second)},
			reason: isUntrusted, detail: `the revocation list of "CN=Sub,O=Example" was to be renewed before 2030-06-01T11:59:59Z`,
		},
		{
			name: "list that ends now", anchors: []*node{root, sub}, crls: []string{revocations(t, sub, 0)}, reason: isUntrusted,
			detail: "renewed",
		},
		{name: "old list and a new one", anchors: []*node{root, sub}, crls: []string{revocations(t, sub, -time.Second) + revocations(t, sub, year)}},
		{
			name: "in the old list and not in the new one", anchors: []*node{root, sub},
			crls: []string{revocations(t, sub, -time.Second, client.SerialNumber), revocations(t, sub, year)}, reason: isRevoked,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := trustIn(t, tt.crls, tt.anchors...).Verify(p, now)
			if got := reasonOf(t, err); got != tt.reason {
				t.Fatalf("%s: %v, want %s", got, err, tt.reason)
			}
			if err != nil && !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("detail %q lacks %q", err, tt.detail)
			}
		})
	}
}

// TestOpenSSLChain verifies certificates and lists that OpenSSL made.
func TestOpenSSLChain(t *testing.T) {
	carol, err := ParsePeer([][]byte{der(t, file(t, "carol.pem")), der(t, file(t, "sub.pem"))})
	if err != nil {
		t.Fatal(err)
	}
	dave, err := ParsePeer([][]byte{der(t, file(t, "dave.pem"))})
	if err != nil {
		t.Fatal(err)
	}
	if want := "CN=carol@example.net,OU=Berne,OU=Research,O=Linux strongSwan,C=CH"; carol.Subject() != want {
		t.Errorf("subject is %s", carol.Subject())
	}
	cas := []string{file(t, "ca.pem"), file(t, "sub.pem")}
	for _, crl := range []string{file(t, "sub.crl"), string(der(t, file(t, "sub.crl"))), file(t, "idp.crl")} {
		trust, err := ParseTrust(cas, []string{crl})
		if err != nil {
			t.Fatal(err)
		}
		if err := trust.Verify(carol, now); err != nil {
			t.Error(err)
		}
		if err := trust.Verify(dave, now); reasonOf(t, err) != isRevoked {
			t.Error(err)
		}
	}
	for name, detail := range map[string]string{"delta.crl": "is a delta list", "idpca.crl": "covers only a part"} {
		if _, err := ParseTrust(cas, []string{file(t, name)}); err == nil || !strings.Contains(err.Error(), detail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := carol.CheckSignature(carol.Method(), []byte("0123456789abcdefghij"), unhex(t, file(t, "carol-signature.hex"))); err != nil {
		t.Error(err)
	}
}

func TestParseTrustErrors(t *testing.T) {
	root, other := issue(t, nil, "Root", ca), issue(t, nil, "Other", ca)
	namesake := issue(t, nil, "Root", ca)
	client := issue(t, root, "client", nil)
	good := pemOf(root)
	broken := strings.Replace(pemOf(other), "MI", "M!", 1)
	many := strings.Repeat(good, MaxAnchors+1)
	for _, tt := range []struct {
		name      string
		cas, crls []string
		want      string
	}{
		{"empty text", []string{good, ""}, nil, "caCertificates[1]: it holds no PEM block; it must begin with -----BEGIN CERTIFICATE-----"},
		{"no PEM", []string{"MIIB"}, nil, "caCertificates[0]: it holds no PEM block"},
		{"a key", []string{good + string(keyPEM(t, p256()))}, nil, `caCertificates[0], PEM block 2: it is a "PRIVATE KEY" block; it must be a "CERTIFICATE" block`},
		{"cut off", []string{good[:len(good)-40]}, nil, "caCertificates[0], PEM block 1: it is cut off or damaged"},
		{"damaged between good ones", []string{good + broken + good}, nil, "caCertificates[0], PEM block 2: it is cut off or damaged"},
		{"damaged at the end", []string{good + broken}, nil, "caCertificates[0], PEM block 2: it is cut off or damaged"},
		{
			"no DER",
			[]string{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
			nil,
			"caCertificates[0], PEM block 1: it is no X.509 certificate",
		},
		{"a client's", []string{good, pemOf(client)}, nil, `caCertificates[1], PEM block 1: "CN=client,O=Example" is not a CA's certificate`},
		{
			"may not sign",
			[]string{pemOf(issue(t, nil, "Odd", and(ca, func(c *template) { c.KeyUsage = x509.KeyUsageCRLSign })))},
			nil,
			"may not sign certificates",
		},
		{"weak key", []string{pemOf(issue(t, nil, "Weak", and(ca, withKey(rsa1024()))))}, nil, "its RSA key has 1024 bits; it must have 2048 to 8192"},
		{"too many", []string{many}, nil, fmt.Sprintf("PEM block %d: at most %d CA certificates", MaxAnchors+1, MaxAnchors)},
		{"no list", []string{good}, []string{"x"}, "crls[0]: it holds no PEM block; it must begin with -----BEGIN X509 CRL-----"},
		{"empty list", []string{good}, []string{""}, "crls[0]: it holds no PEM block"},
		{"a certificate for a list", []string{good}, []string{good}, `it is a "CERTIFICATE" block; it must be a "X509 CRL" block`},
		{"DER that is no list", []string{good}, []string{string(root.Raw)}, "crls[0]: it is no X.509 revocation list"},
		{
			"list of a stranger",
			[]string{good},
			[]string{revocations(t, root, year) + revocations(t, other, year)},
			`crls[0], PEM block 2: the list of "CN=Other,O=Example" can't be checked: none of caCertificates`,
		},
		{
			"list of a namesake",
			[]string{good},
			[]string{revocations(t, namesake, year)},
			`crls[0], PEM block 1: the list of "CN=Root,O=Example" can't be checked: x509`,
		},
		{"big list", []string{good}, []string{"0" + strings.Repeat("x", MaxCRL)}, "at most 4194304 are accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trust, err := ParseTrust(tt.cas, tt.crls)
			if err == nil || !strings.Contains(err.Error(), tt.want) || trust != nil {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestParsePeerErrors(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	client := issue(t, root, "client", nil)
	weak := func(k crypto.Signer) [][]byte { return [][]byte{issue(t, root, "client", withKey(k)).Raw} }
	for _, tt := range []struct {
		name string
		ders [][]byte
		want string
	}{
		{"none", nil, "the peer sent no certificate"},
		{"too many", make([][]byte, MaxChain+1), "the peer sent 9 certificates; at most 8"},
		{"empty", [][]byte{{}}, "can't be read"},
		{"rubbish", [][]byte{[]byte("rubbish"), root.Raw}, "can't be read"},
		{"too long", [][]byte{make([]byte, MaxCertificate+1)}, "16385 octets long"},
		{"CAs only", [][]byte{root.Raw}, "certificates of CAs only"},
		{"RSA-1024", weak(rsa1024()), "its RSA key has 1024 bits"},
		{"P-224", weak(p224()), "its ECDSA key is on the curve P-224"},
		{"Ed25519", weak(edwards()), "it must be an RSA or ECDSA key"},
		{
			"long subject", [][]byte{issue(t, root, strings.Repeat("x", maxName), nil).Raw}, "the subject of the peer's certificate is",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ParsePeer(tt.ders)
			if reasonOf(t, err) != isUntrusted || !strings.Contains(err.Error(), tt.want) || p != nil {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	if _, err := ParsePeer([][]byte{[]byte("rubbish"), client.Raw, make([]byte, MaxCertificate+1)}); err != nil {
		t.Errorf("rubbish beside a certificate: %v", err)
	}
}

// TestMutualIssuers: CAs that have all issued each other cost a number of checks that grows with their number, not with the
// number of paths through them.
func TestMutualIssuers(t *testing.T) {
	var nodes []*node
	maze := and(ca, withKey(p256()))
	first := issue(t, nil, "Maze", maze)
	for range MaxChain - 1 {
		nodes = append(nodes, issue(t, first, "Maze", maze))
	}
	p := present(t, append(nodes, issue(t, first, "client", nil))...)
	if len(p.linked) != MaxChain {
		t.Errorf("%d linked", len(p.linked))
	}
	trust := trustIn(t, nil, issue(t, nil, "Root", ca))
	start := time.Now()
	for range 100 {
		if trust.Issued(p) {
			t.Fatal("issued")
		}
		if err := trust.Verify(p, now); reasonOf(t, err) != isUntrusted {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("100 refusals took %v", took)
	}
}

func TestWorst(t *testing.T) {
	u, e, r := untrusted("u"), expired("e"), revoked("r")
	u2 := untrusted("u2")
	for _, tt := range []struct{ a, b, want error }{
		{nil, nil, nil},
		{nil, u, u},
		{u, nil, u},
		{u, e, e},
		{e, u, e},
		{e, r, r},
		{r, e, r},
		{u, u2, u},
		{u, r, r},
		{fmt.Errorf("wrapped: %w", e), u, fmt.Errorf("wrapped: %w", e)},
	} {
		if got := Worst(tt.a, tt.b); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("Worst(%v, %v) is %v", tt.a, tt.b, got)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	root := issue(b, nil, "Root", and(ca, withKey(rsa2048())))
	for name, key := range map[string]crypto.Signer{"RSA-2048": rsa2048(), "P-256": p256()} {
		b.Run(name, func(b *testing.B) {
			sub := issue(b, root, "Sub", and(ca, withKey(key)))
			ders := [][]byte{issue(b, sub, "client", withKey(key)).Raw, sub.Raw}
			trust := trustIn(b, []string{revocations(b, root, year)}, root)
			b.ReportAllocs()
			for b.Loop() {
				p, err := ParsePeer(ders)
				if err != nil {
					b.Fatal(err)
				}
				if err := trust.Verify(p, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
