package esphdr

import (
	"encoding/binary"
	"errors"
)

// Numbers of RFC 4303 section 2, in octets where they are lengths.
const (
	// HeaderLen is the length of SPI and sequence number.
	HeaderLen = 8
	// TrailerLen is the length of Pad Length and Next Header, without the padding before them.
	TrailerLen = 2
	// MinSPI is the lowest SPI that a security association can have; those below are reserved (section 2.1).
	MinSPI uint32 = 256
	// NextHeaderUDP is UDP's protocol number, all that L2TP needs.
	NextHeaderUDP uint8 = 17
	// NextHeaderNone marks a dummy packet, sent to hide how much traffic there is (section 2.6).
	NextHeaderNone uint8 = 59
)

// ErrShort is returned for less than a header.
var ErrShort = errors.New("esphdr: short packet")

// ErrSPI is returned for an SPI below MinSPI.
var ErrSPI = errors.New("esphdr: reserved SPI")

// Header is what stands in clear at the start of an ESP packet.
type Header struct {
	SPI uint32
	// Seq is the low half of the sequence number when extended ones are used (RFC 4303 section 2.2.1).
	Seq uint32
}

// ParseHeader reads the header at the start of b. ErrShort, ErrSPI.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrShort
	}
	h := Header{SPI: binary.BigEndian.Uint32(b), Seq: binary.BigEndian.Uint32(b[4:])}
	if h.SPI < MinSPI {
		return Header{}, ErrSPI
	}
	return h, nil
}

// Put writes the header into the first HeaderLen octets of b, which must be that long.
func (h Header) Put(b []byte) {
	b = b[:HeaderLen]
	binary.BigEndian.PutUint32(b, h.SPI)
	binary.BigEndian.PutUint32(b[4:], h.Seq)
}

// AppendBinary appends the header to b. It never fails.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, h.SPI)
	return binary.BigEndian.AppendUint32(b, h.Seq), nil
}
