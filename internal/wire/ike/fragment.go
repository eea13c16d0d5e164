package ike

import (
	"encoding/binary"
	"fmt"
)

// fragmentHeaderLen is the length of what stands before the data in a fragment payload's body.
const fragmentHeaderLen = 4

// FragmentOverhead is what a fragment adds to its data: the ISAKMP header and the fragment payload's, in octets.
const FragmentOverhead = HeaderLen + payloadHeaderLen + fragmentHeaderLen

// fragmentLast is the flag of the last fragment.
const fragmentLast = 1

// Fragment is the body of a fragment payload, [MS-IKEE] section 2.2.3.1. All fragments of a message, put together, are the
// message with its own header.
type Fragment struct {
	ID     uint16
	Number uint8 // from 1
	Last   bool
	Data   []byte // borrowed
}

// ParseFragment reads the body of a fragment payload. It borrows body.
func ParseFragment(body []byte) (Fragment, error) {
	if len(body) <= fragmentHeaderLen || body[2] == 0 {
		return Fragment{}, fmt.Errorf("%w: fragment of %d octets", ErrLength, len(body))
	}
	return Fragment{
		ID: binary.BigEndian.Uint16(body), Number: body[2], Last: body[3]&fragmentLast != 0, Data: body[fragmentHeaderLen:],
	}, nil
}

// AppendFragment appends a whole message that carries one fragment of a message with the header h.
func AppendFragment(b []byte, h Header, f Fragment) []byte {
	h.Next, h.Flags = PayloadFragment, h.Flags&^FlagEncryption
	h.Length = uint32(FragmentOverhead + len(f.Data))
	b, _ = h.AppendBinary(b) // it never fails
	b = append(b, byte(PayloadNone), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(payloadHeaderLen+fragmentHeaderLen+len(f.Data)))
	b = binary.BigEndian.AppendUint16(b, f.ID)
	flags := byte(0)
	if f.Last {
		flags = fragmentLast
	}
	b = append(b, f.Number, flags)
	return append(b, f.Data...)
}
