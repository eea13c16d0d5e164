package radius

import (
	"strings"

	"layeh.com/radius"
)

// microsoftAttributes are the rest of RFC 2548 that a VPN has a use for, and what RRAS sends besides.
var microsoftAttributes = []attribute{
	{
		vendor: vendorMicrosoft, typ: 7, name: "MS-MPPE-Encryption-Policy", kind: kindInteger, in: inAccept, // RFC 2548 section 2.4.4
		means: "can make MPPE required", values: map[uint32]string{1: "Allowed", 2: "Required"}, set: setMPPEPolicy,
	},
	{
		vendor: vendorMicrosoft, typ: 8, name: "MS-MPPE-Encryption-Types", kind: kindInteger, in: inAccept, // RFC 2548 section 2.4.5
		means: "can narrow the key lengths: 2 is 40 bits, 4 is 128, 8 is 56", set: setMPPETypes,
	},
	{
		vendor: vendorMicrosoft, typ: 16, name: "MS-MPPE-Send-Key", kind: kindSecret, in: inAccept, // RFC 2548 section 2.4.2
		means: "the MPPE key towards the client; without both keys MPPE is not possible. Of a longer key, as EAP has, the " +
			"first 16 octets",
		set: func(a *answer, v radius.Attribute) error { return a.key(&a.v.Keys.Send, v) },
	},
	{
		vendor: vendorMicrosoft, typ: 17, name: "MS-MPPE-Recv-Key", kind: kindSecret, in: inAccept, // RFC 2548 section 2.4.3
		means: "the MPPE key from the client",
		set:   func(a *answer, v radius.Attribute) error { return a.key(&a.v.Keys.Recv, v) },
	},
	{
		vendor: vendorMicrosoft, typ: 26, name: "MS-CHAP2-Success", kind: kindSecret, in: inAccept, // RFC 2548 section 2.3.3
		means: "the server's proof for the client: needed with MS-CHAPv2",
		set: func(a *answer, v radius.Attribute) error {
			a.success = v
			return nil
		},
	},
	{
		vendor: vendorMicrosoft, typ: 2, name: "MS-CHAP-Error", kind: kindText, in: inReject, // RFC 2548 section 2.1.5
		means: "why MS-CHAPv2 failed: see below",
		set: func(a *answer, v radius.Attribute) error {
			a.failure = v
			return nil
		},
	},
	{
		vendor: vendorMicrosoft, typ: 28, name: "MS-Primary-DNS-Server", kind: kindAddress, in: inAccept, // RFC 2548 section 2.7
		means: "instead of the profile's",
		set:   func(a *answer, v radius.Attribute) error { return address(&a.dns[0], v) },
	},
	{
		vendor: vendorMicrosoft, typ: 29, name: "MS-Secondary-DNS-Server", kind: kindAddress, in: inAccept, // RFC 2548 section 2.7
		means: "instead of the profile's",
		set:   func(a *answer, v radius.Attribute) error { return address(&a.dns[1], v) },
	},
	{
		vendor: vendorMicrosoft, typ: 30, name: "MS-Primary-NBNS-Server", kind: kindAddress, in: inAccept, // RFC 2548 section 2.7
		means: "WINS, instead of the profile's",
		set:   func(a *answer, v radius.Attribute) error { return address(&a.wins[0], v) },
	},
	{
		vendor: vendorMicrosoft, typ: 31, name: "MS-Secondary-NBNS-Server", kind: kindAddress, in: inAccept, // RFC 2548 section 2.7
		means: "WINS, instead of the profile's",
		set:   func(a *answer, v radius.Attribute) error { return address(&a.wins[1], v) },
	},
	{
		vendor: vendorMicrosoft, typ: 10, name: "MS-CHAP-Domain", kind: kindText, // RFC 2548 section 2.1
		in:    inRequest | inSession | inAccept,
		means: "the domain before the client's user name; from an accept: the one that decided, for accounting",
		send:  domain,
		set: func(a *answer, v radius.Attribute) error {
			a.v.Domain = printable(v[1:]) // behind the identifier; read takes over no value without octets
			return nil
		},
	},
	{
		vendor: vendorMicrosoft, typ: 34, name: "MS-RAS-Client-Name", kind: kindText, in: inRequest | inSession,
		means: "the computer's name, where the client's PPP said it",
		send:  func(o *outgoing) radius.Attribute { return name(o.ClientName) },
	},
	{
		vendor: vendorMicrosoft, typ: 35, name: "MS-RAS-Client-Version", kind: kindText, in: inRequest | inSession,
		means: "the version of its software, where the client's PPP said it",
		send:  func(o *outgoing) radius.Attribute { return name(o.ClientVersion) },
	},
	{
		vendor: vendorMicrosoft, typ: 47, name: "MS-Network-Access-Server-Type", kind: kindInteger, in: inRequest,
		means: "Remote-Access-Server, by which NPS knows the policies for a VPN", values: map[uint32]string{2: "Remote-Access-Server"},
		send: constant(2),
	},
}

// domain is the MS-CHAP-Domain of a packet: an identifier and the text.
func domain(o *outgoing) radius.Attribute {
	if o.record != nil {
		return domainValue(0, o.record.Session.Domain)
	}
	name, _, found := strings.Cut(o.ask.PeerName, `\`)
	if !found {
		return nil
	}
	return domainValue(o.ask.ID, name)
}

func domainValue(id byte, name string) radius.Attribute {
	if name == "" {
		return nil
	}
	return append(radius.Attribute{id}, clip(name, maxString-7)...)
}
