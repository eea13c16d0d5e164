package ikev1

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"

	"concentrator/internal/ike/cert"
	wireike "concentrator/internal/wire/ike"
)

// maxIdentity bounds the data of an ID payload in phase 1, in octets.
const maxIdentity = 1024

// identityOf returns the canonical form of an ID payload.
func identityOf(body []byte) (Identity, error) {
	id, err := wireike.ParseID(body)
	if err != nil {
		return Identity{}, err
	}
	if len(id.Data) == 0 || len(id.Data) > maxIdentity {
		return Identity{}, fmt.Errorf("an identity of %d octets", len(id.Data))
	}
	out := Identity{Type: id.Type}
	switch id.Type {
	case wireike.IDIPv4Addr, wireike.IDIPv6Addr:
		out.Value = id.Addr().String()
	case wireike.IDFQDN, wireike.IDUserFQDN, wireike.IDKeyID:
		out.Value = printable(id.Data)
	case wireike.IDDERASN1DN:
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(id.Data, &name); err == nil && len(rest) == 0 {
			out.Value = name.String()
		} else {
			out.Value = hex.EncodeToString(id.Data)
		}
	default:
		out.Value = hex.EncodeToString(id.Data)
	}
	return out, nil
}

// printable returns b as text if it is nothing but printable ASCII, else in hexadecimal.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return "0x" + hex.EncodeToString(b)
		}
	}
	return string(b)
}

// groupName returns the text of an identity that can name a tenant in Aggressive Mode; false for any other type.
func groupName(body []byte) (string, bool) {
	id, err := wireike.ParseID(body)
	if err != nil {
		return "", false
	}
	switch id.Type {
	case wireike.IDKeyID, wireike.IDFQDN, wireike.IDUserFQDN:
		return string(id.Data), len(id.Data) > 0
	default:
		return "", false
	}
}

// ownID is the identity that we send as responder, as the body of an ID payload. With a pre-shared key it is our address.
// With a certificate it is what the client compares with it: racoon (macOS, iOS) the name that its user typed, everybody
// else the subject.
func ownID(p Path, own *cert.Own, signature bool, v wireike.Vendor) []byte {
	id := wireike.AddrID(p.Local.Addr())
	if signature {
		id = wireike.ID{Type: wireike.IDDERASN1DN, Data: own.Subject()}
		if v.Has(wireike.VendorNATTApple | wireike.VendorRacoon) {
			if leaf, err := x509.ParseCertificate(own.Chain()[0]); err == nil && len(leaf.DNSNames) > 0 {
				id = wireike.ID{Type: wireike.IDFQDN, Data: []byte(leaf.DNSNames[0])}
			}
		}
	}
	body, _ := id.AppendBinary(nil) // it never fails
	return body
}
