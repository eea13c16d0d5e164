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
func ParseHeader(b []byte) (Header, []byte, error) {
	if len(b) < MinHeaderLen {
		return Header{}, nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&versionMask != version2 {
		return Header{}, nil, ErrVersion
	}
	h := Header{
		Control:     flags&bitType != 0,
		HasLength:   flags&bitLength != 0,
		HasSequence: flags&bitSequence != 0,
		HasOffset:   flags&bitOffset != 0,
		Priority:    flags&bitPriority != 0,
	}
	if h.Control && (!h.HasLength || !h.HasSequence || h.HasOffset) {
		return Header{}, nil, ErrFlags
	}
	n := h.Len()
	if len(b) < n {
		return Header{}, nil, ErrShort
	}
	rest := b[2:]
	if h.HasLength {
		h.Length = binary.BigEndian.Uint16(rest)
		rest = rest[2:]
	}
	h.TunnelID = binary.BigEndian.Uint16(rest)
	h.SessionID = binary.BigEndian.Uint16(rest[2:])
	rest = rest[4:]
	if h.HasSequence {
		h.Ns = binary.BigEndian.Uint16(rest)
		h.Nr = binary.BigEndian.Uint16(rest[2:])
		rest = rest[4:]
	}
	if h.HasOffset {
		h.Offset = binary.BigEndian.Uint16(rest)
		n += int(h.Offset)
	}
	end := len(b)
	if h.HasLength {
		end = int(h.Length)
	}
	if len(b) < end {
		return Header{}, nil, ErrShort
	}
	if end < n {
		return Header{}, nil, ErrLength
	}
	return h, b[n:end:end], nil
}

// Len is the length of the encoded header in octets, from 6 to 14, and up to 65549 with the padding of Offset.
func (h Header) Len() int {
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
func (h Header) Put(b []byte) {
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

// AppendBinary appends the header to b. It never fails.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	n := len(b)
	b = append(b, make([]byte, h.Len())...)
	h.Put(b[n:])
	return b, nil
}
