package cert

import (
	"encoding/asn1"
	"strings"

	wireike "concentrator/internal/wire/ike"
)

// Attributes of a subject that hold a name of the kinds that identification payloads carry.
var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidEmailAddress = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// CheckID says whether an identification payload, its type and data, agrees with the peer's certificate: a name must
// stand in it, an address says nothing and always agrees (see the package's text). The error is an *Error with
// CERTIFICATE_UNTRUSTED.
func (p *Peer) CheckID(id wireike.IDType, data []byte) error {
	claim, ok := quote(string(data)), false
	switch id {
	case wireike.IDIPv4Addr, wireike.IDIPv6Addr:
		return nil
	case wireike.IDDERASN1DN:
		claim, ok = quote(text(data)), sameName(data, p.leaf.RawSubject)
	case wireike.IDFQDN:
		ok = p.holds(string(data), p.leaf.DNSNames, oidCommonName)
	case wireike.IDUserFQDN:
		ok = p.holds(string(data), p.leaf.EmailAddresses, oidEmailAddress, oidCommonName)
	default:
		return untrusted("an identity of type %v can't be checked against certificate %s", id, quote(p.subject))
	}
	if !ok {
		return untrusted("the identity %s is not in certificate %s", claim, quote(p.subject))
	}
	return nil
}

// holds says whether a name is among subject alternative names, or is an attribute of the subject. Letters' case does not
// count.
func (p *Peer) holds(want string, alternatives []string, attributes ...asn1.ObjectIdentifier) bool {
	for _, a := range alternatives {
		if strings.EqualFold(a, want) {
			return true
		}
	}
	for _, a := range p.leaf.Subject.Names {
		for _, oid := range attributes {
			if s, ok := a.Value.(string); ok && a.Type.Equal(oid) && strings.EqualFold(s, want) {
				return true
			}
		}
	}
	return false
}
