package l2tp

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Type is a Message Type, RFC 2661 section 3.2.
type Type uint16

// The control messages. The names are the RFC's.
const (
	TypeSCCRQ   Type = 1  // Start-Control-Connection-Request
	TypeSCCRP   Type = 2  // Start-Control-Connection-Reply
	TypeSCCCN   Type = 3  // Start-Control-Connection-Connected
	TypeStopCCN Type = 4  // Stop-Control-Connection-Notification
	TypeHELLO   Type = 6  // Hello
	TypeOCRQ    Type = 7  // Outgoing-Call-Request
	TypeOCRP    Type = 8  // Outgoing-Call-Reply
	TypeOCCN    Type = 9  // Outgoing-Call-Connected
	TypeICRQ    Type = 10 // Incoming-Call-Request
	TypeICRP    Type = 11 // Incoming-Call-Reply
	TypeICCN    Type = 12 // Incoming-Call-Connected
	TypeCDN     Type = 14 // Call-Disconnect-Notify
	TypeWEN     Type = 15 // WAN-Error-Notify
	TypeSLI     Type = 16 // Set-Link-Info
)

var typeNames = [...]string{
	TypeSCCRQ: "SCCRQ", TypeSCCRP: "SCCRP", TypeSCCCN: "SCCCN", TypeStopCCN: "StopCCN", TypeHELLO: "HELLO",
	TypeOCRQ: "OCRQ", TypeOCRP: "OCRP", TypeOCCN: "OCCN", TypeICRQ: "ICRQ", TypeICRP: "ICRP", TypeICCN: "ICCN",
	TypeCDN: "CDN", TypeWEN: "WEN", TypeSLI: "SLI",
}

// String returns the RFC's name of the message.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return "message type " + strconv.Itoa(int(t))
}

// Message is one of the fourteen control messages. All of them implement it on the pointer.
type Message interface {
	// Type returns the Message Type.
	Type() Type
	fields(l *layout)
}

// newMessage returns an empty message of type t, or nil if there is no such type.
func newMessage(t Type) Message {
	switch t {
	case TypeSCCRQ:
		return new(SCCRQ)
	case TypeSCCRP:
		return new(SCCRP)
	case TypeSCCCN:
		return new(SCCCN)
	case TypeStopCCN:
		return new(StopCCN)
	case TypeHELLO:
		return new(HELLO)
	case TypeOCRQ:
		return new(OCRQ)
	case TypeOCRP:
		return new(OCRP)
	case TypeOCCN:
		return new(OCCN)
	case TypeICRQ:
		return new(ICRQ)
	case TypeICRP:
		return new(ICRP)
	case TypeICCN:
		return new(ICCN)
	case TypeCDN:
		return new(CDN)
	case TypeWEN:
		return new(WEN)
	case TypeSLI:
		return new(SLI)
	default:
		return nil
	}
}

// Error says what is wrong with a message. Its Code goes into a StopCCN or CDN with the general error result, RFC 2661
// section 4.4.2.
type Error struct {
	Code   uint16 // ErrorLength, ErrorValue, ErrorVendor or ErrorUnknownMandatory
	Detail string // a sentence for an operator
}

// Error implements error.
func (e *Error) Error() string { return "l2tp: " + e.Detail }

// TypeOf reads the Message Type AVP at the start of a control message's body. mandatory is its M bit: a message of an
// unknown type is ignored without it and ends the tunnel with it, RFC 2661 section 4.4.1. Some implementations look for
// exactly eight octets there, so nothing else is taken.
func TypeOf(body []byte) (t Type, mandatory bool, err error) {
	const n = avpHeaderLen + 2
	if len(body) < n {
		return 0, false, &Error{ErrorLength, "no Message Type"}
	}
	head := binary.BigEndian.Uint16(body)
	if head&^bitMandatory != n || binary.BigEndian.Uint32(body[2:]) != uint32(AttributeMessageType) {
		return 0, false, &Error{ErrorLength, "the first AVP is not a Message Type"}
	}
	return Type(binary.BigEndian.Uint16(body[avpHeaderLen:])), head&bitMandatory != 0, nil
}

