package ike

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// idHeaderLen is the length of what stands before the identity, RFC 2407 section 4.6.2.
const idHeaderLen = 4

// ID is the body of an identification payload.
type ID struct {
	Type     IDType
	Protocol uint8 // IP protocol; 0: any
	Port     uint16
	Data     []byte // borrowed
}

// ParseID reads the body of an identification payload. The data of an address must have the address's length; other data
// is not looked into. It borrows body.
func ParseID(body []byte) (ID, error) {
	if len(body) < idHeaderLen {
		return ID{}, fmt.Errorf("%w: identity of %d octets", ErrLength, len(body))
	}
	id := ID{
		Type: IDType(body[0]), Protocol: body[1], Port: binary.BigEndian.Uint16(body[2:]), Data: body[idHeaderLen:],
	}
	if want := id.Type.dataLen(); want >= 0 && len(id.Data) != want {
		return ID{}, fmt.Errorf("%w: identity %v of %d octets", ErrLength, id.Type, len(id.Data))
	}
	return id, nil
}

// dataLen is the only length that the data of a type may have, or -1.
func (v IDType) dataLen() int {
	switch v {
	case IDIPv4Addr:
		return 4
	case IDIPv4AddrSubnet, IDIPv4AddrRange:
		return 8
	case IDIPv6Addr:
		return 16
	case IDIPv6AddrSubnet, IDIPv6AddrRange:
		return 32
	default:
		return -1
	}
}

// Addr returns the address of an identity that is one; an invalid address for any other.
func (id ID) Addr() netip.Addr {
	if id.Type != IDIPv4Addr && id.Type != IDIPv6Addr {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(id.Data) // ParseID has seen to the length
	return a
}

// AppendBinary appends the body. It never fails; the error is encoding.BinaryAppender's.
func (id ID) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(id.Type), id.Protocol)
	b = binary.BigEndian.AppendUint16(b, id.Port)
	return append(b, id.Data...), nil
}

// AddrID returns the identity of an address, for any protocol and port. IPv4 addresses in IPv6 form are unmapped.
func AddrID(a netip.Addr) ID {
	a = a.Unmap()
	if a.Is4() {
		return ID{Type: IDIPv4Addr, Data: a.AsSlice()}
	}
	return ID{Type: IDIPv6Addr, Data: a.AsSlice()}
}

// ParseNATOA reads the body of a NAT original address payload, RFC 3947 section 5.2.
func ParseNATOA(body []byte) (netip.Addr, error) {
	id, err := ParseID(body)
	if err != nil {
		return netip.Addr{}, err
	}
	a := id.Addr()
	if !a.IsValid() {
		return netip.Addr{}, fmt.Errorf("%w: original address of type %v", ErrLength, id.Type)
	}
	return a, nil
}

// AppendNATOA appends the body of a NAT original address payload.
func AppendNATOA(b []byte, a netip.Addr) []byte {
	b, _ = AddrID(a).AppendBinary(b) // it never fails
	return b
}
