package ppp

import (
	"encoding/binary"
	"errors"
)

// PacketHeaderLen is the length of code, identifier and length field in octets (RFC 1661 section 5).
const PacketHeaderLen = 4

// MaxPacketLen is the longest packet that the length field can name, in octets.
const MaxPacketLen = 0xffff

// Errors of ParsePacket.
var (
	// ErrShortPacket is returned for a packet with fewer octets than its header or its length field wants.
	ErrShortPacket = errors.New("ppp: packet too short")
	// ErrPacketLen is returned when the length field does not even cover the header.
	ErrPacketLen = errors.New("ppp: packet length field too small")
)

// Packet is one control packet: the form that LCP, the network control protocols, PAP and CHAP share.
type Packet struct {
	Code byte
	ID   byte
	Data []byte // what follows the header, without padding
}

// ParsePacket reads a control packet. Octets behind the length that the packet names are padding and ignored
// (RFC 1661 section 5). Data borrows b.
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < PacketHeaderLen {
		return Packet{}, ErrShortPacket
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < PacketHeaderLen {
		return Packet{}, ErrPacketLen
	}
	if n > len(b) {
		return Packet{}, ErrShortPacket
	}
	return Packet{Code: b[0], ID: b[1], Data: b[PacketHeaderLen:n]}, nil
}

// AppendPacket appends a whole control packet to b. Data that would not fit into the length field is cut.
func AppendPacket(b []byte, code, id byte, data []byte) []byte {
	data = data[:min(len(data), MaxPacketLen-PacketHeaderLen)]
	b = append(b, code, id)
	b = binary.BigEndian.AppendUint16(b, uint16(PacketHeaderLen+len(data)))
	return append(b, data...)
}

// FinishPacket writes the length field of the packet that begins at b[start:] and ends with b. It serves callers that
// append the data in place behind a header whose length they do not know yet.
func FinishPacket(b []byte, start int) []byte {
	n := min(len(b)-start, MaxPacketLen)
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b[:start+n]
}
