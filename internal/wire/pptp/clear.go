package pptp

// CallClearRequest is how a client (PNS) asks to end a call, RFC 2637 section 2.12.
type CallClearRequest struct {
	CallID uint16 // the sender's, since the peer's may not be known yet
}

// ParseCallClearRequest reads b, which must be exactly one CallClearRequest with its header.
func ParseCallClearRequest(b []byte) (CallClearRequest, error) {
	return parse[CallClearRequest](b)
}

// Type implements Message.
func (CallClearRequest) Type() Type { return TypeCallClearRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m CallClearRequest) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *CallClearRequest) fields(l *layout) {
	l.u16(&m.CallID)
	l.reserved(2)
}

// CallDisconnectNotify is how a server (PAC) says that a call has ended, RFC 2637 section 2.13.
type CallDisconnectNotify struct {
	CallID     uint16 // the sender's, since the peer's may not be known yet
	Result     uint8  // a Disconnect code, ResultGeneralError, or 0 from Windows
	Error      uint8  // General Error Code
	Cause      uint16
	Statistics [128]byte // vendor specific
}

// ParseCallDisconnectNotify reads b, which must be exactly one CallDisconnectNotify with its header.
func ParseCallDisconnectNotify(b []byte) (CallDisconnectNotify, error) {
	return parse[CallDisconnectNotify](b)
}

// Type implements Message.
func (CallDisconnectNotify) Type() Type { return TypeCallDisconnectNotify }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m CallDisconnectNotify) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *CallDisconnectNotify) fields(l *layout) {
	l.u16(&m.CallID)
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.u16(&m.Cause)
	l.reserved(2)
	l.octets(m.Statistics[:])
}
