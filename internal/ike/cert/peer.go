package cert

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	wireike "concentrator/internal/wire/ike"
)

// Peer is what a peer presented: its certificate and those that may link it to a CA. It is immutable. Nothing in it is
// proved before Trust.Verify, CheckSignature and CheckID have all agreed.
type Peer struct {
	leaf    *x509.Certificate
	linked  []*x509.Certificate // the leaf, and what issued one before it
	subject string
}

// ParsePeer reads the certificates of a peer's message, the DER of its Certificate payloads of encoding X.509 signature in
// their order; payloads of other encodings are the caller's to leave out. The peer's own is the first that is no CA's
// (RFC 4945 section 3.3 lets them stand in any order). Others that can't be parsed or have no part in its chain are left
// out. The error is an *Error. It keeps no reference to ders.
func ParsePeer(ders [][]byte) (*Peer, error) {
	if len(ders) == 0 {
		return nil, untrusted("the peer sent no certificate")
	}
	if len(ders) > MaxChain {
		return nil, untrusted("the peer sent %d certificates; at most %d are accepted", len(ders), MaxChain)
	}
	var leaf *x509.Certificate
	var others []*x509.Certificate
	var unparsed error
	for _, der := range ders {
		if len(der) > MaxCertificate {
			unparsed = fmt.Errorf("it is %d octets long; at most %d are accepted", len(der), MaxCertificate)
			continue
		}
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			unparsed = err
		case !c.IsCA && leaf == nil:
			leaf = c
		case c.IsCA && checkKey(c.PublicKey) == nil:
			others = append(others, c)
		}
	}
	switch {
	case leaf == nil && unparsed != nil:
		return nil, untrusted("the peer's certificate can't be read: %v", unparsed)
	case leaf == nil:
		return nil, untrusted("the peer sent certificates of CAs only")
	case len(leaf.RawSubject) > maxName:
		return nil, untrusted("the subject of the peer's certificate is %d octets long; at most %d are accepted",
			len(leaf.RawSubject), maxName)
	}
	if err := checkKey(leaf.PublicKey); err != nil {
		return nil, untrusted("certificate %s: %v", quote(subject(leaf)), err)
	}
	return &Peer{leaf: leaf, linked: link(leaf, others), subject: subject(leaf)}, nil
}

// link returns the leaf and those of others that issued it, or issued one that did. Each is looked at once, so that
// certificates that issue each other cost no more than others.
func link(leaf *x509.Certificate, others []*x509.Certificate) []*x509.Certificate {
	linked := []*x509.Certificate{leaf}
	for i := 0; i < len(linked); i++ {
		others = slices.DeleteFunc(others, func(o *x509.Certificate) bool {
			issued := bytes.Equal(linked[i].RawIssuer, o.RawSubject) && linked[i].CheckSignatureFrom(o) == nil
			if issued {
				linked = append(linked, o)
			}
			return issued
		})
	}
	return linked
}

// Subject is who the peer is: the distinguished name of its certificate in the form of RFC 2253, or where that is empty
// the first name of another kind. It holds only what can be printed, and is fit to be a key.
func (p *Peer) Subject() string { return p.subject }

// Method is the authentication method that the peer's key signs with.
func (p *Peer) Method() wireike.AuthMethod { return methodOf(p.leaf.PublicKey) }