// Parse reads the body of a control message, which follows the header and is not empty. secret is the tunnel secret, with
// which hidden AVPs are read; nil if there is none. The error is an *Error. A message of unknown type is (nil, nil) if it
// may be ignored. Nothing of body is kept.
//
// Unknown AVPs without the M bit are ignored, as are known ones in the wrong place and optional ones of the wrong size
// that came without it. A hidden AVP that can't be read counts as unknown.
func Parse(body, secret []byte) (Message, error) {
	t, mandatory, err := TypeOf(body)
	if err != nil {
		return nil, err
	}
	m := newMessage(t)
	if m == nil {
		if mandatory {
			return nil, &Error{ErrorUnknownMandatory, "unknown " + t.String()}
		}
		return nil, nil
	}
	avps, bad := splitAVPs(body)
	if bad == nil {
		bad = understand(avps, secret)
	}
	if bad != nil {
		bad.Detail = t.String() + ": " + bad.Detail
		return nil, bad
	}
	l := layout{avps: avps}
	m.fields(&l)
	if l.bad != nil {
		l.bad.Detail = t.String() + ": " + l.bad.Detail
		return nil, l.bad
	}
	return m, nil
}

// understand reveals hidden AVPs in place, marks those to be ignored as reserved, and finds those that must not be.
func understand(avps []AVP, secret []byte) *Error {
	var vector []byte
	for i := range avps {
		a := &avps[i]
		known := !a.reserved && a.Vendor == 0 && a.Attribute.known()
		if known && a.Hidden {
			known = false
			if vector != nil && secret != nil && a.Attribute != AttributeMessageType && a.Attribute != AttributeRandomVector {
				*a, known = reveal(*a, secret, vector)
			}
			if !known && a.Mandatory {
				return &Error{ErrorUnknownMandatory, fmt.Sprintf("the hidden %s can't be read", a)}
			}
		}
		if known && kinds[a.Attribute].size != variable && kinds[a.Attribute].size != len(a.Value) {
			if a.Mandatory || kinds[a.Attribute].mandatory {
				return &Error{ErrorLength, fmt.Sprintf("%s of %d octets", a, len(a.Value))}
			}
			known = false
		}
		if !known {
			if a.Mandatory {
				return &Error{ErrorUnknownMandatory, fmt.Sprintf("unknown %s with the M bit", a)}
			}
			a.reserved = true
			continue
		}
		if a.Attribute == AttributeRandomVector {
			vector = a.Value
		}
	}
	return nil
}

// Append appends the control message m with the header for tunnelID and sessionID, ns and nr to b. The AVPs in extra
// follow those of m; together they must not make the message longer than 65535 octets. hiding is nil unless AVPs are to be
// hidden.
func Append(b []byte, h Header, m Message, hiding *Hiding, extra ...AVP) []byte {
	start := len(b)
	b = append(b, make([]byte, ControlHeaderLen)...)
	l := layout{out: b, write: true}
	l.put(AttributeMessageType, binary.BigEndian.AppendUint16(nil, uint16(m.Type())))
	if hiding != nil {
		l.put(AttributeRandomVector, hiding.Vector)
		l.hiding = hiding
	}
	m.fields(&l)
	for _, a := range extra {
		l.out = a.append(l.out)
	}
	h.Length = uint16(len(l.out) - start)
	putControlHeader(l.out[start:], h)
	return l.out
}

// AppendZLB appends a Zero-Length Body message, the pure acknowledgement of RFC 2661 section 5.8.
func AppendZLB(b []byte, h Header) []byte {
	start := len(b)
	b = append(b, make([]byte, ControlHeaderLen)...)
	h.Length = ControlHeaderLen
	putControlHeader(b[start:], h)
	return b
}

// SetSequence puts new sequence numbers into the control message b, which begins with its header: a message that is sent
// again acknowledges what has come since, RFC 2661 section 5.8.
func SetSequence(b []byte, ns, nr uint16) {
	binary.BigEndian.PutUint16(b[8:], ns)
	binary.BigEndian.PutUint16(b[10:], nr)
}

// putControlHeader writes h with the flags that a control message has.
func putControlHeader(b []byte, h Header) {
	h.Control, h.HasLength, h.HasSequence, h.HasOffset, h.Priority = true, true, true, false, false
	h.Put(b)
}

// FindID returns the ID in the AVP a, AttributeAssignedTunnelID or AttributeAssignedSessionID, of a control message's body
// that Parse has refused, so that the sender can be told. It returns 0 if there is none to be found.
func FindID(body []byte, a Attribute) uint16 {
	avps, _ := splitAVPs(body) // what is there before the error is good enough
	for _, v := range avps {
		if v.Attribute == a && v.Vendor == 0 && !v.Hidden && len(v.Value) == 2 {
			return binary.BigEndian.Uint16(v.Value)
		}
	}
	return 0
}
