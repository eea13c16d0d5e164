package l2tp

import (
	"encoding/binary"
	"errors"
)

// Port is the UDP port of L2TP, RFC 2661 section 8.1.
const Port = 1701

// The first 16 bits of every message, RFC 2661 section 3.1:
//
//	 0  1  2  3  4  5  6  7  8  9  10 11 12 13 14 15
//	+--+--+-----+--+--+--+--+-----------+-----------+
//	|T |L |  x  |S |x |O |P |     x     |    Ver    |
//	+--+--+-----+--+--+--+--+-----------+-----------+
//
// x is sent as 0 and ignored.
const (
	bitType     = 0x8000
	bitLength   = 0x4000
	bitSequence = 0x0800
	bitOffset   = 0x0200
	bitPriority = 0x0100
	versionMask = 0x000f
	version2    = 2
)

const (
	// MinHeaderLen is the length in octets of a data header with none of the optional fields.
	MinHeaderLen = 6
	// ControlHeaderLen is the length in octets of every control header.
	ControlHeaderLen = 12
)

// Why a message isn't L2TP version 2.
var (
	// ErrShort is returned when the message ends before its header, its Offset Size or its Length.
	ErrShort = errors.New("l2tp: short message")
	// ErrVersion is returned for another version: 1 is L2F, 3 is L2TPv3.
	ErrVersion = errors.New("l2tp: not version 2")
	// ErrFlags is returned for a control message without the L or the S bit, or with the O bit.
	ErrFlags = errors.New("l2tp: illegal flags of a control message")
	// ErrLength is returned when Length is less than the header takes.
	ErrLength = errors.New("l2tp: length does not hold the header")
)

// Header is the header of a control or data message, RFC 2661 section 3.1.
type Header struct {
	Control     bool // T: a control message
	HasLength   bool // L: Length is present
	HasSequence bool // S: Ns and Nr are present
	HasOffset   bool // O: Offset is present
	Priority    bool // P: of data only

	Length    uint16 // octets of the whole message, header included
	TunnelID  uint16 // that the receiver gave the tunnel
	SessionID uint16 // that the receiver gave the session; 0 in control messages about the tunnel
	Ns        uint16 // sequence number of this message
	Nr        uint16 // the sequence number expected next; in data messages it means nothing
	Offset    uint16 // octets of padding between the header and the payload
}

// ParseHeader reads the header at the start of b, which is the payload of a UDP datagram. The second result is what
// follows it, without the padding of Offset and without octets behind Length, which some links add; it borrows b. The
// errors are the Err values of this file, never wrapped.
func ParseHeader(b []byte) (h Header, rest []byte, err error) {
	if rest, err = h.Parse(b); err != nil {
		return Header{}, nil, err
	}
	return h, rest, nil
}

// Parse is ParseHeader into h, for who reads so many that copying them counts. With an error h is undefined.
func (h *Header) Parse(b []byte) (rest []byte, err error) {
	if len(b) < MinHeaderLen {
		return nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&versionMask != version2 {
		return nil, ErrVersion
	}
	if flags&bitType != 0 && flags&(bitLength|bitSequence|bitOffset) != bitLength|bitSequence {
		return nil, ErrFlags
	}
	h.Control = flags&bitType != 0
	h.HasLength = flags&bitLength != 0
	h.HasSequence = flags&bitSequence != 0
	h.HasOffset = flags&bitOffset != 0
	h.Priority = flags&bitPriority != 0
	h.Length, h.Ns, h.Nr, h.Offset = 0, 0, 0, 0
	at, end := 2, len(b)
	if flags&bitLength != 0 {
		h.Length = binary.BigEndian.Uint16(b[at:])
		at, end = at+2, int(h.Length)
	}
	if len(b) < at+4 {
		return nil, ErrShort
	}
	h.TunnelID = binary.BigEndian.Uint16(b[at:])
	h.SessionID = binary.BigEndian.Uint16(b[at+2:])
	at += 4
	if flags&bitSequence != 0 {
		if len(b) < at+4 {
			return nil, ErrShort
		}
		h.Ns = binary.BigEndian.Uint16(b[at:])
		h.Nr = binary.BigEndian.Uint16(b[at+2:])
		at += 4
	}
	if flags&bitOffset != 0 {
		if len(b) < at+2 {
			return nil, ErrShort
		}
		h.Offset = binary.BigEndian.Uint16(b[at:])
		at += 2 + int(h.Offset)
	}
	if len(b) < end {
		return nil, ErrShort
	}
	if end < at {
		return nil, ErrLength
	}
	return b[at:end:end], nil
}

// Len is the length of the encoded header in octets, from 6 to 14, and up to 65549 with the padding of Offset.
func (h *Header) Len() int {
	n := MinHeaderLen
	if h.HasLength {
		n += 2
	}
	if h.HasSequence {
		n += 4
	}
	if h.HasOffset {
		n += 2 + int(h.Offset)
	}
	return n
}

// Put writes the header, and zeros as the padding of Offset, into the first Len octets of b, which must be that long.
func (h *Header) Put(b []byte) {
	b = b[:h.Len()]
	flags := uint16(version2)
	if h.Control {
		flags |= bitType
	}
	if h.HasLength {
		flags |= bitLength
	}
	if h.HasSequence {
		flags |= bitSequence
	}
	if h.HasOffset {
		flags |= bitOffset
	}
	if h.Priority {
		flags |= bitPriority
	}
	binary.BigEndian.PutUint16(b, flags)
	rest := b[2:]
	if h.HasLength {
		binary.BigEndian.PutUint16(rest, h.Length)
		rest = rest[2:]
	}
	binary.BigEndian.PutUint16(rest, h.TunnelID)
	binary.BigEndian.PutUint16(rest[2:], h.SessionID)
	rest = rest[4:]
	if h.HasSequence {
		binary.BigEndian.PutUint16(rest, h.Ns)
		binary.BigEndian.PutUint16(rest[2:], h.Nr)
		rest = rest[4:]
	}
	if h.HasOffset {
		binary.BigEndian.PutUint16(rest, h.Offset)
		clear(rest[2:])
	}
}

// DataHeaderLen is the length in octets of the header that PutData writes.
const DataHeaderLen = 8

// PutData writes the header of a data message with nothing but its length, in octets and including the header, into the first
// DataHeaderLen octets of b: what Put writes for a Header with HasLength and these fields.
func PutData(b []byte, length, tunnelID, sessionID uint16) {
	binary.BigEndian.PutUint64(b, (bitLength|version2)<<48|uint64(length)<<32|uint64(tunnelID)<<16|uint64(sessionID))
}

// AppendBinary appends the header to b. It never fails.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	n := len(b)
	b = append(b, make([]byte, h.Len())...)
	h.Put(b[n:])
	return b, nil
}
