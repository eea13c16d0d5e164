package radius

import (
	"layeh.com/radius"

	"concentrator/internal/authz"
)

// nasAttributes say where the session is.
var nasAttributes = []attribute{
	{
		typ: 6, name: "Service-Type", kind: kindInteger, in: inRequest | inSession | inAccept | inCoA, // RFC 2865 section 5.6
		means: "Framed; an accept that says anything else is a refusal", values: map[uint32]string{2: "Framed"},
		send: constant(2),
		set:  func(_ *answer, v radius.Attribute) error { return must(v, 2, "Framed (2)") },
	},
	{
		typ: 7, name: "Framed-Protocol", kind: kindInteger, in: inRequest | inSession | inAccept | inCoA, // RFC 2865 section 5.7
		means: "PPP; an accept that says anything else is a refusal", values: map[uint32]string{1: "PPP"},
		send: constant(1),
		set:  func(_ *answer, v radius.Attribute) error { return must(v, 1, "PPP (1)") },
	},
	{
		typ: 32, name: "NAS-Identifier", kind: kindText, in: inRequest | inAccounting | inStatus | inOrders, // RFC 2865 section 5.32
		means: "the instance",
		send:  func(o *outgoing) radius.Attribute { return str(o.nasIdentifier) },
	},
	{
		typ: 4, name: "NAS-IP-Address", kind: kindAddress, in: inRequest | inAccounting | inStatus | inOrders, // RFC 2865 section 5.4
		means: "our address towards the server, if it is IPv4",
		send: func(o *outgoing) radius.Attribute {
			if !o.nasAddress.Is4() {
				return nil
			}
			return o.nasAddress.AsSlice()
		},
	},
	{
		typ: 95, name: "NAS-IPv6-Address", kind: kindAddress6, in: inRequest | inAccounting | inStatus | inOrders, // RFC 3162 section 2.1
		means: "our address towards the server, if it is IPv6",
		send: func(o *outgoing) radius.Attribute {
			if !o.nasAddress.Is6() {
				return nil
			}
			return o.nasAddress.AsSlice()
		},
	},
	{
		typ: 5, name: "NAS-Port", kind: kindInteger, in: inRequest | inSession | inOrders, // RFC 2865 section 5.5
		means: "the call ID",
		send:  func(o *outgoing) radius.Attribute { return radius.NewInteger(o.NASPort) },
		match: func(m *authz.Match, v radius.Attribute) error {
			n, err := radius.Integer(v)
			if err != nil {
				return errLength
			}
			m.NASPort = &n
			return nil
		},
	},
	{
		typ: 61, name: "NAS-Port-Type", kind: kindInteger, in: inRequest | inSession | inOrders, // RFC 2865 section 5.41
		means: "Virtual", values: map[uint32]string{5: "Virtual"}, send: constant(5),
	},
	{
		typ: 31, name: "Calling-Station-Id", kind: kindText, in: inRequest | inSession | inOrders, // RFC 2865 section 5.31
		means: "the client's outer address",
		send:  func(o *outgoing) radius.Attribute { return host(o.ClientAddress) },
		match: func(m *authz.Match, v radius.Attribute) error {
			m.CallingStation = string(v)
			return nil
		},
	},
	{
		typ: 30, name: "Called-Station-Id", kind: kindText, in: inRequest | inSession | inOrders, // RFC 2865 section 5.30
		means: "our outer address",
		send:  func(o *outgoing) radius.Attribute { return host(o.ListenerAddress) },
		match: func(m *authz.Match, v radius.Attribute) error {
			m.CalledStation = string(v)
			return nil
		},
	},
	{
		// In an Access-Request so that a server can aim a Disconnect-Request at the session before its Start, RFC 2866
		// section 5.5.
		typ: 44, name: "Acct-Session-Id", kind: kindText, in: inRequest | inAccounting | inOrders,
		means: "the session's ID; of On and Off, the record's",
		send:  func(o *outgoing) radius.Attribute { return str(o.SessionID) },
		match: func(m *authz.Match, v radius.Attribute) error {
			m.SessionID = string(v)
			return nil
		},
	},
	{
		typ: 55, name: "Event-Timestamp", kind: kindTime, in: inRequest | inAccounting | inOrders, // RFC 2869 section 5.3
		means: "when it happened; in a CoA- or Disconnect-Request: must be of the last minutes",
		send:  func(o *outgoing) radius.Attribute { return timestamp(o.at) },
	},
	{
		typ: 33, name: "Proxy-State", kind: kindOctets, in: inOrders, many: true, // RFC 5176 section 3.1
		means: "copied into the reply, in order",
	},
}

// tunnelAttributes tell PPTP from L2TP, and whose tunnel it is. The tag octet of the integers is 0, "unused". The texts have
// none: their first octet is printable, beyond the range of tags, RFC 2868 section 3.3.
var tunnelAttributes = []attribute{
	{
		typ: 64, name: "Tunnel-Type", kind: kindTagged, in: inRequest | inSession, // RFC 2868 section 3.1
		means: "PPTP, or L2TP with and without IPsec", values: map[uint32]string{1: "PPTP", 3: "L2TP"},
		send: tunnelType,
	},
	{
		typ: 65, name: "Tunnel-Medium-Type", kind: kindTagged, in: inRequest | inSession, // RFC 2868 section 3.2
		means: "IPv4 or IPv6", values: map[uint32]string{1: "IPv4", 2: "IPv6"},
		send: func(o *outgoing) radius.Attribute {
			switch {
			case !o.ClientAddress.IsValid():
				return nil
			case o.ClientAddress.Unmap().Is4():
				return radius.NewInteger(1)
			}
			return radius.NewInteger(2)
		},
	},
	{
		typ: 66, name: "Tunnel-Client-Endpoint", kind: kindText, in: inRequest | inSession, // RFC 2868 section 3.3
		means: "the client's outer address",
		send:  func(o *outgoing) radius.Attribute { return host(o.ClientAddress) },
	},
	{
		typ: 67, name: "Tunnel-Server-Endpoint", kind: kindText, in: inRequest | inSession, // RFC 2868 section 3.4
		means: "our outer address",
		send:  func(o *outgoing) radius.Attribute { return host(o.ListenerAddress) },
	},
	{
		typ: 82, name: "Tunnel-Assignment-ID", kind: kindText, in: inRequest | inSession, // RFC 2868 section 3.6
		means: "our name of the tunnel",
		send:  func(o *outgoing) radius.Attribute { return name(o.TunnelID) },
	},
	{
		typ: 90, name: "Tunnel-Client-Auth-ID", kind: kindText, in: inRequest | inSession, // RFC 2868 section 3.9
		means: "the host name that the client's tunnel gave",
		send:  func(o *outgoing) radius.Attribute { return name(o.TunnelClient) },
	},
	{
		typ: 91, name: "Tunnel-Server-Auth-ID", kind: kindText, in: inRequest | inSession, // RFC 2868 section 3.10
		means: "the instance",
		send:  func(o *outgoing) radius.Attribute { return name(o.nasIdentifier) },
	},
}
