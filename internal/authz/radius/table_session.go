package radius

import (
	"layeh.com/radius"

	"concentrator/internal/authz"
)

// sessionAttributes are what a server grants.
var sessionAttributes = []attribute{
	{
		typ: 8, name: "Framed-IP-Address", kind: kindAddress, in: inSession | inAccept | inOrders, // RFC 2865 section 5.8
		means: "the client's address; 255.255.255.254, 255.255.255.255 and what is no host's address mean \"from the pool\"",
		send:  framedAddress, set: setFramedAddress,
		match: func(m *authz.Match, v radius.Attribute) error { return address(&m.Address, v) },
	},
	{
		typ: 9, name: "Framed-IP-Netmask", kind: kindAddress, in: inAccept, // RFC 2865 section 5.9
		means: "not applied unless it is 255.255.255.255, as PPP has it: a network behind the client is a Framed-Route",
		set:   setFramedNetmask,
	},
	{
		typ: 88, name: "Framed-Pool", kind: kindText, in: inAccept, // RFC 2869 section 5.18
		means: "a pool of the tenant, by the last part of its name, instead of the profile's",
		set: func(a *answer, v radius.Attribute) error {
			a.v.Pool = printable(v)
			return nil
		},
	},
	{
		typ: 22, name: "Framed-Route", kind: kindText, in: inAccept | inCoA, many: true, // RFC 2865 section 5.22
		means: "`prefix[/length] [gateway [metrics]]`: a network behind the client, while the session lives; gateway and " +
			"metrics are not used. In a CoA-Request all of them stand for all that there were",
		set:    setFramedRoute,
		change: func(c *authz.Change, a *answer) { c.Routes = &a.v.Routes },
	},
	{
		typ: 12, name: "Framed-MTU", kind: kindInteger, in: inRequest | inAccept, // RFC 2865 section 5.12, RFC 3579 section 2.4
		means: "what the client takes, less 4; from an accept: instead of the profile's `mtu`",
		send:  framedMTU, set: setFramedMTU,
	},
	{
		typ: 11, name: "Filter-Id", kind: kindText, in: inAccept | inCoA, many: true, // RFC 2865 section 5.11
		means: "an ACL of the tenant, by the last part of its name, instead of the profile's; the last one counts",
		set: func(a *answer, v radius.Attribute) error {
			a.v.ACL = printable(v)
			return nil
		},
		change: func(c *authz.Change, a *answer) { c.ACL = &a.v.ACL },
	},
	{
		typ: 18, name: "Reply-Message", kind: kindText, in: inReplies | inOrders, many: true, // RFC 2865 section 5.18
		means: "text for the user",
		set: func(a *answer, v radius.Attribute) error {
			a.messages = append(a.messages, printable(v))
			return nil
		},
	},
	{
		typ: 25, name: "Class", kind: kindOctets, in: inSession | inAccept | inOrders, many: true, // RFC 2865 section 5.25
		means:   "sent back in accounting, unread, all in order; in a Disconnect-Request it is for the Stop",
		sendAll: classes, set: setClass,
		change: func(c *authz.Change, a *answer) { c.Class = &a.v.Class },
	},
	{
		typ: 27, name: "Session-Timeout", kind: kindInteger, in: inAccept | inChallenge | inCoA, // RFC 2865 section 5.27
		means:  "seconds, instead of the profile's; in a challenge: how long the client may take",
		set:    func(a *answer, v radius.Attribute) error { return seconds(&a.v.SessionTimeout, v) },
		change: func(c *authz.Change, a *answer) { c.SessionTimeout = &a.v.SessionTimeout },
	},
	{
		vendor: vendorWISPr, typ: 9, name: "WISPr-Session-Terminate-Time", kind: kindText, in: inAccept,
		means: "`YYYY-MM-DDThh:mm:ss` and `Z` or `+hh:mm`: when the session ends; of this and Session-Timeout the earlier",
		set:   setTerminateTime,
	},
	{
		typ: 28, name: "Idle-Timeout", kind: kindInteger, in: inAccept | inCoA, // RFC 2865 section 5.28
		means:  "seconds, instead of the profile's",
		set:    func(a *answer, v radius.Attribute) error { return seconds(&a.v.IdleTimeout, v) },
		change: func(c *authz.Change, a *answer) { c.IdleTimeout = &a.v.IdleTimeout },
	},
	{
		typ: 29, name: "Termination-Action", kind: kindInteger, in: inAccept, // RFC 2865 section 5.29
		means: "RADIUS-Request is not applied: the session ends", set: setTerminationAction,
	},
	{
		typ: 62, name: "Port-Limit", kind: kindInteger, in: inAccept, // RFC 2865 section 5.42
		means: "sessions that the user may have, instead of the tenant's limit", set: setPortLimit,
	},
	{
		typ: 85, name: "Acct-Interim-Interval", kind: kindInteger, in: inAccept | inCoA, // RFC 2869 section 5.16
		means:  "seconds between interim records, at least 60, instead of the profile's",
		set:    setInterimInterval,
		change: func(c *authz.Change, a *answer) { c.InterimInterval = &a.v.InterimInterval },
	},
}

// rateAttributes are the limits of the vendors that have any. They have no RFC; they mean here what they mean to RouterOS,
// whose "rx" and "tx" are the client's up and down. What several of them make together: limits.settle.
var rateAttributes = []attribute{
	{
		vendor: vendorMikrotik, typ: 8, name: "Mikrotik-Rate-Limit", kind: kindText, in: inAccept | inCoA,
		means: "`up[/down]` in bits a second, with k, M or G; one value is both. Bursts and priority behind it are not applied",
		set:   setMikrotikRate,
	},
	{
		vendor: vendorAscend, typ: 197, name: "Ascend-Data-Rate", kind: kindInteger, in: inAccept | inCoA, many: true,
		means: "bits a second: up beside Ascend-Xmit-Rate; alone both; twice, first down, then up",
		set: func(a *answer, v radius.Attribute) error {
			a.limits.ascendData = append(a.limits.ascendData, nil)
			return a.rate(&a.limits.ascendData[len(a.limits.ascendData)-1], v)
		},
	},
	{
		vendor: vendorAscend, typ: 255, name: "Ascend-Xmit-Rate", kind: kindInteger, in: inAccept | inCoA,
		means: "bits a second, down",
		set:   func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.ascend.down, v) },
	},
	{
		vendor: vendorWISPr, typ: 7, name: "WISPr-Bandwidth-Max-Up", kind: kindInteger, in: inAccept | inCoA,
		means: "bits a second, up",
		set:   func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.wispr.up, v) },
	},
	{
		vendor: vendorWISPr, typ: 8, name: "WISPr-Bandwidth-Max-Down", kind: kindInteger, in: inAccept | inCoA,
		means: "bits a second, down",
		set:   func(a *answer, v radius.Attribute) error { return a.rate(&a.limits.wispr.down, v) },
	},
}
