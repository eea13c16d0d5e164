package eap

import (
	"encoding/binary"
	"errors"
)

// Operations of EAP-MSCHAPv2. They are the codes of CHAP; a Response that confirms a Success or Failure has the
// operation alone.
const (
	OpChallenge      byte = 1
	OpResponse       byte = 2
	OpSuccess        byte = 3
	OpFailure        byte = 4
	OpChangePassword byte = 7
)

// msHeaderLen is the length of operation, identifier and length field, in octets.
const msHeaderLen = 4

// ErrMSCHAPv2 is returned by ParseMSCHAPv2 for data that is too short, or whose length field does not fit.
var ErrMSCHAPv2 = errors.New("eap: malformed MSCHAPv2 packet")

// MSCHAPv2 is the data of a Request or Response of type MSCHAPv2.
type MSCHAPv2 struct {
	Op byte
	ID byte // of the CHAP exchange; it need not be the identifier of the EAP packet
	// Data is what CHAP has behind its header: a chap.Value in a Challenge and a Response, whose value is a
	// mschap.Response; the text in a Success and Failure of the server; a mschap.ChangePassword.
	Data []byte
	// Confirm says that the packet is one octet, the peer's consent to a Success or Failure. ID and Data are empty then.
	Confirm bool
}

// ParseMSCHAPv2 reads the data of a packet of type MSCHAPv2. Octets behind the length that it names are ignored. Data
// borrows data.
func ParseMSCHAPv2(data []byte) (MSCHAPv2, error) {
	switch len(data) {
	case 0:
		return MSCHAPv2{}, ErrMSCHAPv2
	case 1:
		if data[0] != OpSuccess && data[0] != OpFailure {
			return MSCHAPv2{}, ErrMSCHAPv2
		}
		return MSCHAPv2{Op: data[0], Confirm: true}, nil
	}
	if len(data) < msHeaderLen {
		return MSCHAPv2{}, ErrMSCHAPv2
	}
	n := int(binary.BigEndian.Uint16(data[2:]))
	if n < msHeaderLen || n > len(data) {
		return MSCHAPv2{}, ErrMSCHAPv2
	}
	return MSCHAPv2{Op: data[0], ID: data[1], Data: data[msHeaderLen:n]}, nil
}

// AppendBinary implements encoding.BinaryAppender. It fails for data that the length field can not name.
func (m MSCHAPv2) AppendBinary(b []byte) ([]byte, error) {
	if m.Confirm {
		return append(b, m.Op), nil
	}
	if msHeaderLen+len(m.Data) > MaxPacketLen {
		return b, ErrLongPacket
	}
	b = append(b, m.Op, m.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(msHeaderLen+len(m.Data)))
	return append(b, m.Data...), nil
}
