package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// Own is a listener's certificate with its chain and private key. It is immutable and safe for concurrent use.
type Own struct {
	leaf  *x509.Certificate
	chain [][]byte
	key   crypto.Signer
}

// ParseOwn reads a listener's certificate: a chain in PEM, the listener's own certificate first and each next one the
// issuer of the one before, and its private key in PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted). The key is RSA of 2048
// to 8192 bits or ECDSA on P-256, P-384 or P-521. The error is an *InputError.
func ParseOwn(chainPEM string, key tenant.Secret) (*Own, error) {
	bs, err := blocks(chainPEM, InputChain, 0, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	if len(bs) > MaxChain {
		return nil, &InputError{
			InputChain, 0, 0,
			fmt.Sprintf("it holds %d certificates; at most %d are sent", len(bs), MaxChain),
		}
	}
	o := &Own{}
	var last *x509.Certificate
	for _, b := range bs {
		c, err := parseInput(b, InputChain, 0)
		if err != nil {
			return nil, err
		}
		if last == nil {
			o.leaf = c
		} else if err := last.CheckSignatureFrom(c); err != nil {
			return nil, &InputError{InputChain, 0, b.number, fmt.Sprintf(
				"%s did not issue the certificate before it (%v); put the listener's own certificate first and each issuer behind it",
				quote(subject(c)), err)}
		}
		last = c
		// The root is what the other side must have already, RFC 4945 section 3.3.
		if c == o.leaf || !selfSigned(c) {
			o.chain = append(o.chain, c.Raw)
		}
	}
	if o.leaf.IsCA {
		return nil, &InputError{
			InputChain, 0, 1,
			fmt.Sprintf("%s is a CA's certificate; the listener needs one that the CA issued", quote(subject(o.leaf))),
		}
	}
	if err := checkKey(o.leaf.PublicKey); err != nil {
		return nil, &InputError{InputChain, 0, 1, err.Error()}
	}
	if err := checkUsage(o.leaf); err != nil {
		return nil, &InputError{InputChain, 0, 1, err.Error()}
	}
	if o.key, err = parseKey(key); err != nil {
		return nil, err
	}
	if p, ok := o.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !p.Equal(o.leaf.PublicKey) {
		return nil, &InputError{
			InputPrivateKey, 0, 0,
			fmt.Sprintf("it does not belong to the first certificate of the chain, %s", quote(subject(o.leaf))),
		}
	}
	return o, nil
}

// parseInput parses a certificate that an operator gave.
func parseInput(b block, in Input, index int) (*x509.Certificate, error) {
	if len(b.Bytes) > MaxCertificate {
		return nil, &InputError{
			in, index, b.number,
			fmt.Sprintf("it is %d octets long; at most %d are accepted", len(b.Bytes), MaxCertificate),
		}
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return nil, &InputError{in, index, b.number, fmt.Sprintf("it is no X.509 certificate: %v", err)}
	}
	return c, nil
}

// selfSigned says whether a certificate names itself as its issuer.
func selfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// parseKey reads a private key in PEM. Parameters of a curve, which openssl writes before the key, are skipped.
func parseKey(text tenant.Secret) (crypto.Signer, error) {
	fail := func(detail string) (crypto.Signer, error) {
		return nil, &InputError{InputPrivateKey, 0, 0, detail}
	}
	b, rest := pem.Decode(text)
	for b != nil && b.Type == "EC PARAMETERS" {
		b, rest = pem.Decode(rest)
	}
	if b == nil {
		return fail("it holds no PEM block; it must begin with -----BEGIN PRIVATE KEY-----")
	}
	defer clear(b.Bytes)
	if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
		return fail("it is encrypted; give it without a passphrase (openssl pkey -in KEY), it is stored encrypted")
	}
	var key any
	var err error
	switch b.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		return fail(fmt.Sprintf("it is a %q block; it must be a \"PRIVATE KEY\" block", b.Type))
	}
	if err != nil {
		return fail("it is damaged or of an unknown kind; it must be an RSA or ECDSA key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fail("it can't sign; it must be an RSA or ECDSA key")
	}
	if err := checkKey(signer.Public()); err != nil {
		return fail(err.Error())
	}
	return signer, nil
}

// Sizes of RSA keys in bits. Below the least they can be broken; above the greatest a check takes too long.
const (
	minRSA = 2048
	maxRSA = 8192
)

// checkKey says whether a public key is of a kind and size that IKEv1 signs with here.
func checkKey(pub any) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("its RSA key has %d bits; it must have %d to %d", n, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("its ECDSA key is on the curve %s; it must be on P-256, P-384 or P-521", k.Params().Name)
	default:
		return fmt.Errorf("its key is a %T; it must be an RSA or ECDSA key", pub)
	}
}

// Chain returns the certificates in DER for the Certificate payloads, the listener's own first and without the root. They
// are shared: callers must not change them.
func (o *Own) Chain() [][]byte { return o.chain }

// Subject returns the subject in DER, the body of an ID_DER_ASN1_DN identification. It is shared.
func (o *Own) Subject() []byte { return o.leaf.RawSubject }

// NotAfter is the end of the certificate's validity.
func (o *Own) NotAfter() time.Time { return o.leaf.NotAfter }

// Method is the authentication method that the key signs with: RSA or one of ECDSA's.
func (o *Own) Method() wireike.AuthMethod { return methodOf(o.key.Public()) }

// String implements fmt.Stringer: the subject, never the key.
func (o *Own) String() string { return subject(o.leaf) }

// GoString implements fmt.GoStringer, so that no format shows the key.
func (o *Own) GoString() string { return o.String() }
