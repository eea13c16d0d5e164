package radius

import (
	"layeh.com/radius"
)

// unappliedAttributes are read from an accept only to tell the operator that they have no effect here: each of them would
// be missed.
var unappliedAttributes = []attribute{
	unapplied(0, 96, "Framed-Interface-Id", kindOctets, noIPv6),        // RFC 3162 section 2.2
	unapplied(0, 97, "Framed-IPv6-Prefix", kindOctets, noIPv6),         // RFC 3162 section 2.3
	unapplied(0, 99, "Framed-IPv6-Route", kindText, noIPv6),            // RFC 3162 section 2.5
	unapplied(0, 100, "Framed-IPv6-Pool", kindText, noIPv6),            // RFC 3162 section 2.6
	unapplied(0, 123, "Delegated-IPv6-Prefix", kindOctets, noIPv6),     // RFC 4818 section 3
	unapplied(0, 168, "Framed-IPv6-Address", kindAddress6, noIPv6),     // RFC 6911 section 3.1
	unapplied(0, 169, "DNS-Server-IPv6-Address", kindAddress6, noIPv6), // RFC 6911 section 3.2
	unapplied(0, 170, "Route-IPv6-Information", kindOctets, noIPv6),    // RFC 6911 section 3.3
	unapplied(0, 171, "Delegated-IPv6-Prefix-Pool", kindText, noIPv6),  // RFC 6911 section 3.4
	unapplied(0, 172, "Stateful-IPv6-Address-Pool", kindText, noIPv6),  // RFC 6911 section 3.5
	unapplied(vendorMikrotik, 1, "Mikrotik-Recv-Limit", kindInteger, noQuota),
	unapplied(vendorMikrotik, 2, "Mikrotik-Xmit-Limit", kindInteger, noQuota),
	unapplied(vendorMikrotik, 14, "Mikrotik-Recv-Limit-Gigawords", kindInteger, noQuota),
	unapplied(vendorMikrotik, 15, "Mikrotik-Xmit-Limit-Gigawords", kindInteger, noQuota),
	unapplied(vendorMikrotik, 17, "Mikrotik-Total-Limit", kindInteger, noQuota),
	unapplied(vendorMikrotik, 18, "Mikrotik-Total-Limit-Gigawords", kindInteger, noQuota),
	unapplied(vendorMikrotik, 3, "Mikrotik-Group", kindText, "there are no such groups"),
	unapplied(vendorMikrotik, 11, "Mikrotik-Mark-Id", kindText, "there are no such marks"),
	unapplied(vendorMikrotik, 19, "Mikrotik-Address-List", kindText, "there are no such lists; Filter-Id names an ACL"),
	unapplied(vendorMikrotik, 22, "Mikrotik-Delegated-IPv6-Pool", kindText, noIPv6),
	unapplied(vendorWISPr, 5, "WISPr-Bandwidth-Min-Up", kindInteger, noMinimum),
	unapplied(vendorWISPr, 6, "WISPr-Bandwidth-Min-Down", kindInteger, noMinimum),
}

const (
	noIPv6    = "sessions carry IPv4 only"
	noQuota   = "the server is to end the session, by a Disconnect-Request or Session-Timeout"
	noMinimum = "no rate is reserved"
)

// unapplied is a row that only notes that the attribute came.
func unapplied(vendor uint32, typ radius.Type, name string, k kind, why string) attribute {
	return attribute{
		vendor: vendor, typ: typ, name: name, kind: k, in: inAccept, means: "not applied: " + why,
		set: func(a *answer, _ radius.Attribute) error {
			a.notef("%s is not applied: %s", name, why)
			return nil
		},
	}
}
