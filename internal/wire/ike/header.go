package ike

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Cookie is half the name of an ISAKMP SA, RFC 2408 section 2.5.3.
type Cookie [8]byte

// IsZero says whether the cookie is not set, as the responder's is in message 1.
func (c Cookie) IsZero() bool { return c == Cookie{} }

// Flags of the header, RFC 2408 section 3.1.
const (
	FlagEncryption uint8 = 1 << 0
	FlagCommit     uint8 = 1 << 1
	FlagAuthOnly   uint8 = 1 << 2
)

// version10 is major version 1, minor version 0.
const version10 = 0x10

// HeaderLen is the length of the ISAKMP header in octets.
const HeaderLen = 28

// MaxMessageLen bounds a message, reassembled from fragments or not, in octets.
const MaxMessageLen = 65535

// Errors of parsers. They come wrapped with what was wrong where.
var (
	// ErrLength is returned when a length does not fit what it measures.
	ErrLength = errors.New("ike: bad length")
	// ErrVersion is returned for a version other than 1.0.
	ErrVersion = errors.New("ike: not version 1.0")
	// ErrTooMany is returned when there are more payloads, proposals, transforms or attributes than we look at.
	ErrTooMany = errors.New("ike: too many")
	// ErrChain is returned when a next-payload field contradicts what follows.
	ErrChain = errors.New("ike: broken chain of payloads")
	// ErrDOI is returned for an SA payload of another domain of interpretation than IPsec.
	ErrDOI = errors.New("ike: unknown domain of interpretation")
	// ErrSituation is returned for an SA payload with a situation other than SIT_IDENTITY_ONLY.
	ErrSituation = errors.New("ike: unsupported situation")
)

// Header is the ISAKMP header, RFC 2408 section 3.1.
type Header struct {
	Initiator, Responder Cookie
	Next                 PayloadType // type of the first payload
	Exchange             ExchangeType
	Flags                uint8
	MessageID            uint32
	Length               uint32 // of the whole message, header included
}

// Encrypted says whether the payloads are encrypted.
func (h Header) Encrypted() bool { return h.Flags&FlagEncryption != 0 }

// ParseHeader reads the header of a datagram and checks that the datagram is as long as the header says.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("%w: %d octets are no header", ErrLength, len(b))
	}
	if b[17] != version10 {
		return Header{}, fmt.Errorf("%w: %#02x", ErrVersion, b[17])
	}
	h := Header{
		Initiator: Cookie(b[0:8]), Responder: Cookie(b[8:16]),
		Next: PayloadType(b[16]), Exchange: ExchangeType(b[18]), Flags: b[19],
		MessageID: binary.BigEndian.Uint32(b[20:]), Length: binary.BigEndian.Uint32(b[24:]),
	}
	if uint64(h.Length) != uint64(len(b)) {
		return Header{}, fmt.Errorf("%w: the header says %d octets, the datagram has %d", ErrLength, h.Length, len(b))
	}
	return h, nil
}

// AppendBinary appends the header to b, with h.Length as it stands. It never fails; the error is
// encoding.BinaryAppender's.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, h.Initiator[:]...)
	b = append(b, h.Responder[:]...)
	b = append(b, byte(h.Next), version10, byte(h.Exchange), h.Flags)
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, h.Length), nil
}
