package pptp

// StartControlConnectionRequest asks for a control connection, RFC 2637 section 2.1.
type StartControlConnectionRequest struct {
	Version             uint16 // protocol version of the sender
	FramingCapabilities uint32
	BearerCapabilities  uint32
	MaximumChannels     uint16 // sessions that a PAC can carry; 0 from a PNS
	FirmwareRevision    uint16
	HostName            Text
	VendorName          Text
}

// ParseStartControlConnectionRequest reads b, which must be exactly one StartControlConnectionRequest with its header.
func ParseStartControlConnectionRequest(b []byte) (StartControlConnectionRequest, error) {
	return parse[StartControlConnectionRequest](b)
}

// Type implements Message.
func (StartControlConnectionRequest) Type() Type { return TypeStartControlConnectionRequest }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m StartControlConnectionRequest) AppendBinary(b []byte) ([]byte, error) {
	return appendTo(b, &m), nil
}

func (m *StartControlConnectionRequest) fields(l *layout) {
	l.u16(&m.Version)
	l.reserved(2)
	l.u32(&m.FramingCapabilities)
	l.u32(&m.BearerCapabilities)
	l.u16(&m.MaximumChannels)
	l.u16(&m.FirmwareRevision)
	l.octets(m.HostName[:])
	l.octets(m.VendorName[:])
}

// StartControlConnectionReply answers a Start-Control-Connection-Request, RFC 2637 section 2.2.
type StartControlConnectionReply struct {
	Version             uint16 // protocol version that the sender supports
	Result              uint8  // ResultOK, ResultGeneralError or a StartResult
	Error               uint8  // General Error Code
	FramingCapabilities uint32
	BearerCapabilities  uint32
	MaximumChannels     uint16
	FirmwareRevision    uint16
	HostName            Text
	VendorName          Text
}

// ParseStartControlConnectionReply reads b, which must be exactly one StartControlConnectionReply with its header.
func ParseStartControlConnectionReply(b []byte) (StartControlConnectionReply, error) {
	return parse[StartControlConnectionReply](b)
}

// Type implements Message.
func (StartControlConnectionReply) Type() Type { return TypeStartControlConnectionReply }

// AppendBinary implements Message and encoding.BinaryAppender.
func (m StartControlConnectionReply) AppendBinary(b []byte) ([]byte, error) {
	return appendTo(b, &m), nil
}

func (m *StartControlConnectionReply) fields(l *layout) {
	l.u16(&m.Version)
	l.u8(&m.Result)
	l.u8(&m.Error)
	l.u32(&m.FramingCapabilities)
	l.u32(&m.BearerCapabilities)
	l.u16(&m.MaximumChannels)
	l.u16(&m.FirmwareRevision)
	l.octets(m.HostName[:])
	l.octets(m.VendorName[:])
}
