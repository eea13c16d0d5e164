package eap

import (
	"encoding/binary"
	"errors"
)

// ErrNak is returned for the data of a Nak that names no type at all.
var ErrNak = errors.New("eap: a Nak without a type")

// ErrExpanded is returned for data that is too short for the header of an expanded type.
var ErrExpanded = errors.New("eap: expanded type too short")

// ParseNak reads the data of a Response of type Nak: the types that the peer would take instead, its favourite first.
// Type 0 says that it takes none. The result borrows data.
func ParseNak(data []byte) (types []byte, err error) {
	if len(data) == 0 {
		return nil, ErrNak
	}
	return data, nil
}

// Expanded is a type of a vendor (RFC 3748 section 5.7). Vendor 0 has the types of the EAP registry.
type Expanded struct {
	Vendor uint32 // three octets
	Type   uint32
	Data   []byte
}

// expandedLen is the length of vendor and type, in octets.
const expandedLen = 7

// ParseExpanded reads the data of a packet of type Expanded. Data borrows data.
func ParseExpanded(data []byte) (Expanded, error) {
	if len(data) < expandedLen {
		return Expanded{}, ErrExpanded
	}
	first := binary.BigEndian.Uint32(data)
	return Expanded{Vendor: first >> 8, Type: binary.BigEndian.Uint32(data[3:]), Data: data[expandedLen:]}, nil
}

// ParseExpandedNak reads the data of an Expanded Nak (RFC 3748 section 5.3.2): a Response of type Expanded of vendor 0 and
// type 3, followed by the types that the peer would take instead, each in the expanded form. Their Data is empty. A packet
// of another type, or one with a broken list, is an error.
func ParseExpandedNak(data []byte) ([]Expanded, error) {
	nak, err := ParseExpanded(data)
	if err != nil {
		return nil, err
	}
	const entryLen = 1 + expandedLen
	if nak.Vendor != 0 || nak.Type != uint32(TypeNak) || len(nak.Data) == 0 || len(nak.Data)%entryLen != 0 {
		return nil, ErrNak
	}
	types := make([]Expanded, 0, len(nak.Data)/entryLen)
	for rest := nak.Data; len(rest) > 0; rest = rest[entryLen:] {
		if rest[0] != TypeExpanded {
			return nil, ErrNak
		}
		e, err := ParseExpanded(rest[1:entryLen])
		if err != nil {
			return nil, err
		}
		types = append(types, e)
	}
	return types, nil
}
