package cert

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseName parses a distinguished name in DER that is nothing but that.
func parseName(der []byte) (pkix.RDNSequence, bool) {
	var n pkix.RDNSequence
	rest, err := asn1.Unmarshal(der, &n)
	return n, err == nil && len(rest) == 0
}

// text is a distinguished name in the form of RFC 2253, in the order of the certificate, which pkix.Name forgets. What
// can't be printed stands as \\ and two digits for each octet (RFC 2253 section 2.4).
func text(der []byte) string {
	n, ok := parseName(der)
	if !ok {
		return fmt.Sprintf("#%x", der)
	}
	return printable(n.String())
}

// printable replaces what can't be printed.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r) {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, `\%02X`, c)
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// subject is a certificate's subject, or where that is empty its first subject alternative name, or its serial number with
// its issuer.
func subject(c *x509.Certificate) string {
	switch {
	case len(c.Subject.Names) > 0:
		return text(c.RawSubject)
	case len(c.DNSNames) > 0:
		return "DNS:" + printable(c.DNSNames[0])
	case len(c.EmailAddresses) > 0:
		return "email:" + printable(c.EmailAddresses[0])
	case len(c.IPAddresses) > 0:
		return "IP:" + c.IPAddresses[0].String()
	default:
		return fmt.Sprintf("serial %x of %s", c.SerialNumber, text(c.RawIssuer))
	}
}

// quote makes a name that a peer may have chosen fit for a sentence: in quotes, and at most 256 octets of it.
func quote(s string) string {
	const most = 256
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// sameName compares two distinguished names in DER. Clients that are given the name as text encode it anew, so string
// types, letters' case and outer or repeated spaces don't count (RFC 5280 section 7.1); the order of the parts does.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, okX := parseName(a)
	y, okY := parseName(b)
	if !okX || !okY || len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			s, okS := x[i][j].Value.(string)
			t, okT := y[i][j].Value.(string)
			if !okS || !okT || !x[i][j].Type.Equal(y[i][j].Type) || !strings.EqualFold(squeeze(s), squeeze(t)) {
				return false
			}
		}
	}
	return true
}

// squeeze drops outer spaces and makes one of several.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
