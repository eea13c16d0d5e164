package pptp

import "fmt"

// Message is one of the fifteen control messages. All of them implement it on the value, not the pointer.
type Message interface {
	// Type returns the Control Message Type.
	Type() Type
	// AppendBinary appends the message, header included, to b. It never fails; the error is encoding.BinaryAppender's.
	AppendBinary(b []byte) ([]byte, error)
}

// Parse reads one message of any type. b must hold it exactly, as Split cuts it. Nothing of b is kept.
func Parse(b []byte) (Message, error) {
	n, err := Split(b)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: %d octets given", ErrLength, len(b))
	}
	switch typeOf(b) {
	case TypeStartControlConnectionRequest:
		return box(ParseStartControlConnectionRequest(b))
	case TypeStartControlConnectionReply:
		return box(ParseStartControlConnectionReply(b))
	case TypeStopControlConnectionRequest:
		return box(ParseStopControlConnectionRequest(b))
	case TypeStopControlConnectionReply:
		return box(ParseStopControlConnectionReply(b))
	case TypeEchoRequest:
		return box(ParseEchoRequest(b))
	case TypeEchoReply:
		return box(ParseEchoReply(b))
	case TypeOutgoingCallRequest:
		return box(ParseOutgoingCallRequest(b))
	case TypeOutgoingCallReply:
		return box(ParseOutgoingCallReply(b))
	case TypeIncomingCallRequest:
		return box(ParseIncomingCallRequest(b))
	case TypeIncomingCallReply:
		return box(ParseIncomingCallReply(b))
	case TypeIncomingCallConnected:
		return box(ParseIncomingCallConnected(b))
	case TypeCallClearRequest:
		return box(ParseCallClearRequest(b))
	case TypeCallDisconnectNotify:
		return box(ParseCallDisconnectNotify(b))
	case TypeWANErrorNotify:
		return box(ParseWANErrorNotify(b))
	case TypeSetLinkInfo:
		return box(ParseSetLinkInfo(b))
	}
	return nil, fmt.Errorf("%w: %d", ErrControlType, uint16(typeOf(b)))
}

// box keeps a failed parse from becoming a non-nil Message.
func box[T Message](m T, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
