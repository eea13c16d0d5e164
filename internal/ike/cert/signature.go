package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"

	wireike "concentrator/internal/wire/ike"
)

// methodOf returns the authentication method that a public key belongs to, 0 if there is none. RFC 4754 section 4 ties each
// curve to one method.
func methodOf(pub any) wireike.AuthMethod {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return wireike.AuthRSASignature
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return wireike.AuthECDSA256
		case elliptic.P384():
			return wireike.AuthECDSA384
		case elliptic.P521():
			return wireike.AuthECDSA521
		}
	}
	return 0
}

// fieldLen is the length in octets of r and of s in a signature, RFC 4754 section 7.
func fieldLen(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }

// Sign signs HASH_I or HASH_R for a Signature payload. RSA is the private key operation on the hash with PKCS #1 padding
// and without the algorithm identifier (RFC 2409 section 5.1); ECDSA is r | s of fixed length over the hash, which must
// be made with the method's own hash (RFC 4754 section 7, keymat.Keys.HashR). RSA-2048 takes about 1 ms.
func (o *Own) Sign(hash []byte) ([]byte, error) {
	switch k := o.key.(type) {
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.Hash(0), hash)
		if err != nil {
			return nil, fmt.Errorf("sign with RSA: %w", err)
		}
		return sig, nil
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, hash)
		if err != nil {
			return nil, fmt.Errorf("sign with ECDSA: %w", err)
		}
		n := fieldLen(k.Curve)
		sig := make([]byte, 2*n)
		r.FillBytes(sig[:n])
		s.FillBytes(sig[n:])
		return sig, nil
	default:
		return nil, fmt.Errorf("sign with a %T", o.key)
	}
}

// CheckSignature says whether sig, the body of a Signature payload, is the peer's signature of hash under the negotiated
// method. The error is an *Error with CERTIFICATE_UNTRUSTED: the peer does not hold the key of its certificate, or its
// certificate does not fit the method.
func (p *Peer) CheckSignature(method wireike.AuthMethod, hash, sig []byte) error {
	if own := methodOf(p.leaf.PublicKey); own != method {
		return untrusted("the key of certificate %s signs with %v, but %v was negotiated", quote(p.subject), own, method)
	}
	ok := false
	switch k := p.leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(k, crypto.Hash(0), hash, sig) == nil
	case *ecdsa.PublicKey:
		n := fieldLen(k.Curve)
		ok = len(sig) == 2*n && ecdsa.Verify(k, hash, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:]))
	}
	if !ok {
		return untrusted("the signature was not made with the key of certificate %s", quote(p.subject))
	}
	return nil
}
