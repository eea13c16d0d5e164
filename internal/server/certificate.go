package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Bounds of certificates, lists and keys.
const (
	maxChain   = 10        // certificates
	maxPEM     = 256 << 10 // octets of one text
	minRSABits = 2048
	maxRSABits = 8192 // a signature takes milliseconds, and longer with each bit
)

// Types of PEM blocks, RFC 7468; the older two of keys are OpenSSL's.
const (
	pemCertificate = "CERTIFICATE"
	pemCRL         = "X509 CRL"
	pemKey         = "PRIVATE KEY"
	pemRSAKey      = "RSA PRIVATE KEY"
	pemECKey       = "EC PRIVATE KEY"
	pemECParameter = "EC PARAMETERS" // stands before a key and says nothing that the key does not
)

// pemBlocks cuts a text into its blocks. Text before and between them is left out, but a block that is broken is an
// error, which package pem would pass over.
func pemBlocks(text string) ([]*pem.Block, error) {
	const begin = "-----BEGIN "
	if len(text) > maxPEM {
		return nil, fmt.Errorf("has %d octets, at most %d are allowed", len(text), maxPEM)
	}
	_, rest, found := strings.Cut(text, begin)
	if !found {
		return nil, errors.New("holds no PEM block")
	}
	var blocks []*pem.Block
	for part := range strings.SplitSeq(rest, begin) {
		b, _ := pem.Decode([]byte(begin + part))
		if b == nil {
			return nil, fmt.Errorf("block %d is no PEM: its lines are broken or its end is missing", len(blocks)+1)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// parseCertificates reads a text that holds certificates and nothing else.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	blocks, err := pemBlocks(text)
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(blocks))
	for i, b := range blocks {
		if b.Type != pemCertificate {
			return nil, fmt.Errorf("block %d is %q, must be %q", i+1, b.Type, pemCertificate)
		}
		if certs[i], err = x509.ParseCertificate(b.Bytes); err != nil {
			return nil, fmt.Errorf("block %d is no certificate: %w", i+1, err)
		}
	}
	return certs, nil
}

// parseKey reads a private key. No octet of it is in the error.
func parseKey(text tenant.Secret) (any, error) {
	blocks, err := pemBlocks(string(text))
	if err != nil {
		return nil, err
	}
	blocks = slices.DeleteFunc(blocks, func(b *pem.Block) bool { return b.Type == pemECParameter })
	if len(blocks) != 1 {
		return nil, fmt.Errorf("holds %d blocks, must hold one private key", len(blocks))
	}
	parse := map[string]func([]byte) (any, error){
		pemKey:    x509.ParsePKCS8PrivateKey,
		pemRSAKey: func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		pemECKey:  func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
	}[blocks[0].Type]
	if parse == nil || blocks[0].Headers["DEK-Info"] != "" { // RFC 1421 section 4.6.1.3
		return nil, fmt.Errorf("is %q, must be %q, %q or %q, not encrypted", blocks[0].Type, pemKey, pemRSAKey, pemECKey)
	}
	key, err := parse(blocks[0].Bytes)
	if err != nil {
		return nil, errors.New("holds no private key that can be read")
	}
	return key, nil
}

// publicKey is what all public keys of the standard library are.
type publicKey interface {
	Equal(x crypto.PublicKey) bool
}

// publicOf returns the public half of a key that IKE can sign with.
func publicOf(key any) (publicKey, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("is an RSA key of %d bits, must have %d to %d", n, minRSABits, maxRSABits)
		}
		return &k.PublicKey, nil
	case *ecdsa.PrivateKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return nil, errors.New("is an ECDSA key on a curve other than P-256, P-384 and P-521")
		}
		return &k.PublicKey, nil
	}
	return nil, errors.New("is neither an RSA nor an ECDSA key")
}

// decodeCertificate checks a listener's certificate and its key, and keeps the key that is not given anew.
func decodeCertificate(m *concentratorv1.Listener_Certificate, old *store.Listener, bad *fieldErrors) (chain string, key tenant.Secret) {
	p := pair{
		chainPath: "certificate.chainPem", keyPath: "certificate.privateKeyPem",
		chain: m.GetChainPem(), key: m.GetPrivateKeyPem(), keyGiven: m != nil && m.PrivateKeyPem != nil,
	}
	if old != nil {
		p.oldChain, p.oldKey = old.CertificateChain, old.CertificateKey
	}
	return p.decode(bad)
}

// pair is a chain of certificates and the private key of its first, as a caller gives them.
type pair struct {
	chainPath, keyPath string // of their fields
	chain, key         string // PEM; no chain: no certificate
	keyGiven           bool
	oldChain           string
	oldKey             tenant.Secret
}

