package eap

import (
	"encoding/binary"
	"errors"
)

// Codes (RFC 3748 section 4).
const (
	CodeRequest  byte = 1
	CodeResponse byte = 2
	CodeSuccess  byte = 3
	CodeFailure  byte = 4
)

// Types of Requests and Responses (RFC 3748 section 5 and the EAP registry).
const (
	TypeIdentity     byte = 1   // RFC 3748 section 5.1
	TypeNotification byte = 2   // RFC 3748 section 5.2
	TypeNak          byte = 3   // RFC 3748 section 5.3.1, in Responses only
	TypeMD5          byte = 4   // RFC 3748 section 5.4
	TypeOTP          byte = 5   // RFC 3748 section 5.5
	TypeGTC          byte = 6   // RFC 3748 section 5.6
	TypeTLS          byte = 13  // RFC 5216
	TypeTTLS         byte = 21  // RFC 5281
	TypePEAP         byte = 25  // Microsoft's and Cisco's
	TypeMSCHAPv2     byte = 26  // EAP-MSCHAPv2
	TypeTLV          byte = 33  // the result in PEAP's tunnel
	TypeExpanded     byte = 254 // RFC 3748 section 5.7
)

// HeaderLen is the length of code, identifier and length field in octets. Success and Failure consist of nothing else.
const HeaderLen = 4

// MaxPacketLen is the longest packet that the length field can name, in octets.
const MaxPacketLen = 0xffff

// MaxIdentityLen is the longest identity that a network access server can pass on, in octets: as much as a User-Name of
// RADIUS holds (RFC 3748 section 7.1 and RFC 2865 section 5).
const MaxIdentityLen = 253

// Errors of ParsePacket and Packet.AppendBinary.
var (
	// ErrShortPacket is returned for a packet with fewer octets than its header or its length field wants.
	ErrShortPacket = errors.New("eap: packet too short")
	// ErrPacketLen is returned when the length field does not fit the code: a Request or Response has a type, a Success
	// or Failure has nothing behind its header.
	ErrPacketLen = errors.New("eap: length field does not fit the code")
	// ErrCode is returned for a code that RFC 3748 section 4 does not know.
	ErrCode = errors.New("eap: unknown code")
	// ErrLongPacket is returned when a packet is too long to be written.
	ErrLongPacket = errors.New("eap: packet too long")
)

// Packet is one EAP packet.
type Packet struct {
	Code byte
	ID   byte
	Type byte   // of a Request or Response
	Data []byte // what follows the type of a Request or Response
}

// ParsePacket reads a packet. Octets behind the length that it names are padding and ignored (RFC 3748 section 4). Data
// borrows b.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < HeaderLen {
		return Packet{}, ErrShortPacket
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < HeaderLen {
		return Packet{}, ErrPacketLen
	}
	if n > len(b) {
		return Packet{}, ErrShortPacket
	}
	p := Packet{Code: b[0], ID: b[1]}
	switch p.Code {
	case CodeRequest, CodeResponse:
		if n == HeaderLen {
			return Packet{}, ErrPacketLen
		}
		p.Type, p.Data = b[HeaderLen], b[HeaderLen+1:n]
	case CodeSuccess, CodeFailure:
		if n != HeaderLen {
			return Packet{}, ErrPacketLen
		}
	default:
		return Packet{}, ErrCode
	}
	return p, nil
}

// Len is the length of the packet in octets. The first Len octets of what ParsePacket has read are the packet without
// its padding.
func (p Packet) Len() int {
	if p.Code == CodeSuccess || p.Code == CodeFailure {
		return HeaderLen
	}
	return HeaderLen + 1 + len(p.Data)
}

// AppendBinary implements encoding.BinaryAppender. It fails for an unknown code and for data that the length field can
// not name.
func (p Packet) AppendBinary(b []byte) ([]byte, error) {
	switch {
	case p.Code < CodeRequest || p.Code > CodeFailure:
		return b, ErrCode
	case p.Len() > MaxPacketLen:
		return b, ErrLongPacket
	}
	b = append(b, p.Code, p.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(p.Len()))
	if p.Code == CodeSuccess || p.Code == CodeFailure {
		return b, nil
	}
	b = append(b, p.Type)
	return append(b, p.Data...), nil
}
