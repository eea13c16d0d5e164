package ccp

import (
	"encoding/binary"
	"errors"

	"concentrator/internal/wire/ppp"
)

// Codes that only CCP has; 1 to 7 are in package ppp.
const (
	CodeResetRequest byte = 14 // RFC 1962 section 3
	CodeResetAck     byte = 15 // RFC 1962 section 3; MPPE itself has no use for it
)

// CCP option types that clients offer.
const (
	OptionPredictor1 byte = 1  // RFC 1978
	OptionMPPE       byte = 18 // RFC 3078 section 2
	OptionBSD        byte = 21 // RFC 1977
	OptionDeflate    byte = 26 // RFC 1979
)

// MPPE is the "supported bits" value of the MPPE option (RFC 3078 section 2.1).
type MPPE uint32

// The supported bits.
const (
	Stateless MPPE = 0x01000000 // H: a new key for every packet
	Bits56    MPPE = 0x00000080 // M
	Bits128   MPPE = 0x00000040 // S
	Bits40    MPPE = 0x00000020 // L
	Obsolete  MPPE = 0x00000010 // D
	MPPC      MPPE = 0x00000001 // C: compression, which is not offered here
	Strengths      = Bits56 | Bits128 | Bits40
)

// mppeLen is the length of the value, in octets.
const mppeLen = 4

// ErrOptionValue is returned for an MPPE option whose value is not four octets long.
var ErrOptionValue = errors.New("ccp: MPPE option has the wrong length")

// ParseMPPE reads the value of an MPPE option.
func ParseMPPE(value []byte) (MPPE, error) {
	if len(value) != mppeLen {
		return 0, ErrOptionValue
	}
	return MPPE(binary.BigEndian.Uint32(value)), nil
}

// AppendMPPE appends an MPPE option.
func AppendMPPE(b []byte, m MPPE) []byte {
	return ppp.AppendOption(b, OptionMPPE, byte(m>>24), byte(m>>16), byte(m>>8), byte(m))
}

// KeyBits returns the key length in bits if m names exactly one, else 0.
func (m MPPE) KeyBits() int {
	switch m & Strengths {
	case Bits128:
		return 128
	case Bits56:
		return 56
	case Bits40:
		return 40
	default:
		return 0
	}
}

// Strength returns the supported bit for a key length in bits; 0 for a length that MPPE does not have.
func Strength(keyBits int) MPPE {
	switch keyBits {
	case 128:
		return Bits128
	case 56:
		return Bits56
	case 40:
		return Bits40
	default:
		return 0
	}
}
