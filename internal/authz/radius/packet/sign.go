package packet

import (
	"crypto/hmac"
	"crypto/md5" // RFC 2865 and RFC 3579 are built on it
	"errors"
	"fmt"

	"layeh.com/radius"
	"layeh.com/radius/rfc2869"
)

const messageAuthenticatorType = rfc2869.MessageAuthenticator_Type

// ErrSigned is returned by Sign for a packet that has a Message-Authenticator already.
var ErrSigned = errors.New("radius packet: Sign adds the Message-Authenticator itself")

// Sign writes p in wire form and makes it genuine with p.Secret. It changes nothing of p; the octets belong to the caller.
//
// Access-Request and Status-Server keep p.Authenticator, which should be random. Accounting-, Disconnect- and CoA-Request get
// a Request Authenticator that is computed. In replies p.Authenticator is the request's, as (*radius.Packet).Response sets it,
// and a Response Authenticator takes its place.
//
// All but accounting gets a Message-Authenticator, which comes first so that no attribute, which a peer may have a say in,
// lies before it: a chosen prefix is what CVE-2024-3596 needs. Accounting has none: RFC 2869 section 5.19 knows none there,
// old servers refuse it, and there the secret is part of both digests.
//
// It is an error if p is longer than 4096 octets with all that, has an attribute of more than 253 octets or a code of no
// known kind.
func Sign(p *radius.Packet) ([]byte, error) {
	if len(p.Secret) == 0 {
		return nil, errors.New("radius packet: no secret to sign with")
	}
	if _, has := p.Lookup(messageAuthenticatorType); has {
		return nil, ErrSigned
	}
	var auth, zero [AuthenticatorLen]byte // what both digests see as the authenticator
	var mac, digest bool
	switch p.Code {
	case radius.CodeAccessRequest, radius.CodeStatusServer:
		auth, mac = p.Authenticator, true
	case radius.CodeAccountingRequest:
		digest = true
	case radius.CodeDisconnectRequest, radius.CodeCoARequest:
		mac, digest = true, true
	case radius.CodeAccountingResponse:
		auth, digest = p.Authenticator, true
	case radius.CodeAccessAccept, radius.CodeAccessReject, radius.CodeAccessChallenge,
		radius.CodeDisconnectACK, radius.CodeDisconnectNAK, radius.CodeCoAACK, radius.CodeCoANAK:
		auth, mac, digest = p.Authenticator, true, true
	default:
		return nil, fmt.Errorf("radius packet: there is no way to sign %s", p.Code)
	}
	q := radius.Packet{Code: p.Code, Identifier: p.Identifier, Authenticator: auth, Attributes: p.Attributes}
	if mac {
		first := &radius.AVP{Type: messageAuthenticatorType, Attribute: zero[:]}
		q.Attributes = append(radius.Attributes{first}, p.Attributes...)
	}
	b, err := q.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", p.Code, err)
	}
	if mac {
		const at = HeaderLen + attributeHeader
		sum := messageAuthenticator(b, at, auth, p.Secret)
		copy(b[at:], sum[:])
	}
	if digest {
		sum := authenticator(b, auth, p.Secret)
		copy(b[4:HeaderLen], sum[:])
	}
	return b, nil
}

// messageAuthenticator computes the value for the Message-Authenticator whose 16 octets begin at b[at], with auth in the
// place of the packet's own authenticator (RFC 3579 section 3.2). b is exactly Length octets long.
func messageAuthenticator(b []byte, at int, auth [AuthenticatorLen]byte, secret []byte) (sum [AuthenticatorLen]byte) {
	var zero [AuthenticatorLen]byte
	h := hmac.New(md5.New, secret)
	h.Write(b[:4])
	h.Write(auth[:])
	h.Write(b[HeaderLen:at])
	h.Write(zero[:])
	h.Write(b[at+AuthenticatorLen:])
	h.Sum(sum[:0])
	return sum
}

// authenticator is MD5(Code+Identifier+Length+auth+Attributes+Secret): the Response Authenticator of RFC 2865 section 3 if
// auth is the request's authenticator, and the Request Authenticator of RFC 2866 section 3 if it is zero.
func authenticator(b []byte, auth [AuthenticatorLen]byte, secret []byte) (sum [AuthenticatorLen]byte) {
	h := md5.New()
	h.Write(b[:4])
	h.Write(auth[:])
	h.Write(b[HeaderLen:])
	h.Write(secret)
	h.Sum(sum[:0])
	return sum
}
