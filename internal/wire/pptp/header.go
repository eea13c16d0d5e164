package pptp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Port is the TCP port of the control connection, RFC 2637 section 2.
const Port = 1723

// Version is protocol version 1.0, RFC 2637 section 2.1: major number in the high octet.
const Version uint16 = 0x0100

const (
	magicCookie    = 0x1a2b3c4d
	messageControl = 1 // PPTP Message Type; 2 is "management", which no message uses
	lengthEnd      = 2 // octets of the header that hold the length
	messageTypeEnd = 4
	cookieEnd      = 8
	controlTypeEnd = 10
	headerSize     = 12
	minSize        = 16 // of a Call-Clear-Request, for one
)

// MaxSize is the size in octets of the longest message, Incoming-Call-Request.
const MaxSize = 220

// Type is a Control Message Type, RFC 2637 section 1.4.
type Type uint16

// The control messages. The names are the RFC's.
const (
	TypeStartControlConnectionRequest Type = 1  // section 2.1
	TypeStartControlConnectionReply   Type = 2  // section 2.2
	TypeStopControlConnectionRequest  Type = 3  // section 2.3
	TypeStopControlConnectionReply    Type = 4  // section 2.4
	TypeEchoRequest                   Type = 5  // section 2.5
	TypeEchoReply                     Type = 6  // section 2.6
	TypeOutgoingCallRequest           Type = 7  // section 2.7
	TypeOutgoingCallReply             Type = 8  // section 2.8
	TypeIncomingCallRequest           Type = 9  // section 2.9
	TypeIncomingCallReply             Type = 10 // section 2.10
	TypeIncomingCallConnected         Type = 11 // section 2.11
	TypeCallClearRequest              Type = 12 // section 2.12
	TypeCallDisconnectNotify          Type = 13 // section 2.13
	TypeWANErrorNotify                Type = 14 // section 2.14
	TypeSetLinkInfo                   Type = 15 // section 2.15
)

// kinds says what each type is called and how long it is, in octets with the header.
var kinds = [...]struct {
	name string
	size int
}{
	TypeStartControlConnectionRequest: {"Start-Control-Connection-Request", 156},
	TypeStartControlConnectionReply:   {"Start-Control-Connection-Reply", 156},
	TypeStopControlConnectionRequest:  {"Stop-Control-Connection-Request", 16},
	TypeStopControlConnectionReply:    {"Stop-Control-Connection-Reply", 16},
	TypeEchoRequest:                   {"Echo-Request", 16},
	TypeEchoReply:                     {"Echo-Reply", 20},
	TypeOutgoingCallRequest:           {"Outgoing-Call-Request", 168},
	TypeOutgoingCallReply:             {"Outgoing-Call-Reply", 32},
	TypeIncomingCallRequest:           {"Incoming-Call-Request", 220},
	TypeIncomingCallReply:             {"Incoming-Call-Reply", 24},
	TypeIncomingCallConnected:         {"Incoming-Call-Connected", 28},
	TypeCallClearRequest:              {"Call-Clear-Request", 16},
	TypeCallDisconnectNotify:          {"Call-Disconnect-Notify", 148},
	TypeWANErrorNotify:                {"WAN-Error-Notify", 40},
	TypeSetLinkInfo:                   {"Set-Link-Info", 24},
}

// String returns the RFC's name of the message.
func (t Type) String() string {
	if t.Size() == 0 {
		return "control message type " + strconv.Itoa(int(t))
	}
	return kinds[t].name
}

// Size returns the size of a message of type t in octets, header included, or 0 if there is no such type.
func (t Type) Size() int {
	if int(t) >= len(kinds) {
		return 0
	}
	return kinds[t].size
}

var (
	// ErrCookie is returned for a message without the magic cookie: the stream is out of step, or not PPTP at all.
	ErrCookie = errors.New("pptp: wrong magic cookie")
	// ErrLength is returned for a message whose length field is not the size of its type, or not the length given.
	ErrLength = errors.New("pptp: wrong message length")
	// ErrMessageType is returned for a message that is not a control message.
	ErrMessageType = errors.New("pptp: not a control message")
	// ErrControlType is returned for a control message type that does not exist, or not the one asked for.
	ErrControlType = errors.New("pptp: wrong control message type")
)

// Split says how many of the octets in b are its first message. It returns 0 while the message is not complete.
//
// It judges what is there already: a wrong length, message type, cookie or control type is reported as soon as those
// octets have come, so that a stream that is not PPTP is cut off without waiting for more of it. b may be longer than
// the message.
func Split(b []byte) (int, error) {
	if len(b) < lengthEnd {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < minSize || n > MaxSize {
		return 0, fmt.Errorf("%w: %d octets", ErrLength, n)
	}
	if len(b) < messageTypeEnd {
		return 0, nil
	}
	if m := binary.BigEndian.Uint16(b[lengthEnd:]); m != messageControl {
		return 0, fmt.Errorf("%w: PPTP message type %d", ErrMessageType, m)
	}
	if len(b) < cookieEnd {
		return 0, nil
	}
	if c := binary.BigEndian.Uint32(b[messageTypeEnd:]); c != magicCookie {
		return 0, fmt.Errorf("%w: %#08x", ErrCookie, c)
	}
	if len(b) < controlTypeEnd {
		return 0, nil
	}
	t := typeOf(b)
	if t.Size() == 0 {
		return 0, fmt.Errorf("%w: %d", ErrControlType, uint16(t))
	}
	if n != t.Size() {
		return 0, fmt.Errorf("%w: %s of %d octets, not %d", ErrLength, t, n, t.Size())
	}
	if len(b) < n {
		return 0, nil
	}
	return n, nil
}

// typeOf reads the control message type; b holds at least controlTypeEnd octets.
func typeOf(b []byte) Type { return Type(binary.BigEndian.Uint16(b[cookieEnd:])) }
