package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"time"
)

// crl is a revocation list, RFC 5280 section 5.
type crl struct {
	issuer     string // for details
	nextUpdate time.Time
	serials    map[string]struct{} // big-endian octets
}

// addCRLs reads the lists of one text into the trust.
func (t *Trust) addCRLs(text string, index int) error {
	if !strings.Contains(text, "-----BEGIN ") && len(text) > 0 && text[0] == 0x30 { // a DER SEQUENCE
		return t.addCRL([]byte(text), index, 0)
	}
	bs, err := blocks(text, InputCRLs, index, "X509 CRL")
	if err != nil {
		return err
	}
	for _, b := range bs {
		if err := t.addCRL(b.Bytes, index, b.number); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trust) addCRL(der []byte, index, number int) error {
	fail := func(format string, args ...any) error {
		return &InputError{InputCRLs, index, number, fmt.Sprintf(format, args...)}
	}
	if len(der) > MaxCRL {
		return fail("it is %d octets long; at most %d are accepted", len(der), MaxCRL)
	}
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return fail("it is no X.509 revocation list: %v", err)
	}
	if detail := partial(l); detail != "" {
		return fail("the list of %s %s; give the CA's complete list", quote(text(l.RawIssuer)), detail)
	}
	err = errors.New("none of caCertificates has this name; add the issuer's certificate or leave the list out")
	for _, a := range t.anchors {
		if bytes.Equal(a.RawSubject, l.RawIssuer) {
			if err = l.CheckSignatureFrom(a); err == nil {
				break
			}
		}
	}
	if err != nil {
		return fail("the list of %s can't be checked: %v", quote(text(l.RawIssuer)), err)
	}
	c := &crl{issuer: text(l.RawIssuer), nextUpdate: l.NextUpdate, serials: map[string]struct{}{}}
	for _, e := range l.RevokedCertificateEntries {
		c.serials[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	key := string(l.RawIssuer)
	t.crls[key] = append(t.crls[key], c)
	return nil
}

// Extensions of lists, RFC 5280 section 5.2.
var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRLIndicator        = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// partial says in which way a list is not the complete one of its issuer, or has a critical extension that may mean so;
// empty for a complete one.
func partial(l *x509.RevocationList) string {
	for _, e := range l.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRLIndicator):
			return "is a delta list"
		case e.Id.Equal(oidIssuingDistributionPoint):
			if !wholeScope(e.Value) {
				return "covers only a part of what was issued"
			}
		case e.Critical:
			return fmt.Sprintf("has a critical extension that is not understood, %v", e.Id)
		}
	}
	return ""
}

// wholeScope says whether an issuing distribution point leaves the list complete for end entities: it may name a place and
// be for users only, RFC 5280 section 5.2.5.
func wholeScope(der []byte) bool {
	var point struct {
		Name           asn1.RawValue  `asn1:"optional,tag:0"`
		OnlyUsers      bool           `asn1:"optional,tag:1"`
		OnlyCAs        bool           `asn1:"optional,tag:2"`
		OnlyReasons    asn1.BitString `asn1:"optional,tag:3"`
		Indirect       bool           `asn1:"optional,tag:4"`
		OnlyAttributes bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(der, &point)
	return err == nil && len(rest) == 0 &&
		!point.OnlyCAs && point.OnlyReasons.BitLength == 0 && !point.Indirect && !point.OnlyAttributes
}

// checkRevocation looks a certificate up in the lists of its issuer. Any list may revoke it, however old; else one of them
// must still be current.
func (t *Trust) checkRevocation(c *x509.Certificate, now time.Time) error {
	lists := t.crls[string(c.RawIssuer)]
	if len(lists) == 0 {
		return nil
	}
	current := false
	var newest time.Time
	for _, l := range lists {
		if _, ok := l.serials[string(c.SerialNumber.Bytes())]; ok {
			return revoked("certificate %s (serial %x) has been revoked by %s", quote(subject(c)), c.SerialNumber, quote(l.issuer))
		}
		current = current || l.nextUpdate.IsZero() || now.Before(l.nextUpdate)
		if l.nextUpdate.After(newest) {
			newest = l.nextUpdate
		}
	}
	if !current {
		return untrusted(
			"the revocation list of %s was to be renewed before %s, so certificate %s can't be checked; give the tenant a new list",
			quote(lists[0].issuer), stamp(newest), quote(subject(c)))
	}
	return nil
}
