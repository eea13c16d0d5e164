package pptp

// IncomingCallRequest announces a call that came in at the sender, RFC 2637 section 2.9.
type IncomingCallRequest struct {
	CallID              uint16 // the sender's
	SerialNumber        uint16
	BearerType          uint32
	PhysicalChannelID   uint32
	DialedNumberLength  uint16 // octets of DialedNumber that count
	DialingNumberLength uint16 // octets of DialingNumber that count
	DialedNumber        Text
	DialingNumber       Text
	SubAddress          SubAddress
}

// ParseIncomingCallRequest reads b, which must be exactly one IncomingCallRequest with its header.
func ParseIncomingCallRequest(b []byte) (IncomingCallRequest, error) {
	return parse[IncomingCallRequest](b)
}

// Type implements Message.
func (IncomingCallRequest) Type() Type { return TypeIncomingCallRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m IncomingCallRequest) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *IncomingCallRequest) fields(l *layout) {
	l.u16(&m.CallID)
	l.u16(&m.SerialNumber)
	l.u32(&m.BearerType)
	l.u32(&m.PhysicalChannelID)
	l.u16(&m.DialedNumberLength)
	l.u16(&m.DialingNumberLength)
	l.octets(m.DialedNumber[:])
	l.octets(m.DialingNumber[:])
	l.octets(m.SubAddress[:])
}

// IncomingCallReply answers an Incoming-Call-Request, RFC 2637 section 2.10.
type IncomingCallReply struct {
	CallID        uint16 // the sender's
	PeerCallID    uint16 // the CallID of the request
	Result        uint8  // ResultConnected, ResultGeneralError or IncomingResultDoNotAccept
	Error         uint8  // General Error Code
	ReceiveWindow uint16 // packets
	TransmitDelay uint16 // tenths of a second
}

// ParseIncomingCallReply reads b, which must be exactly one IncomingCallReply with its header.
func ParseIncomingCallReply(b []byte) (IncomingCallReply, error) {
	return parse[IncomingCallReply](b)
}

// Type implements Message.
func (IncomingCallReply) Type() Type { return TypeIncomingCallReply }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m IncomingCallReply) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *IncomingCallReply) fields(l *layout) {
	l.u16(&m.CallID)
	l.u16(&m.PeerCallID)
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.u16(&m.ReceiveWindow)
	l.u16(&m.TransmitDelay)
	l.reserved(2)
}

// IncomingCallConnected says that the sender has picked up an incoming call, RFC 2637 section 2.11.
type IncomingCallConnected struct {
	PeerCallID    uint16 // the CallID of the Incoming-Call-Reply
	ConnectSpeed  uint32 // bits a second
	ReceiveWindow uint16 // packets
	TransmitDelay uint16 // tenths of a second
	FramingType   uint32
}

// ParseIncomingCallConnected reads b, which must be exactly one IncomingCallConnected with its header.
func ParseIncomingCallConnected(b []byte) (IncomingCallConnected, error) {
	return parse[IncomingCallConnected](b)
}

// Type implements Message.
func (IncomingCallConnected) Type() Type { return TypeIncomingCallConnected }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m IncomingCallConnected) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *IncomingCallConnected) fields(l *layout) {
	l.u16(&m.PeerCallID)
	l.reserved(2)
	l.u32(&m.ConnectSpeed)
	l.u16(&m.ReceiveWindow)
	l.u16(&m.TransmitDelay)
	l.u32(&m.FramingType)
}
