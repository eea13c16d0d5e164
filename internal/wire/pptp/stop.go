package pptp

// StopControlConnectionRequest says that the control connection, with all its calls, shall end, RFC 2637 section 2.3.
type StopControlConnectionRequest struct {
	Reason uint8 // a StopReason
}

// ParseStopControlConnectionRequest reads b, which must be exactly one StopControlConnectionRequest with its header.
func ParseStopControlConnectionRequest(b []byte) (StopControlConnectionRequest, error) {
	return parse[StopControlConnectionRequest](b)
}

// Type implements Message.
func (StopControlConnectionRequest) Type() Type { return TypeStopControlConnectionRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m StopControlConnectionRequest) AppendBinary(b []byte) ([]byte, error) {
	return appendTo(b, &m), nil
}

func (m *StopControlConnectionRequest) fields(l *layout) {
	l.u8(&m.Reason)
	l.reserved(3)
}

// StopControlConnectionReply answers a Stop-Control-Connection-Request, RFC 2637 section 2.4.
type StopControlConnectionReply struct {
	Result uint8 // ResultOK or ResultGeneralError
	Error  uint8 // General Error Code
}

// ParseStopControlConnectionReply reads b, which must be exactly one StopControlConnectionReply with its header.
func ParseStopControlConnectionReply(b []byte) (StopControlConnectionReply, error) {
	return parse[StopControlConnectionReply](b)
}

// Type implements Message.
func (StopControlConnectionReply) Type() Type { return TypeStopControlConnectionReply }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m StopControlConnectionReply) AppendBinary(b []byte) ([]byte, error) {
	return appendTo(b, &m), nil
}

func (m *StopControlConnectionReply) fields(l *layout) {
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.reserved(2)
}
