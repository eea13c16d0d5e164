package lcp

import (
	"encoding/binary"
	"errors"

	"concentrator/internal/wire/ppp"
)

// LCP option types.
const (
	OptionMRU               byte = 1  // RFC 1661 section 6.1
	OptionACCM              byte = 2  // RFC 1662 section 7.1
	OptionAuth              byte = 3  // RFC 1661 section 6.2
	OptionQuality           byte = 4  // RFC 1661 section 6.3
	OptionMagic             byte = 5  // RFC 1661 section 6.4
	OptionPFC               byte = 7  // RFC 1661 section 6.5
	OptionACFC              byte = 8  // RFC 1661 section 6.6
	OptionCallback          byte = 13 // RFC 1570 section 2.3
	OptionMRRU              byte = 17 // RFC 1990 section 5.1.1
	OptionShortSequence     byte = 18 // RFC 1990 section 5.1.2
	OptionEndpoint          byte = 19 // RFC 1990 section 5.1.3
	OptionLinkDiscriminator byte = 23 // RFC 2125 section 4.1
)

// Algorithms of CHAP in the Authentication-Protocol option.
const (
	AlgorithmMD5      byte = 5    // RFC 1994 section 3
	AlgorithmMSCHAPv1 byte = 0x80 // RFC 2433 section 3
	AlgorithmMSCHAPv2 byte = 0x81 // RFC 2759 section 3
)

// CallbackOperationCBCP is the operation of the Callback option that Windows asks for: Microsoft's own callback protocol.
const CallbackOperationCBCP byte = 6

// Maximum receive units, in octets of the information field (RFC 1661 section 6.1).
const (
	DefaultMRU = 1500   // of a peer that does not name one
	MaxMRU     = 0xffff // that the option can name
)

// Lengths of option values, in octets.
const (
	mruLen           = 2
	accmLen          = 4
	magicLen         = 4
	endpointClassLen = 1
)

// ErrOptionValue is returned for an option whose value has a length that its type does not allow.
var ErrOptionValue = errors.New("lcp: option value has the wrong length")

// ParseMRU reads the value of a Maximum-Receive-Unit option, in octets of the information field.
func ParseMRU(value []byte) (uint16, error) {
	if len(value) != mruLen {
		return 0, ErrOptionValue
	}
	return binary.BigEndian.Uint16(value), nil
}

// AppendMRU appends a Maximum-Receive-Unit option.
func AppendMRU(b []byte, mru uint16) []byte {
	return ppp.AppendOption(b, OptionMRU, byte(mru>>8), byte(mru))
}

// ParseACCM reads the value of an Async-Control-Character-Map option.
func ParseACCM(value []byte) (uint32, error) {
	if len(value) != accmLen {
		return 0, ErrOptionValue
	}
	return binary.BigEndian.Uint32(value), nil
}

// AppendACCM appends an Async-Control-Character-Map option.
func AppendACCM(b []byte, accm uint32) []byte {
	return ppp.AppendOption(b, OptionACCM, byte(accm>>24), byte(accm>>16), byte(accm>>8), byte(accm))
}

// ParseMagic reads the value of a Magic-Number option. Zero is not a legal magic number, but parses.
func ParseMagic(value []byte) (uint32, error) {
	if len(value) != magicLen {
		return 0, ErrOptionValue
	}
	return binary.BigEndian.Uint32(value), nil
}

// AppendMagic appends a Magic-Number option.
func AppendMagic(b []byte, magic uint32) []byte {
	return ppp.AppendOption(b, OptionMagic, byte(magic>>24), byte(magic>>16), byte(magic>>8), byte(magic))
}

// AppendFlag appends an option without a value: OptionPFC or OptionACFC.
func AppendFlag(b []byte, typ byte) []byte { return ppp.AppendOption(b, typ) }

// ParseFlag checks the value of an option that has none.
func ParseFlag(value []byte) error {
	if len(value) != 0 {
		return ErrOptionValue
	}
	return nil
}

// ParseEndpoint checks the value of an Endpoint-Discriminator option and returns class and address, borrowed.
func ParseEndpoint(value []byte) (class byte, address []byte, err error) {
	if len(value) < endpointClassLen {
		return 0, nil, ErrOptionValue
	}
	return value[0], value[endpointClassLen:], nil
}

// Auth is the value of an Authentication-Protocol option.
type Auth struct {
	Protocol  uint16 // ppp.ProtocolPAP, ppp.ProtocolCHAP, ppp.ProtocolEAP
	Algorithm byte   // with CHAP only
}

// authLen is the length of the protocol number in the option, in octets.
const authLen = 2

// ParseAuth reads the value of an Authentication-Protocol option. CHAP must name its algorithm (RFC 1994 section 3),
// the others must name nothing.
func ParseAuth(value []byte) (Auth, error) {
	if len(value) < authLen {
		return Auth{}, ErrOptionValue
	}
	a := Auth{Protocol: binary.BigEndian.Uint16(value)}
	if a.Protocol != ppp.ProtocolCHAP {
		if len(value) != authLen {
			return Auth{}, ErrOptionValue
		}
		return a, nil
	}
	if len(value) != authLen+1 {
		return Auth{}, ErrOptionValue
	}
	a.Algorithm = value[authLen]
	return a, nil
}

// AppendAuth appends an Authentication-Protocol option.
func AppendAuth(b []byte, a Auth) []byte {
	if a.Protocol == ppp.ProtocolCHAP {
		return ppp.AppendOption(b, OptionAuth, byte(a.Protocol>>8), byte(a.Protocol), a.Algorithm)
	}
	return ppp.AppendOption(b, OptionAuth, byte(a.Protocol>>8), byte(a.Protocol))
}
