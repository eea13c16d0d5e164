package eap

import (
	"encoding/binary"
	"errors"
)

// Flags of the TLS methods (RFC 5216 section 3.1). PEAP has its version in the lowest bits.
const (
	flagLength      byte = 0x80
	flagMore        byte = 0x40
	flagStart       byte = 0x20
	tlsVersionMask  byte = 0x07
	tlsLengthOctets      = 4
)

// Errors of ParseTLS and TLS.AppendBinary.
var (
	// ErrTLS is returned for data without flags, or with a flag for a length that is not there.
	ErrTLS = errors.New("eap: malformed TLS packet")
	// ErrTLSVersion is returned when the version does not fit its three bits.
	ErrTLSVersion = errors.New("eap: version does not fit")
)

// TLS is the data of a Request or Response of one of the TLS methods: EAP-TLS (RFC 5216 section 3) and PEAP. One with no
// flag and no data acknowledges a fragment.
type TLS struct {
	Start   bool // the server begins
	More    bool // more fragments follow
	Version byte // of PEAP, up to 7; 0 in EAP-TLS
	// HasLength says that Length is there: in the first fragment, and allowed in every other packet.
	HasLength bool
	Length    uint32 // of the whole TLS message, in octets. It is a claim of the sender: nothing may be allocated for it
	Data      []byte // this fragment of it
}

// ParseTLS reads the data of a packet of a TLS method. Data borrows data.
func ParseTLS(data []byte) (TLS, error) {
	if len(data) == 0 {
		return TLS{}, ErrTLS
	}
	flags := data[0]
	t := TLS{Start: flags&flagStart != 0, More: flags&flagMore != 0, Version: flags & tlsVersionMask, Data: data[1:]}
	if flags&flagLength != 0 {
		if len(t.Data) < tlsLengthOctets {
			return TLS{}, ErrTLS
		}
		t.HasLength, t.Length, t.Data = true, binary.BigEndian.Uint32(t.Data), t.Data[tlsLengthOctets:]
	}
	return t, nil
}

// AppendBinary implements encoding.BinaryAppender. It fails for a version above 7.
func (t TLS) AppendBinary(b []byte) ([]byte, error) {
	if t.Version > tlsVersionMask {
		return b, ErrTLSVersion
	}
	flags := t.Version
	if t.Start {
		flags |= flagStart
	}
	if t.More {
		flags |= flagMore
	}
	if t.HasLength {
		flags |= flagLength
	}
	b = append(b, flags)
	if t.HasLength {
		b = binary.BigEndian.AppendUint32(b, t.Length)
	}
	return append(b, t.Data...), nil
}
