package l2tp

// SCCRQ asks for a control connection, RFC 2661 section 6.1.
type SCCRQ struct {
	ProtocolVersion     uint16
	FramingCapabilities uint32
	BearerCapabilities  Optional[uint32]
	TieBreaker          Optional[uint64]
	FirmwareRevision    Optional[uint16]
	HostName            string // mandatory in the RFC, but Windows servers do without and so do we
	VendorName          string
	AssignedTunnelID    uint16 // the sender's
	ReceiveWindowSize   Optional[uint16]
	Challenge           []byte // nil: no tunnel authentication is wanted
}

// Type implements Message.
func (*SCCRQ) Type() Type { return TypeSCCRQ }

func (m *SCCRQ) fields(l *layout) {
	l.u16(AttributeProtocolVersion, &m.ProtocolVersion)
	l.u32(AttributeFramingCapabilities, &m.FramingCapabilities)
	l.optional32(AttributeBearerCapabilities, &m.BearerCapabilities)
	l.optional64(AttributeTieBreaker, &m.TieBreaker)
	l.optional16(AttributeFirmwareRevision, &m.FirmwareRevision)
	l.text(AttributeHostName, &m.HostName)
	l.text(AttributeVendorName, &m.VendorName)
	l.id(AttributeAssignedTunnelID, &m.AssignedTunnelID)
	l.optional16(AttributeReceiveWindowSize, &m.ReceiveWindowSize)
	l.octets(AttributeChallenge, &m.Challenge)
}

// SCCRP accepts a control connection, RFC 2661 section 6.2.
type SCCRP struct {
	ProtocolVersion     uint16
	FramingCapabilities uint32
	BearerCapabilities  Optional[uint32]
	FirmwareRevision    Optional[uint16]
	HostName            string
	VendorName          string
	AssignedTunnelID    uint16 // the sender's
	ReceiveWindowSize   Optional[uint16]
	Challenge           []byte // nil: no tunnel authentication is wanted
	ChallengeResponse   []byte // to the SCCRQ's Challenge; nil if there was none
}

// Type implements Message.
func (*SCCRP) Type() Type { return TypeSCCRP }

func (m *SCCRP) fields(l *layout) {
	l.u16(AttributeProtocolVersion, &m.ProtocolVersion)
	l.u32(AttributeFramingCapabilities, &m.FramingCapabilities)
	l.optional32(AttributeBearerCapabilities, &m.BearerCapabilities)
	l.optional16(AttributeFirmwareRevision, &m.FirmwareRevision)
	l.text(AttributeHostName, &m.HostName)
	l.text(AttributeVendorName, &m.VendorName)
	l.id(AttributeAssignedTunnelID, &m.AssignedTunnelID)
	l.optional16(AttributeReceiveWindowSize, &m.ReceiveWindowSize)
	l.octets(AttributeChallenge, &m.Challenge)
	l.octets(AttributeChallengeResponse, &m.ChallengeResponse)
}

// SCCCN completes the control connection, RFC 2661 section 6.3.
type SCCCN struct {
	ChallengeResponse []byte // to the SCCRP's Challenge; nil if there was none
}

// Type implements Message.
func (*SCCCN) Type() Type { return TypeSCCCN }

func (m *SCCCN) fields(l *layout) { l.octets(AttributeChallengeResponse, &m.ChallengeResponse) }

// StopCCN ends a tunnel with all its calls, RFC 2661 section 6.4.
type StopCCN struct {
	AssignedTunnelID uint16 // the sender's, which the receiver may need when the header's is 0
	Result           Result
}

// Type implements Message.
func (*StopCCN) Type() Type { return TypeStopCCN }

func (m *StopCCN) fields(l *layout) {
	l.u16(AttributeAssignedTunnelID, &m.AssignedTunnelID)
	l.result(AttributeResultCode, &m.Result)
}

// HELLO asks whether the peer is there, RFC 2661 section 6.5. It is answered by its acknowledgement.
type HELLO struct{}

// Type implements Message.
func (*HELLO) Type() Type { return TypeHELLO }

func (*HELLO) fields(*layout) {}
