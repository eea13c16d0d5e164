package pptp

// SetLinkInfo sets a call's asynchronous control character maps, which mean nothing on this link, RFC 2637 section 2.15.
type SetLinkInfo struct {
	PeerCallID  uint16 // the receiver's call
	SendACCM    uint32 // for what the receiver sends to its line
	ReceiveACCM uint32 // for what the receiver gets from its line
}

// ParseSetLinkInfo reads b, which must be exactly one SetLinkInfo with its header.
func ParseSetLinkInfo(b []byte) (SetLinkInfo, error) {
	return parse[SetLinkInfo](b)
}

// Type implements Message.
func (SetLinkInfo) Type() Type { return TypeSetLinkInfo }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m SetLinkInfo) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *SetLinkInfo) fields(l *layout) {
	l.u16(&m.PeerCallID)
	l.reserved(2)
	l.u32(&m.SendACCM)
	l.u32(&m.ReceiveACCM)
}
