package cert

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
)

// fitting are the extended key usages of VPN clients and servers.
var fitting = []x509.ExtKeyUsage{
	x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth,
	x509.ExtKeyUsageIPSECEndSystem, x509.ExtKeyUsageIPSECTunnel, x509.ExtKeyUsageIPSECUser,
}

// Extended key usages for IKE that crypto/x509 has no names for.
var (
	oidIPsecIKE        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17} // RFC 4945 section 5.1.3.12
	oidIKEIntermediate = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2}  // what Microsoft and Apple set instead
)

// checkUsage says whether a certificate may be used for IKE: the peer's own must be allowed to sign (RFC 4945 section
// 5.1.3.2), and extended usages, where there are any, must have one of a VPN's (section 5.1.3.12). A CA's extended usages
// bound those of what it issues.
func checkUsage(c *x509.Certificate) error {
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	if !c.IsCA && c.KeyUsage != 0 && c.KeyUsage&signs == 0 {
		return errors.New("its key usage has neither digitalSignature nor nonRepudiation")
	}
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, u := range c.ExtKeyUsage {
		if slices.Contains(fitting, u) {
			return nil
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		if u.Equal(oidIPsecIKE) || u.Equal(oidIKEIntermediate) {
			return nil
		}
	}
	return errors.New("its extended key usage has none of ipsecIKE, ikeIntermediate, clientAuth and serverAuth")
}
