package radius

import (
	"layeh.com/radius"

	"concentrator/internal/authz"
	"concentrator/internal/tenant"
	"concentrator/internal/wire/mschap"
)

// userAttributes say who the user is, and prove it.
var userAttributes = []attribute{
	{
		typ: 1, name: "User-Name", kind: kindText, in: inRequest | inSession | inAccept | inOrders, // RFC 2865 section 5.1
		means: "the login after realm handling, with EAP and a realm that MS-CHAPv2 hashes as the client sent it; " +
			"from an accept: what the user is called in accounting",
		send: func(o *outgoing) radius.Attribute { return str(o.user) },
		set: func(a *answer, v radius.Attribute) error {
			a.v.UserName = printable(v)
			return nil
		},
		match: func(m *authz.Match, v radius.Attribute) error {
			m.User = string(v)
			return nil
		},
	},
	{
		typ: 2, name: "User-Password", kind: kindSecret, in: inRequest, means: "the password, with PAP", // RFC 2865 section 5.2
		send: func(o *outgoing) radius.Attribute {
			if o.method != tenant.AuthPAP {
				return nil
			}
			v, err := radius.NewUserPassword(o.ask.Password, o.secret, o.authenticator[:])
			if err != nil {
				return nil // can't be: askable checked the length, and a server without a secret is none
			}
			return v
		},
	},
	{
		typ: 3, name: "CHAP-Password", kind: kindSecret, in: inRequest, // RFC 2865 section 5.3
		means: "identifier and response, with CHAP",
		send: func(o *outgoing) radius.Attribute {
			if o.method != tenant.AuthCHAP {
				return nil
			}
			return append(radius.Attribute{o.ask.ID}, o.ask.Response...)
		},
	},
	{
		typ: 60, name: "CHAP-Challenge", kind: kindSecret, in: inRequest, // RFC 2865 section 5.40
		means: "our challenge, with CHAP",
		send: func(o *outgoing) radius.Attribute {
			if o.method != tenant.AuthCHAP {
				return nil
			}
			return o.ask.Challenge
		},
	},
	{
		vendor: vendorMicrosoft, typ: 11, name: "MS-CHAP-Challenge", kind: kindSecret, in: inRequest, // RFC 2548 section 2.1.2
		means: "our challenge, with MS-CHAPv2",
		send: func(o *outgoing) radius.Attribute {
			if o.method != tenant.AuthMSCHAPv2 {
				return nil
			}
			return o.ask.Challenge
		},
	},
	{
		vendor: vendorMicrosoft, typ: 25, name: "MS-CHAP2-Response", kind: kindSecret, in: inRequest, // RFC 2548 section 2.3.2
		means: "the response, with MS-CHAPv2",
		send: func(o *outgoing) radius.Attribute {
			if o.method != tenant.AuthMSCHAPv2 || o.ask.NewPassword != nil {
				return nil
			}
			// The peer's value has the flags last, the attribute has them behind the identifier.
			last := mschap.ResponseLen - 1
			return append(radius.Attribute{o.ask.ID, o.ask.Response[last]}, o.ask.Response[:last]...)
		},
	},
	{
		vendor: vendorMicrosoft, typ: 6, name: "MS-CHAP-NT-Enc-PW", kind: kindSecret, in: inRequest, // RFC 2548 section 2.1
		many: true, means: "the new password, encrypted by the client, in pieces of 243 octets",
		sendAll: encryptedPassword,
	},
	{
		vendor: vendorMicrosoft, typ: 27, name: "MS-CHAP2-CPW", kind: kindSecret, in: inRequest, // RFC 2548 section 2.3.4
		means: "instead of MS-CHAP2-Response where the client changes its password", send: changePassword,
	},
	{
		typ: 79, name: "EAP-Message", kind: kindSecret, in: inRequest | inReplies, many: true, // RFC 3579 section 3.1
		means:   "an EAP packet, in pieces of 253 octets, with EAP",
		sendAll: eapPieces,
		set: func(a *answer, v radius.Attribute) error {
			a.eap = append(a.eap, v...)
			return nil
		},
	},
	{
		typ: 24, name: "State", kind: kindSecret, in: inRequest | inChallenge | inOrders, // RFC 2865 section 5.24
		means: "of the challenge that this request answers, unread",
		send:  func(o *outgoing) radius.Attribute { return o.state },
		set: func(a *answer, v radius.Attribute) error {
			a.state = radius.Bytes(v)
			return nil
		},
	},
	{
		typ: 80, name: "Message-Authenticator", kind: kindSecret, in: inRequest | inReplies | inOrders, // RFC 3579 section 3.2
		means: "the signature; first in a request. Whether a reply must have one: `messageAuthenticator`, below",
	},
}
