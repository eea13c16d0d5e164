package radius

import (
	"layeh.com/radius"

	"concentrator/internal/authz"
)

// attribute is one row of the table: what there is to know about one RADIUS attribute. Rows of one packet stand in the
// order in which they are sent.
type attribute struct {
	vendor uint32      // enterprise number of a Vendor-Specific attribute, RFC 2865 section 5.26; 0: a standard one
	typ    radius.Type // type, or vendor type
	name   string
	kind   kind
	in     packets // the packets that it is sent in, and those in which it is read
	many   bool    // may come several times in one packet; of others the first counts
	means  string  // for docs/radius.md
	values map[uint32]string

	// send is the value for an outgoing packet of in; nil, or a value without octets, leaves the attribute out. sendAll
	// is send for attributes that may come several times.
	send    func(o *outgoing) radius.Attribute
	sendAll func(o *outgoing) []radius.Attribute
	// set takes over a value that a reply or a CoA-Request holds; nil: it is known, and without effect. An error makes a
	// refusal of an Access-Accept (RFC 2865 section 5, attributes of invalid length) and a NAK of a request.
	set func(a *answer, v radius.Attribute) error
	// change carries what set has read into a CoA-Request's change.
	change func(c *authz.Change, a *answer)
	// match takes over a value that says which session a Disconnect- or CoA-Request means.
	match func(m *authz.Match, v radius.Attribute) error
}

// kind is how the value of an attribute is read, for traces and for docs/radius.md.
type kind uint8

const (
	kindText     kind = iota + 1
	kindInteger       // 32 bits
	kindTagged        // a tag and an integer of 24 bits, RFC 2868 section 3.1
	kindAddress       // IPv4
	kindAddress6      // IPv6
	kindTime          // seconds since 1970
	kindOctets
	kindSecret // octets that no trace shows
)

var kindNames = [...]string{
	kindText: "text", kindInteger: "integer", kindTagged: "tagged integer", kindAddress: "IPv4 address",
	kindAddress6: "IPv6 address", kindTime: "time", kindOctets: "octets", kindSecret: "octets, secret",
}

// packets is a set of packets.
type packets uint16

const (
	inRequest packets = 1 << iota // Access-Request
	inStart                       // Accounting-Requests by their Acct-Status-Type
	inInterim
	inStop
	inOn
	inOff
	inAccept
	inChallenge
	inReject
	inCoA        // CoA-Request
	inDisconnect // Disconnect-Request
	inStatus     // Status-Server

	inSession    = inStart | inInterim | inStop
	inAccounting = inSession | inOn | inOff
	inCounted    = inInterim | inStop
	inReplies    = inAccept | inChallenge | inReject
	inOrders     = inCoA | inDisconnect
)

// attributes is the one table of what this package sends and reads. docs/radius.md shows it, and a test compares the two.
// What is not in it is never sent, ignored in a reply (RFC 2865 section 5) and refused in a CoA-Request (RFC 5176 section
// 3.5, Unsupported Attribute).
var attributes = table(
	userAttributes, nasAttributes, tunnelAttributes, sessionAttributes, rateAttributes, microsoftAttributes,
	accountingAttributes, unappliedAttributes,
)

func table(groups ...[]attribute) (all []attribute) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// number is what names an attribute in a packet.
type number struct {
	vendor uint32
	typ    radius.Type
}

// byNumber finds the rows of attributes.
var byNumber = index(attributes)

func index(rows []attribute) map[number]*attribute {
	m := make(map[number]*attribute, len(rows))
	for i := range rows {
		m[number{rows[i].vendor, rows[i].typ}] = &rows[i]
	}
	return m
}

// Vendors of the table by their enterprise numbers. The form of their attributes is the one that RFC 2865 section 5.26
// suggests.
const (
	vendorMicrosoft = 311 // RFC 2548
	vendorAscend    = 529
	vendorWISPr     = 14122
	vendorMikrotik  = 14988
)

// understood are those vendors: a vendor may give its attributes any form, so others' are not looked into.
var understood = []uint32{vendorMicrosoft, vendorAscend, vendorWISPr, vendorMikrotik}

// Numbers that code outside of the table needs.
const (
	typeMessageAuthenticator radius.Type = 80 // RFC 3579 section 3.2
	typeVendorSpecific       radius.Type = 26 // RFC 2865 section 5.26
)
