package pptp

// WANErrorNotify reports line errors of a call, counted since it began, RFC 2637 section 2.14.
type WANErrorNotify struct {
	PeerCallID       uint16 // the receiver's call
	CRCErrors        uint32
	FramingErrors    uint32
	HardwareOverruns uint32
	BufferOverruns   uint32
	TimeoutErrors    uint32
	AlignmentErrors  uint32
}

// ParseWANErrorNotify reads b, which must be exactly one WANErrorNotify with its header.
func ParseWANErrorNotify(b []byte) (WANErrorNotify, error) {
	return parse[WANErrorNotify](b)
}

// Type implements Message.
func (WANErrorNotify) Type() Type { return TypeWANErrorNotify }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m WANErrorNotify) AppendBinary(b []byte) ([]byte, error) { return appendTo(b, &m), nil }

func (m *WANErrorNotify) fields(l *layout) {
	l.u16(&m.PeerCallID)
	l.reserved(2)
	l.u32(&m.CRCErrors)
	l.u32(&m.FramingErrors)
	l.u32(&m.HardwareOverruns)
	l.u32(&m.BufferOverruns)
	l.u32(&m.TimeoutErrors)
	l.u32(&m.AlignmentErrors)
}
