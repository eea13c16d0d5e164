package lcp

import (
	"encoding/binary"
	"errors"
)

// Codes that only LCP has; 1 to 7 are in package ppp.
const (
	CodeProtocolReject byte = 8  // RFC 1661 section 5.7
	CodeEchoRequest    byte = 9  // RFC 1661 section 5.8
	CodeEchoReply      byte = 10 // RFC 1661 section 5.8
	CodeDiscardRequest byte = 11 // RFC 1661 section 5.9
	CodeIdentification byte = 12 // RFC 1570 section 2.1
	CodeTimeRemaining  byte = 13 // RFC 1570 section 2.2
)

// ErrShortData is returned for a packet whose data are shorter than its code demands.
var ErrShortData = errors.New("lcp: packet data too short")

const protocolLen = 2

// ParseProtocolReject reads the data of a Protocol-Reject: the protocol that the peer does not know and the beginning
// of the packet it refused, borrowed.
func ParseProtocolReject(data []byte) (protocol uint16, info []byte, err error) {
	if len(data) < protocolLen {
		return 0, nil, ErrShortData
	}
	return binary.BigEndian.Uint16(data), data[protocolLen:], nil
}

// AppendProtocolReject appends the data of a Protocol-Reject. The caller cuts info so that the packet fits the peer's
// MRU.
func AppendProtocolReject(b []byte, protocol uint16, info []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, protocol), info...)
}

// Numbered is the data of the packets that begin with a magic number: Echo-Request, Echo-Reply, Discard-Request,
// Identification and Time-Remaining.
type Numbered struct {
	Magic uint32
	Rest  []byte // the text of an Identification; borrowed
}

// ParseNumbered reads data that begin with a magic number.
func ParseNumbered(data []byte) (Numbered, error) {
	if len(data) < magicLen {
		return Numbered{}, ErrShortData
	}
	return Numbered{Magic: binary.BigEndian.Uint32(data), Rest: data[magicLen:]}, nil
}

// AppendBinary implements encoding.BinaryAppender. It never fails.
func (n Numbered) AppendBinary(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(b, n.Magic), n.Rest...), nil
}
