package l2tp

import (
	"encoding/binary"
	"fmt"
)

// The first 16 bits of an AVP, RFC 2661 section 4.1:
//
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//	+-+-+-+-+-+-+-------------------+
//	|M|H| reserved|      Length     |
//	+-+-+-+-+-+-+-------------------+
const (
	bitMandatory  = 0x8000
	bitHidden     = 0x4000
	reservedMask  = 0x3c00
	avpLengthMask = 0x03ff
	avpHeaderLen  = 6
	maxAVPLen     = avpLengthMask
	// maxAVPs is how many AVPs a message may have. The RFC names no limit; no message has use for more than 20.
	maxAVPs = 64
)

// MaxAVPValue is the length in octets of the longest value of an AVP.
const MaxAVPValue = maxAVPLen - avpHeaderLen

// AVP is one Attribute Value Pair as it is on the wire.
type AVP struct {
	Mandatory bool // M: a receiver that doesn't know it must give up
	Hidden    bool // H: Value is enciphered
	Vendor    uint16
	Attribute Attribute
	Value     []byte
	reserved  bool // a reserved bit is set, which makes it unknown: RFC 2661 section 4.1
}

// append appends the AVP to b. A value longer than MaxAVPValue is cut.
func (a AVP) append(b []byte) []byte {
	v := a.Value[:min(len(a.Value), MaxAVPValue)]
	head := uint16(avpHeaderLen + len(v))
	if a.Mandatory {
		head |= bitMandatory
	}
	if a.Hidden {
		head |= bitHidden
	}
	b = binary.BigEndian.AppendUint16(b, head)
	b = binary.BigEndian.AppendUint16(b, a.Vendor)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Attribute))
	return append(b, v...)
}

// String names the AVP for an operator.
func (a AVP) String() string {
	if a.Vendor != 0 {
		return fmt.Sprintf("attribute %d of vendor %d", a.Attribute, a.Vendor)
	}
	return a.Attribute.String()
}

// splitAVPs cuts the body of a message into its AVPs. Their values borrow body. Those before an error are returned with it.
func splitAVPs(body []byte) ([]AVP, *Error) {
	avps := make([]AVP, 0, 16)
	for len(body) > 0 {
		if len(avps) == maxAVPs {
			return avps, &Error{ErrorVendor, fmt.Sprintf("more than %d AVPs", maxAVPs)}
		}
		if len(body) < avpHeaderLen {
			return avps, &Error{ErrorLength, fmt.Sprintf("%d octets are left where an AVP should be", len(body))}
		}
		head := binary.BigEndian.Uint16(body)
		n := int(head & avpLengthMask)
		if n < avpHeaderLen || n > len(body) {
			return avps, &Error{ErrorLength, fmt.Sprintf("an AVP of %d octets where %d are left", n, len(body))}
		}
		avps = append(avps, AVP{
			Mandatory: head&bitMandatory != 0,
			Hidden:    head&bitHidden != 0,
			Vendor:    binary.BigEndian.Uint16(body[2:]),
			Attribute: Attribute(binary.BigEndian.Uint16(body[4:])),
			Value:     body[avpHeaderLen:n:n],
			reserved:  head&reservedMask != 0,
		})
		body = body[n:]
	}
	return avps, nil
}
