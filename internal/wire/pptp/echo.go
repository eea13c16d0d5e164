package pptp

// EchoRequest asks whether the peer is still there, RFC 2637 section 2.5.
type EchoRequest struct {
	Identifier uint32 // comes back in the reply
}

// ParseEchoRequest reads b, which must be exactly one EchoRequest with its header.
func ParseEchoRequest(b []byte) (EchoRequest, error) {
	return parse[EchoRequest](b)
}

// Type implements Message.
func (EchoRequest) Type() Type { return TypeEchoRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m EchoRequest) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *EchoRequest) fields(l *layout) {
	l.u32(&m.Identifier)
}

// EchoReply answers an Echo-Request, RFC 2637 section 2.6.
type EchoReply struct {
	Identifier uint32 // the request's
	Result     uint8  // ResultOK or ResultGeneralError
	Error      uint8  // General Error Code
}

// ParseEchoReply reads b, which must be exactly one EchoReply with its header.
func ParseEchoReply(b []byte) (EchoReply, error) {
	return parse[EchoReply](b)
}

// Type implements Message.
func (EchoReply) Type() Type { return TypeEchoReply }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m EchoReply) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *EchoReply) fields(l *layout) {
	l.u32(&m.Identifier)
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.reserved(2)
}
