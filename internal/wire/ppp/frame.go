package ppp

import (
	"encoding/binary"
	"errors"
)

// The HDLC address and control octets that open an uncompressed frame (RFC 1662 section 3.1).
const (
	address byte = 0xff
	control byte = 0x03
)

// unassignable is no protocol number, because its short form would look like an address field (RFC 1661 section 6.5).
const unassignable uint16 = 0x00ff

// Errors of ParseFrame.
var (
	// ErrShortFrame is returned for a frame that ends inside its header.
	ErrShortFrame = errors.New("ppp: frame too short")
	// ErrProtocol is returned for a protocol number that RFC 1661 section 2 does not allow.
	ErrProtocol = errors.New("ppp: illegal protocol number")
)

// ParseFrame takes the header off a PPP frame. It accepts the frame with and without address and control field, and
// with a protocol field of one or two octets, whatever was negotiated (RFC 1661 sections 6.5 and 6.6). info borrows b.
func ParseFrame(b []byte) (protocol uint16, info []byte, err error) {
	if len(b) >= 2 && b[0] == address && b[1] == control {
		b = b[2:]
	}
	if len(b) == 0 {
		return 0, nil, ErrShortFrame
	}
	// The last octet of a protocol number is odd and all others are even, so the first octet tells the length.
	if b[0]&1 == 1 {
		if b[0] == address {
			return 0, nil, ErrProtocol
		}
		return uint16(b[0]), b[1:], nil
	}
	if len(b) < 2 {
		return 0, nil, ErrShortFrame
	}
	protocol = binary.BigEndian.Uint16(b)
	if protocol&1 == 0 || protocol == unassignable {
		return 0, nil, ErrProtocol
	}
	return protocol, b[2:], nil
}

// HeaderLen is how many octets AppendHeader appends.
func HeaderLen(protocol uint16, acfc, pfc bool) int {
	n := 4
	if acfc && protocol != ProtocolLCP {
		n -= 2
	}
	if pfc && protocol <= 0xff {
		n--
	}
	return n
}

// AppendHeader appends the header of a frame to b. acfc leaves out the address and control field, pfc shortens the
// protocol field where the number allows it. An LCP frame is never shortened, because it must be understood by a peer
// that has forgotten what was negotiated (RFC 1661 sections 6.5 and 6.6).
func AppendHeader(b []byte, protocol uint16, acfc, pfc bool) []byte {
	if !acfc || protocol == ProtocolLCP {
		b = append(b, address, control)
	}
	if pfc && protocol <= 0xff {
		return append(b, byte(protocol))
	}
	return binary.BigEndian.AppendUint16(b, protocol)
}
