package cert

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Trust is what a tenant trusts: certificates of CAs and their revocation lists. It is immutable, shared and safe for
// concurrent use.
type Trust struct {
	anchors []*x509.Certificate
	pool    *x509.CertPool
	crls    map[string][]*crl // by the issuer's name in DER
}

// ParseTrust reads certificates of CAs in PEM and revocation lists in PEM or DER; a text may hold several. With no list of
// an issuer nothing that it issued is revoked. The issuer of each list must be among the CAs. The error is an
// *InputError.
func ParseTrust(caPEMs, crlPEMs []string) (*Trust, error) {
	t := &Trust{pool: x509.NewCertPool(), crls: map[string][]*crl{}}
	for i, text := range caPEMs {
		bs, err := blocks(text, InputCACertificates, i, "CERTIFICATE")
		if err != nil {
			return nil, err
		}
		for _, b := range bs {
			c, err := parseInput(b, InputCACertificates, i)
			if err != nil {
				return nil, err
			}
			if detail := anchorFault(c); detail != "" {
				return nil, &InputError{InputCACertificates, i, b.number, detail}
			}
			if len(t.anchors) == MaxAnchors {
				return nil, &InputError{
					InputCACertificates, i, b.number,
					fmt.Sprintf("at most %d CA certificates are accepted", MaxAnchors),
				}
			}
			t.anchors = append(t.anchors, c)
			t.pool.AddCert(c)
		}
	}
	for i, text := range crlPEMs {
		if err := t.addCRLs(text, i); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// anchorFault says why a certificate can't be one of a CA; empty if it can.
func anchorFault(c *x509.Certificate) string {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return fmt.Sprintf(
			"%s is not a CA's certificate (basic constraints without CA:TRUE); give that of the CA that issues the clients'",
			quote(subject(c)))
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Sprintf("%s may not sign certificates (key usage without keyCertSign)", quote(subject(c)))
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("%s has a critical extension that is not understood, %v", quote(subject(c)),
			c.UnhandledCriticalExtensions[0])
	}
	if err := checkKey(c.PublicKey); err != nil {
		return fmt.Sprintf("%s: %v", quote(subject(c)), err)
	}
	return ""
}

// Issued says whether the peer's certificate was issued below one of the CAs, whatever the time, revocations and usages
// are: whose peer it is, rather than whether it may come in.
func (t *Trust) Issued(p *Peer) bool {
	a, _ := t.issuer(p)
	return a != nil
}

// issuer returns the anchor above the peer's certificate, or nil and, if an anchor has the right name, why it is not that.
func (t *Trust) issuer(p *Peer) (anchor *x509.Certificate, why error) {
	for _, c := range p.linked {
		for _, a := range t.anchors {
			if !bytes.Equal(c.RawIssuer, a.RawSubject) {
				continue
			}
			err := c.CheckSignatureFrom(a)
			if err == nil {
				return a, nil
			}
			why = err
		}
	}
	return nil, why
}

// Verify checks the peer's certificate at a time: its chain to one of the CAs, validity, usages and revocation. It does
// not check that the peer holds the key (CheckSignature), nor the identity that it claims (CheckID). The error is an
// *Error. It takes 0.1 to 0.3 ms per certificate in the chain.
func (t *Trust) Verify(p *Peer, now time.Time) error {
	anchor, why := t.issuer(p)
	switch {
	case anchor == nil && why != nil:
		return untrusted("certificate %s names a CA that the tenant trusts, but the signature can't be verified: %v",
			quote(p.subject), why)
	case anchor == nil:
		return untrusted("certificate %s was issued by %s, which none of the tenant's CAs vouches for",
			quote(p.subject), quote(text(p.leaf.RawIssuer)))
	}
	others := x509.NewCertPool()
	for _, c := range p.linked[1:] {
		others.AddCert(c)
	}
	chains, err := p.leaf.Verify(x509.VerifyOptions{
		Roots: t.pool, Intermediates: others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkUsage knows more of them
	})
	if err != nil {
		for _, c := range append(slices.Clone(p.linked), anchor) {
			if err := checkTime(c, now); err != nil {
				return err
			}
		}
		return untrusted("certificate %s: %v", quote(p.subject), err)
	}
	var worst error
	for _, chain := range chains {
		err := t.checkChain(chain, now)
		if err == nil {
			return nil
		}
		worst = Worst(worst, err)
	}
	return worst
}

// checkTime says whether a certificate is valid at a time.
func checkTime(c *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(c.NotBefore):
		return expired("certificate %s is not valid before %s", quote(subject(c)), stamp(c.NotBefore))
	case now.After(c.NotAfter):
		return expired("certificate %s expired at %s", quote(subject(c)), stamp(c.NotAfter))
	}
	return nil
}

// checkChain checks what crypto/x509 does not: usages in the sense of IKE, and revocation. The anchor's usages are left
// alone, but the CA above it can have revoked it.
func (t *Trust) checkChain(chain []*x509.Certificate, now time.Time) error {
	for i, c := range chain {
		if err := t.checkRevocation(c, now); err != nil {
			return err
		}
		if i == len(chain)-1 {
			break
		}
		if err := checkUsage(c); err != nil {
			return untrusted("certificate %s: %v", quote(subject(c)), err)
		}
	}
	return nil
}

// stamp is a time as it stands in details.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
