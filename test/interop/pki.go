//go:build interop

package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// serverName is the name in the concentrator's certificates.
const serverName = "vpn.interop.example"

// Identity is a certificate and its key, both in PEM.
type Identity struct {
	Certificate, PrivateKey string
	Kind                    string // of the key, as ipsec.secrets spells it: RSA, ECDSA

	cert *x509.Certificate
	key  crypto.Signer
}

// PKI is the certificates of a run.
type PKI struct {
	RSA, ECDSA, Stranger             *Identity // authorities; nobody but a client trusts the last
	ServerRSA, ServerECDSA           *Identity
	Alice, Expired, Revoked, Unknown *Identity // clients by RSA; Unknown is the stranger's
	Bob                              *Identity // a client by ECDSA
	Foreign                          *Identity // a client by RSA, of the authority ECDSA
	CRL                              string    // of the authority RSA
}

// NewPKI makes all of them.
func NewPKI() (*PKI, error) {
	rsaKey := func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }
	ecdsaKey := func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
	now := time.Now()
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject:               pkix.Name{Organization: []string{"Interop"}, CommonName: name},
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
		}
	}
	client := func(name string, end time.Duration) *x509.Certificate {
		return &x509.Certificate{
			Subject:  pkix.Name{Organization: []string{"Interop"}, CommonName: name},
			DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(end),
		}
	}
	server := client(serverName, 24*time.Hour)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, a := range listenerAddresses {
		server.IPAddresses = append(server.IPAddresses, net.ParseIP(outerPrefix+strconv.Itoa(a)))
	}

	var p PKI
	for _, step := range []struct {
		made     **Identity
		template *x509.Certificate
		key      func() (crypto.Signer, error)
		by       **Identity // nil: itself
	}{
		{&p.RSA, authority("RSA authority"), rsaKey, nil},
		{&p.ECDSA, authority("ECDSA authority"), ecdsaKey, nil},
		{&p.Stranger, authority("Stranger"), ecdsaKey, nil},
		{&p.ServerRSA, server, rsaKey, &p.RSA},
		{&p.ServerECDSA, server, ecdsaKey, &p.ECDSA},
		{&p.Alice, client("alice.example", 24*time.Hour), rsaKey, &p.RSA},
		{&p.Expired, client("expired.example", -time.Hour), rsaKey, &p.RSA},
		{&p.Revoked, client("revoked.example", 24*time.Hour), rsaKey, &p.RSA},
		{&p.Unknown, client("unknown.example", 24*time.Hour), rsaKey, &p.Stranger},
		{&p.Bob, client("bob.example", 24*time.Hour), ecdsaKey, &p.ECDSA},
		{&p.Foreign, client("foreign.example", 24*time.Hour), rsaKey, &p.ECDSA},
	} {
		key, err := step.key()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		var by *Identity
		if step.by != nil {
			by = *step.by
		}
		if *step.made, err = newIdentity(*step.template, key, by); err != nil {
			return nil, fmt.Errorf("make the certificate of %s: %w", step.template.Subject, err)
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: p.Revoked.cert.SerialNumber, RevocationTime: now.Add(-time.Hour)}},
	}, p.RSA.cert, p.RSA.key)
	if err != nil {
		return nil, fmt.Errorf("make the revocation list: %w", err)
	}
	p.CRL = string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	return &p, nil
}

var serial atomic.Int64

// newIdentity has a certificate signed by an authority, or by itself when that is nil.
func newIdentity(template x509.Certificate, key crypto.Signer, by *Identity) (*Identity, error) {
	template.SerialNumber = big.NewInt(serial.Add(1))
	issuer, signer := &template, key
	if by != nil {
		issuer, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	made := &Identity{Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), key: key}
	if made.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	block := &pem.Block{}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		made.Kind, block.Type, block.Bytes = "RSA", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)
	case *ecdsa.PrivateKey:
		made.Kind, block.Type = "ECDSA", "EC PRIVATE KEY"
		if block.Bytes, err = x509.MarshalECPrivateKey(k); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a key of no kind that strongSwan is tested with")
	}
	made.PrivateKey = string(pem.EncodeToMemory(block))
	return made, nil
}
