package cert

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"unicode"

	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// FuzzParsePeer gives any certificates to a peer, and what comes of them to everything that looks at a peer. None of it was
// signed by the CA but the seeds.
func FuzzParsePeer(f *testing.F) {
	corpus.Add(f)
	carol, sub := der(f, file(f, "carol.pem")), der(f, file(f, "sub.pem"))
	f.Add(carol, sub, []byte("carol.example.net"))
	f.Add(sub, carol, []byte{})
	f.Add([]byte{0x30, 0x80}, []byte{}, []byte{0x30, 0})
	trust, err := ParseTrust([]string{file(f, "ca.pem")}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b, id []byte) {
		p, err := ParsePeer([][]byte{a, b})
		if err != nil {
			reasonOf(t, err)
			return
		}
		if s := p.Subject(); s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("subject %q", s)
		}
		for _, err := range []error{
			p.CheckID(wireike.IDDERASN1DN, id), p.CheckID(wireike.IDFQDN, id), p.CheckID(wireike.IDUserFQDN, id),
			p.CheckID(wireike.IDKeyID, id), p.CheckSignature(p.Method(), id, a), trust.Verify(p, now),
		} {
			reasonOf(t, err)
		}
		if trust.Issued(p) && !bytes.Equal(p.leaf.RawTBSCertificate, parsed(t, carol).RawTBSCertificate) {
			t.Fatal("the CA has not issued it")
		}
	})
}

func parsed(t testing.TB, der []byte) *node {
	t.Helper()
	p, err := ParsePeer([][]byte{der})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Certificate: p.leaf}
}

// FuzzParseTrust gives any texts to ParseTrust.
func FuzzParseTrust(f *testing.F) {
	corpus.Add(f)
	for _, name := range []string{"sub.crl", "idp.crl", "idpca.crl", "delta.crl"} {
		f.Add(file(f, "ca.pem")+file(f, "sub.pem"), file(f, name))
		f.Add(file(f, "sub.pem"), string(der(f, file(f, name))))
	}
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "0")
	f.Add("-----BEGIN ", "")
	f.Fuzz(func(t *testing.T, ca, crl string) {
		trust, err := ParseTrust([]string{ca}, []string{crl})
		var in *InputError
		if (trust == nil) == (err == nil) || (err != nil && !errors.As(err, &in)) {
			t.Fatalf("%v, %v", trust, err)
		}
	})
}

// FuzzParseOwn gives any texts to ParseOwn.
func FuzzParseOwn(f *testing.F) {
	corpus.Add(f)
	f.Add(file(f, "carol.pem")+file(f, "sub.pem"), string(keyPEM(f, rsa2048())))
	f.Add(file(f, "carol.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{0x30, 0}})))
	f.Fuzz(func(t *testing.T, chain, key string) {
		own, err := ParseOwn(chain, tenant.Secret(key))
		var in *InputError
		if (own == nil) == (err == nil) || (err != nil && !errors.As(err, &in)) {
			t.Fatalf("%v, %v", own, err)
		}
	})
}