// decode checks the two, and keeps the key that is not given anew.
func (p pair) decode(bad *fieldErrors) (chain string, key tenant.Secret) {
	if p.chain == "" {
		if p.key != "" {
			bad.add(p.chainPath, "is missing, and a key is given")
		}
		return "", nil
	}
	certs, err := parseCertificates(p.chain)
	switch {
	case err != nil:
		bad.add(p.chainPath, "%v", err)
		return "", nil
	case len(certs) > maxChain:
		bad.add(p.chainPath, "has %d certificates, at most %d are allowed", len(certs), maxChain)
	}
	for i, c := range certs[1:] {
		if err := certs[i].CheckSignatureFrom(c); err != nil {
			bad.add(p.chainPath, "block %d is not the certificate that issued that of block %d: %v", i+2, i+1, err)
		}
	}
	if p.chain != p.oldChain {
		bad.validNow(p.chainPath, certs[0])
	}

	key = p.oldKey
	if p.keyGiven {
		key = tenant.Secret(p.key)
	}
	if len(key) == 0 {
		bad.add(p.keyPath, "is missing, and there is no key that could stay")
		return p.chain, nil
	}
	private, err := parseKey(key)
	if err != nil {
		bad.add(p.keyPath, "%v", err)
		return p.chain, nil
	}
	public, err := publicOf(private)
	switch {
	case err != nil:
		bad.add(p.keyPath, "%v", err)
	case !public.Equal(certs[0].PublicKey) && !p.keyGiven:
		bad.add(p.keyPath, "is missing: the key that is kept is not that of the first certificate of %s", leaf(p.chainPath))
	case !public.Equal(certs[0].PublicKey):
		bad.add(p.keyPath, "is not the key of the first certificate of %s, %s", leaf(p.chainPath), certs[0].Subject)
	}
	return p.chain, key
}

// leaf is the last part of a field's path.
func leaf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// validNow wants a certificate to be valid at this time. It is for what is new: a stored one that has expired must not
// stand in the way of every other change.
func (f *fieldErrors) validNow(path string, c *x509.Certificate) {
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		f.add(path, "the certificate of %s expired at %s", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		f.add(path, "the certificate of %s is not valid before %s", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
	}
}

// decodeCAs checks a list of authorities, the field at path. It returns those that are in order too, for decodeCRLs.
func decodeCAs(path string, list, old []string, bad *fieldErrors) ([]string, []*x509.Certificate) {
	var all []*x509.Certificate
	for i, text := range list {
		certs, err := parseCertificates(text)
		switch {
		case err != nil:
			bad.add(at(path, i), "%v", err)
			continue
		case len(certs) != 1:
			bad.add(at(path, i), "has %d certificates, must have one; the list may have more entries", len(certs))
			continue
		}
		c := certs[0]
		switch {
		case !c.BasicConstraintsValid || !c.IsCA:
			bad.add(at(path, i), "the certificate of %s is not that of an authority: it lacks the basic constraint CA", c.Subject)
		case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
			bad.add(at(path, i), "the certificate of %s may not sign certificates: its key usage lacks keyCertSign", c.Subject)
		case slices.ContainsFunc(all, c.Equal):
			bad.add(at(path, i), "the certificate of %s stands in the list twice", c.Subject)
		case !slices.Contains(old, text):
			bad.validNow(at(path, i), c)
		}
		all = append(all, c)
	}
	return list, all
}

// decodeCRLs checks the revocation lists of a tenant.
func decodeCRLs(list []string, cas []*x509.Certificate, bad *fieldErrors) []string {
	const path = "ipsec.crls"
	for i, text := range list {
		blocks, err := pemBlocks(text)
		switch {
		case err != nil:
			bad.add(at(path, i), "%v", err)
			continue
		case len(blocks) != 1 || blocks[0].Type != pemCRL:
			bad.add(at(path, i), "must be one block %q, is %d, the first of them %q", pemCRL, len(blocks), blocks[0].Type)
			continue
		}
		crl, err := x509.ParseRevocationList(blocks[0].Bytes)
		if err != nil {
			bad.add(at(path, i), "is no revocation list: %v", err)
			continue
		}
		if err := signedByOne(crl, cas); err != nil {
			bad.add(at(path, i), "the list of %s: %v", crl.Issuer, err)
		}
	}
	return list
}

// signedByOne says what is wrong with a list that none of cas signed.
func signedByOne(crl *x509.RevocationList, cas []*x509.Certificate) error {
	problem := errors.New("its issuer is none of caCertificates")
	for _, ca := range cas {
		err := crl.CheckSignatureFrom(ca)
		if err == nil {
			return nil
		}
		if string(ca.RawSubject) == string(crl.RawIssuer) {
			problem = fmt.Errorf("it is not signed by the authority of that name in caCertificates: %w", err)
		}
	}
	return problem
}
