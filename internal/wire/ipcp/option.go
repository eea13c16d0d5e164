package ipcp

import (
	"errors"
	"net/netip"

	"concentrator/internal/wire/ppp"
)

// IPCP option types.
const (
	OptionAddresses     byte = 1   // RFC 1332 section 3.1, deprecated
	OptionCompression   byte = 2   // RFC 1332 section 3.2
	OptionAddress       byte = 3   // RFC 1332 section 3.3
	OptionMobile        byte = 4   // RFC 2290
	OptionPrimaryDNS    byte = 129 // RFC 1877 section 1.1
	OptionPrimaryNBNS   byte = 130 // RFC 1877 section 1.2
	OptionSecondaryDNS  byte = 131 // RFC 1877 section 1.3
	OptionSecondaryNBNS byte = 132 // RFC 1877 section 1.4
	OptionNetmask       byte = 144 // no RFC; some routers ask for it
)

const addrLen = 4

// ErrOptionValue is returned for an address option whose value is not four octets long.
var ErrOptionValue = errors.New("ipcp: address option has the wrong length")

// ParseAddr reads the value of an option that is one IPv4 address. 0.0.0.0 means "give me one".
func ParseAddr(value []byte) (netip.Addr, error) {
	if len(value) != addrLen {
		return netip.Addr{}, ErrOptionValue
	}
	return netip.AddrFrom4([addrLen]byte(value)), nil
}

// AppendAddr appends an option that is one IPv4 address. Any other address is written as 0.0.0.0.
func AppendAddr(b []byte, typ byte, addr netip.Addr) []byte {
	var v [addrLen]byte
	if addr.Is4() || addr.Is4In6() {
		v = addr.As4()
	}
	return ppp.AppendOption(b, typ, v[0], v[1], v[2], v[3])
}
