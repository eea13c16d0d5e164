package gre

import (
	"encoding/binary"
	"errors"
)

// Numbers of RFC 2637 section 4.1.
const (
	// ProtocolPPP is the protocol type of enhanced GRE: PPP frames.
	ProtocolPPP uint16 = 0x880b
	// MinHeaderLen is the length in octets of a header with neither sequence nor acknowledgement number.
	MinHeaderLen = 8
	// MaxHeaderLen is the length in octets of a header with both.
	MaxHeaderLen = 16
)

// The first 16 bits:
//
//	 0  1  2  3  4  5  6  7  8  9  10 11 12 13 14 15
//	+--+--+--+--+--+--------+--+-----------+--------+
//	|C |R |K |S |s | Recur  |A |   Flags   |  Ver   |
//	+--+--+--+--+--+--------+--+-----------+--------+
//
// K is always 1, Ver is always 1, and all but K, S, A and Ver are always 0.
const (
	bitKey   = 0x2000
	bitSeq   = 0x1000
	bitAck   = 0x0080
	version1 = 0x0001

	fixedMask = 0xffff &^ (bitSeq | bitAck)
	fixedBits = bitKey | version1
)

// Why a packet isn't enhanced GRE.
var (
	// ErrShort is returned when the packet ends before its header, or before the payload length in it.
	ErrShort = errors.New("gre: short packet")
	// ErrFlags is returned when a fixed bit of the first word has the wrong value: no key, another version,
	// checksum, routing or recursion.
	ErrFlags = errors.New("gre: illegal flags")
	// ErrProtocol is returned when the protocol type isn't ProtocolPPP.
	ErrProtocol = errors.New("gre: protocol type is not PPP")
	// ErrPayloadWithoutSeq is returned when a packet has a payload but no sequence number.
	ErrPayloadWithoutSeq = errors.New("gre: payload without sequence number")
)

// Header is an enhanced GRE header.
type Header struct {
	// CallID is the call ID that the receiver of the packet chose.
	CallID uint16
	// PayloadLen is the length of the payload in octets, without this header.
	PayloadLen uint16
	// HasSeq says that Seq is present: the packet carries data.
	HasSeq bool
	// HasAck says that Ack is present.
	HasAck bool
	// Seq is the sequence number of this packet.
	Seq uint32
	// Ack is the highest sequence number that the sender has received. Some senders put 0xffffffff before
	// they have received any.
	Ack uint32
}

// ParseHeader reads the header at the start of b, which is the payload of an IP packet. The second result is
// the payload of PayloadLen octets; it borrows b. Octets behind it are ignored: links pad short packets.
func ParseHeader(b []byte) (h Header, payload []byte, err error) {
	if payload, err = h.Parse(b); err != nil {
		return Header{}, nil, err
	}
	return h, payload, nil
}

// Parse is ParseHeader into h, for who reads so many that copying them counts. With an error h is undefined.
func (h *Header) Parse(b []byte) (payload []byte, err error) {
	if len(b) < MinHeaderLen {
		return nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&fixedMask != fixedBits {
		return nil, ErrFlags
	}
	if binary.BigEndian.Uint16(b[2:]) != ProtocolPPP {
		return nil, ErrProtocol
	}
	h.PayloadLen, h.CallID = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	h.HasSeq, h.HasAck = flags&bitSeq != 0, flags&bitAck != 0
	h.Seq, h.Ack = 0, 0
	if len(b) < h.Len()+int(h.PayloadLen) {
		return nil, ErrShort
	}
	if !h.HasSeq && h.PayloadLen != 0 {
		return nil, ErrPayloadWithoutSeq
	}
	rest := b[MinHeaderLen:]
	if h.HasSeq {
		h.Seq = binary.BigEndian.Uint32(rest)
		rest = rest[4:]
	}
	if h.HasAck {
		h.Ack = binary.BigEndian.Uint32(rest)
		rest = rest[4:]
	}
	return rest[:h.PayloadLen:h.PayloadLen], nil
}

// Len is the length of the encoded header in octets: 8, 12 or 16.
func (h *Header) Len() int {
	n := MinHeaderLen
	if h.HasSeq {
		n += 4
	}
	if h.HasAck {
		n += 4
	}
	return n
}

// Put writes the header into the first Len octets of b, which must be that long.
func (h *Header) Put(b []byte) {
	b = b[:h.Len()]
	flags := uint16(fixedBits)
	rest := b[MinHeaderLen:]
	if h.HasSeq {
		flags |= bitSeq
		binary.BigEndian.PutUint32(rest, h.Seq)
		rest = rest[4:]
	}
	if h.HasAck {
		flags |= bitAck
		binary.BigEndian.PutUint32(rest, h.Ack)
	}
	binary.BigEndian.PutUint16(b, flags)
	binary.BigEndian.PutUint16(b[2:], ProtocolPPP)
	binary.BigEndian.PutUint16(b[4:], h.PayloadLen)
	binary.BigEndian.PutUint16(b[6:], h.CallID)
}

// AppendBinary appends the header to b. It never fails.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	var head [MaxHeaderLen]byte
	h.Put(head[:])
	return append(b, head[:h.Len()]...), nil
}
