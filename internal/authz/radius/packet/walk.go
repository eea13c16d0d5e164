package packet

import (
	"encoding/binary"
	"iter"

	"layeh.com/radius"
)

// Sizes in octets, RFC 2865 section 3.
const (
	HeaderLen        = 20 // code, identifier, Length, authenticator
	AuthenticatorLen = 16
	MaxLen           = radius.MaxPacketLength

	attributeHeader = 2 // type and length
)

// Trim returns the packet in datagram without the padding behind it, or DropTruncated. The packet is a part of datagram.
func Trim(datagram []byte) ([]byte, Drop) {
	if len(datagram) < HeaderLen {
		return nil, DropTruncated
	}
	n := int(binary.BigEndian.Uint16(datagram[2:]))
	if n < HeaderLen || n > MaxLen || n > len(datagram) {
		return nil, DropTruncated
	}
	return datagram[:n], DropNone
}

// Attributes yields type and value of each attribute of b, a packet that Trim returned, in order. Values are parts of b and
// may be empty. It ends early at an attribute whose length is below 2 or beyond the end: Verify lets no such packet through.
func Attributes(b []byte) iter.Seq2[radius.Type, []byte] {
	return func(yield func(radius.Type, []byte) bool) {
		for at := HeaderLen; at < len(b); {
			n := attributeAt(b, at)
			if n == 0 || !yield(radius.Type(b[at]), b[at+attributeHeader:at+n]) {
				return
			}
			at += n
		}
	}
}

// attributeAt returns the length of the attribute that begins at b[at], or 0 if it is malformed.
func attributeAt(b []byte, at int) int {
	if len(b)-at < attributeHeader {
		return 0
	}
	n := int(b[at+1])
	if n < attributeHeader || n > len(b)-at {
		return 0
	}
	return n
}

// find checks the bounds of all attributes of b and returns where the value of its Message-Authenticator begins; 0: it has
// none.
func find(b []byte) (at int, drop Drop) {
	if len(b) < HeaderLen {
		return 0, DropTruncated
	}
	for i := HeaderLen; i < len(b); {
		n := attributeAt(b, i)
		switch {
		case n == 0:
			return 0, DropAttributes
		case radius.Type(b[i]) != messageAuthenticatorType:
		case at != 0:
			return 0, DropManyAuthenticators
		case n != attributeHeader+AuthenticatorLen:
			return 0, DropAuthenticatorLength
		default:
			at = i + attributeHeader
		}
		i += n
	}
	return at, DropNone
}
