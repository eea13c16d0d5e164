package radius

import (
	"crypto/hmac"
	"crypto/md5" // RFC 2865 and RFC 3579 are built on it
	"encoding/binary"
	"errors"
	"fmt"

	"layeh.com/radius"
	"layeh.com/radius/rfc2869"

	"concentrator/internal/tenant"
)

const (
	headerLen        = 20 // code, identifier, Length, authenticator; RFC 2865 section 3
	authenticatorLen = 16
	attributeHeader  = 2 // type and length
)

// sign writes p, whose first attribute is a Message-Authenticator of 16 zero octets, in wire form and signs it.
//
// The Message-Authenticator comes first so that no attribute, which the peer may have a say in, lies before it: a chosen
// prefix is what CVE-2024-3596 needs.
func sign(p *radius.Packet) ([]byte, error) {
	if len(p.Attributes) == 0 || p.Attributes[0].Type != rfc2869.MessageAuthenticator_Type ||
		len(p.Attributes[0].Attribute) != md5.Size {
		return nil, errors.New("radius: the Message-Authenticator is not the first attribute")
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode Access-Request: %w", err)
	}
	mac := messageAuthenticator(b, headerLen+attributeHeader, [authenticatorLen]byte(b[4:headerLen]), p.Secret)
	copy(b[headerLen+attributeHeader:], mac[:])
	return b, nil
}

// messageAuthenticator computes the value for the Message-Authenticator whose 16 octets begin at b[at], with auth, the
// Request Authenticator, in the place of the packet's own (RFC 3579 section 3.2). b is exactly Length octets long.
func messageAuthenticator(b []byte, at int, auth [authenticatorLen]byte, secret []byte) (sum [md5.Size]byte) {
	var zero [md5.Size]byte
	h := hmac.New(md5.New, secret)
	h.Write(b[:4])
	h.Write(auth[:])
	h.Write(b[headerLen:at])
	h.Write(zero[:])
	h.Write(b[at+md5.Size:])
	h.Sum(sum[:0])
	return sum
}

// responseAuthenticator is MD5(Code+Identifier+Length+Request Authenticator+Attributes+Secret), RFC 2865 section 3.
func responseAuthenticator(b []byte, auth [authenticatorLen]byte, secret []byte) (sum [md5.Size]byte) {
	h := md5.New()
	h.Write(b[:4])
	h.Write(auth[:])
	h.Write(b[headerLen:])
	h.Write(secret)
	h.Sum(sum[:0])
	return sum
}

// trim returns the packet in datagram without the padding behind it, or DropTruncated (RFC 2865 section 3, "Length").
func trim(datagram []byte) ([]byte, Drop) {
	if len(datagram) < headerLen {
		return nil, DropTruncated
	}
	n := int(binary.BigEndian.Uint16(datagram[2:]))
	if n < headerLen || n > radius.MaxPacketLength || n > len(datagram) {
		return nil, DropTruncated
	}
	return datagram[:n], dropNone
}

// verify says whether b, a packet that trim returned, is a genuine answer to the request with the authenticator auth.
// secret is the index of the one that fits; signed says that the packet has a Message-Authenticator, and it is right.
func verify(b []byte, auth [authenticatorLen]byte, secrets []tenant.Secret) (secret int, signed bool, drop Drop) {
	switch radius.Code(b[0]) {
	case radius.CodeAccessAccept, radius.CodeAccessReject, radius.CodeAccessChallenge:
	default:
		return 0, false, DropCode
	}
	at := 0 // where the value of the Message-Authenticator begins
	for i := headerLen; i < len(b); i += int(b[i+1]) {
		if len(b)-i < attributeHeader || int(b[i+1]) < attributeHeader || int(b[i+1]) > len(b)-i {
			return 0, false, DropAttributes
		}
		if radius.Type(b[i]) != rfc2869.MessageAuthenticator_Type {
			continue
		}
		if at != 0 {
			return 0, false, DropManyAuthenticators
		}
		if b[i+1] != attributeHeader+md5.Size {
			return 0, false, DropAuthenticatorLength
		}
		at = i + attributeHeader
	}
	for i, s := range secrets {
		sum := responseAuthenticator(b, auth, s)
		if !hmac.Equal(sum[:], b[4:headerLen]) { // constant time
			continue
		}
		if at == 0 {
			return i, false, dropNone
		}
		mac := messageAuthenticator(b, at, auth, s)
		if !hmac.Equal(mac[:], b[at:at+md5.Size]) {
			return 0, false, DropMessageAuthenticator
		}
		return i, true, dropNone
	}
	return 0, false, DropResponseAuthenticator
}
