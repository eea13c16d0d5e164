package pptp

// OutgoingCallRequest asks the peer to place a call; it is how a VPN client begins a session, RFC 2637 section 2.7.
type OutgoingCallRequest struct {
	CallID            uint16 // the sender's; Windows has been seen to use 0
	SerialNumber      uint16 // the sender's name of the session, for logs
	MinimumBPS        uint32 // bits a second
	MaximumBPS        uint32 // bits a second
	BearerType        uint32
	FramingType       uint32
	ReceiveWindow     uint16 // packets
	ProcessingDelay   uint16 // tenths of a second
	PhoneNumberLength uint16 // octets of PhoneNumber that count
	PhoneNumber       Text
	SubAddress        SubAddress
}

// ParseOutgoingCallRequest reads b, which must be exactly one OutgoingCallRequest with its header.
func ParseOutgoingCallRequest(b []byte) (OutgoingCallRequest, error) {
	return parse[OutgoingCallRequest](b)
}

// Type implements Message.
func (OutgoingCallRequest) Type() Type { return TypeOutgoingCallRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m OutgoingCallRequest) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *OutgoingCallRequest) fields(l *layout) {
	l.u16(&m.CallID)
	l.u16(&m.SerialNumber)
	l.u32(&m.MinimumBPS)
	l.u32(&m.MaximumBPS)
	l.u32(&m.BearerType)
	l.u32(&m.FramingType)
	l.u16(&m.ReceiveWindow)
	l.u16(&m.ProcessingDelay)
	l.u16(&m.PhoneNumberLength)
	l.reserved(2)
	l.octets(m.PhoneNumber[:])
	l.octets(m.SubAddress[:])
}

// OutgoingCallReply answers an Outgoing-Call-Request, RFC 2637 section 2.8.
type OutgoingCallReply struct {
	CallID            uint16 // the sender's
	PeerCallID        uint16 // the CallID of the request
	Result            uint8  // ResultConnected, ResultGeneralError or what follows
	Error             uint8  // General Error Code
	Cause             uint16 // Q.931-like, of no use here
	ConnectSpeed      uint32 // bits a second
	ReceiveWindow     uint16 // packets
	ProcessingDelay   uint16 // tenths of a second
	PhysicalChannelID uint32
}

// ParseOutgoingCallReply reads b, which must be exactly one OutgoingCallReply with its header.
func ParseOutgoingCallReply(b []byte) (OutgoingCallReply, error) {
	return parse[OutgoingCallReply](b)
}

// Type implements Message.
func (OutgoingCallReply) Type() Type { return TypeOutgoingCallReply }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m OutgoingCallReply) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *OutgoingCallReply) fields(l *layout) {
	l.u16(&m.CallID)
	l.u16(&m.PeerCallID)
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.u16(&m.Cause)
	l.u32(&m.ConnectSpeed)
	l.u16(&m.ReceiveWindow)
	l.u16(&m.ProcessingDelay)
	l.u32(&m.PhysicalChannelID)
}

// Number returns the phone number as printable text: the octets that PhoneNumberLength says count, at most all 64.
func (m OutgoingCallRequest) Number() string {
	n := min(int(m.PhoneNumberLength), len(m.PhoneNumber))
	return printable(m.PhoneNumber[:n])
}
