package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"sync"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// now is when all tests take place.
var now = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

// Keys are made once: RSA takes its time.
var (
	rsa2048 = sync.OnceValue(func() crypto.Signer { return rsaKey(2048) })
	rsa1024 = sync.OnceValue(func() crypto.Signer { return rsaKey(1024) })
	p224    = sync.OnceValue(func() crypto.Signer { return ecKey(elliptic.P224()) })
	p256    = sync.OnceValue(func() crypto.Signer { return ecKey(elliptic.P256()) })
	p384    = sync.OnceValue(func() crypto.Signer { return ecKey(elliptic.P384()) })
	p521    = sync.OnceValue(func() crypto.Signer { return ecKey(elliptic.P521()) })
	edwards = sync.OnceValue(func() crypto.Signer {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	})
)

func rsaKey(bits int) crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

func ecKey(c elliptic.Curve) crypto.Signer {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// node is a certificate with its key.
type node struct {
	*x509.Certificate
	key crypto.Signer
}

// template is a certificate to be issued; fields may be changed.
type template struct {
	x509.Certificate
	key crypto.Signer
}

var serial int64 = 100

// issue makes a certificate; a nil issuer signs itself.
func issue(t testing.TB, issuer *node, name string, change func(*template)) *node {
	t.Helper()
	serial++
	tmpl := &template{key: p256(), Certificate: x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{Organization: []string{"Example"}, CommonName: name},
		NotBefore:    now.Add(-year), NotAfter: now.Add(year),
		BasicConstraintsValid: true,
	}}
	if change != nil {
		change(tmpl)
	}
	parent, key := &tmpl.Certificate, tmpl.key
	if issuer != nil {
		parent, key = issuer.Certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl.Certificate, parent, tmpl.key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &node{c, tmpl.key}
}

// ca makes a certificate one of a CA with a key of its own.
func ca(c *template) {
	c.IsCA, c.key = true, ecKey(elliptic.P256())
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

// and does one change after the other.
func and(changes ...func(*template)) func(*template) {
	return func(c *template) {
		for _, f := range changes {
			f(c)
		}
	}
}

func withKey(k crypto.Signer) func(*template) { return func(c *template) { c.key = k } }

func valid(from, to time.Duration) func(*template) {
	return func(c *template) { c.NotBefore, c.NotAfter = now.Add(from), now.Add(to) }
}

// revocations makes a list.
func revocations(t testing.TB, issuer *node, next time.Duration, serials ...*big.Int) string {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-year), NextUpdate: now.Add(next)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: s, RevocationTime: now.Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, issuer.Certificate, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// pemOf returns certificates in PEM.
func pemOf(nodes ...*node) string {
	var b bytes.Buffer
	for _, n := range nodes {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: n.Raw}); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// keyPEM returns a key in PEM, PKCS #8.
func keyPEM(t testing.TB, k crypto.Signer) tenant.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func trustIn(t testing.TB, crls []string, cas ...*node) *Trust {
	t.Helper()
	trust, err := ParseTrust([]string{pemOf(cas...)}, crls)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func present(t testing.TB, nodes ...*node) *Peer {
	t.Helper()
	var ders [][]byte
	for _, n := range nodes {
		ders = append(ders, n.Raw)
	}
	p, err := ParsePeer(ders)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reasonOf is the reason of a refusal, empty for none.
func reasonOf(t testing.TB, err error) tenant.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) || e.Detail == "" {
		t.Fatalf("no refusal: %#v", err)
	}
	return e.Reason
}

func file(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/openssl-3.0.19/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func der(t testing.TB, text string) []byte {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		t.Fatal("no PEM")
	}
	return b.Bytes
}
