package l2tp

// ICRQ says that a call has come in at the LAC, RFC 2661 section 6.6.
type ICRQ struct {
	AssignedSessionID uint16 // the sender's
	CallSerialNumber  uint32
	BearerType        Optional[uint32]
	PhysicalChannelID Optional[uint32]
	CalledNumber      string
	CallingNumber     string
	SubAddress        string
}

// Type implements Message.
func (*ICRQ) Type() Type { return TypeICRQ }

func (m *ICRQ) fields(l *layout) {
	l.id(AttributeAssignedSessionID, &m.AssignedSessionID)
	l.u32(AttributeCallSerialNumber, &m.CallSerialNumber)
	l.optional32(AttributeBearerType, &m.BearerType)
	l.optional32(AttributePhysicalChannelID, &m.PhysicalChannelID)
	l.text(AttributeCalledNumber, &m.CalledNumber)
	l.text(AttributeCallingNumber, &m.CallingNumber)
	l.text(AttributeSubAddress, &m.SubAddress)
}

// ICRP accepts a call, RFC 2661 section 6.7.
type ICRP struct {
	AssignedSessionID uint16 // the sender's
}

// Type implements Message.
func (*ICRP) Type() Type { return TypeICRP }

func (m *ICRP) fields(l *layout) { l.id(AttributeAssignedSessionID, &m.AssignedSessionID) }

// ICCN completes a call and hands over what the LAC has settled with the user, RFC 2661 section 6.8.
type ICCN struct {
	TxConnectSpeed uint32 // bits a second
	FramingType    uint32

	InitialReceivedLCP []byte // Configure-Requests without their first four octets; nil: not given
	LastSentLCP        []byte
	LastReceivedLCP    []byte

	ProxyAuthenType      Optional[uint16]
	ProxyAuthenName      []byte
	ProxyAuthenChallenge []byte
	ProxyAuthenID        Optional[uint16] // the ID is the low octet
	ProxyAuthenResponse  []byte

	PrivateGroupID     []byte
	RxConnectSpeed     Optional[uint32] // bits a second; that of Tx if absent
	SequencingRequired bool
}

// Type implements Message.
func (*ICCN) Type() Type { return TypeICCN }

func (m *ICCN) fields(l *layout) {
	l.u32(AttributeTxConnectSpeed, &m.TxConnectSpeed)
	l.u32(AttributeFramingType, &m.FramingType)
	l.octets(AttributeInitialReceivedLCP, &m.InitialReceivedLCP)
	l.octets(AttributeLastSentLCP, &m.LastSentLCP)
	l.octets(AttributeLastReceivedLCP, &m.LastReceivedLCP)
	l.optional16(AttributeProxyAuthenType, &m.ProxyAuthenType)
	l.octets(AttributeProxyAuthenName, &m.ProxyAuthenName)
	l.octets(AttributeProxyAuthenChallenge, &m.ProxyAuthenChallenge)
	l.optional16(AttributeProxyAuthenID, &m.ProxyAuthenID)
	l.octets(AttributeProxyAuthenResponse, &m.ProxyAuthenResponse)
	l.octets(AttributePrivateGroupID, &m.PrivateGroupID)
	l.optional32(AttributeRxConnectSpeed, &m.RxConnectSpeed)
	l.flag(AttributeSequencingRequired, &m.SequencingRequired)
}

// OCRQ asks a LAC to place a call, RFC 2661 section 6.9.
type OCRQ struct {
	AssignedSessionID uint16 // the sender's
	CallSerialNumber  uint32
	MinimumBPS        uint32
	MaximumBPS        uint32
	BearerType        uint32
	FramingType       uint32
	CalledNumber      string
	SubAddress        string
}

// Type implements Message.
func (*OCRQ) Type() Type { return TypeOCRQ }

func (m *OCRQ) fields(l *layout) {
	l.id(AttributeAssignedSessionID, &m.AssignedSessionID)
	l.u32(AttributeCallSerialNumber, &m.CallSerialNumber)
	l.u32(AttributeMinimumBPS, &m.MinimumBPS)
	l.u32(AttributeMaximumBPS, &m.MaximumBPS)
	l.u32(AttributeBearerType, &m.BearerType)
	l.u32(AttributeFramingType, &m.FramingType)
	l.text(AttributeCalledNumber, &m.CalledNumber)
	l.text(AttributeSubAddress, &m.SubAddress)
}

// OCRP says that a LAC tries to place the call, RFC 2661 section 6.10.
type OCRP struct {
	AssignedSessionID uint16 // the sender's
	PhysicalChannelID Optional[uint32]
}

// Type implements Message.
func (*OCRP) Type() Type { return TypeOCRP }

func (m *OCRP) fields(l *layout) {
	l.id(AttributeAssignedSessionID, &m.AssignedSessionID)
	l.optional32(AttributePhysicalChannelID, &m.PhysicalChannelID)
}

// OCCN says that the called side has answered, RFC 2661 section 6.11.
type OCCN struct {
	TxConnectSpeed     uint32 // bits a second
	FramingType        uint32
	RxConnectSpeed     Optional[uint32]
	SequencingRequired bool
}

// Type implements Message.
func (*OCCN) Type() Type { return TypeOCCN }

func (m *OCCN) fields(l *layout) {
	l.u32(AttributeTxConnectSpeed, &m.TxConnectSpeed)
	l.u32(AttributeFramingType, &m.FramingType)
	l.optional32(AttributeRxConnectSpeed, &m.RxConnectSpeed)
	l.flag(AttributeSequencingRequired, &m.SequencingRequired)
}

// CDN ends a call, RFC 2661 section 6.12.
type CDN struct {
	Result             Result
	AssignedSessionID  uint16 // the sender's, which the receiver may need when the header's is 0
	Q931CauseCode      []byte // not interpreted
	PPPDisconnectCause []byte // RFC 3145, not interpreted
}

// Type implements Message.
func (*CDN) Type() Type { return TypeCDN }

func (m *CDN) fields(l *layout) {
	l.result(AttributeResultCode, &m.Result)
	l.u16(AttributeAssignedSessionID, &m.AssignedSessionID)
	l.octets(AttributeQ931CauseCode, &m.Q931CauseCode)
	l.octets(AttributePPPDisconnectCause, &m.PPPDisconnectCause)
}

// WEN reports errors on the LAC's line since the call began, RFC 2661 section 6.13.
type WEN struct {
	CRCErrors, FramingErrors, HardwareOverruns, BufferOverruns, TimeoutErrors, AlignmentErrors uint32
}

// Type implements Message.
func (*WEN) Type() Type { return TypeWEN }

func (m *WEN) fields(l *layout) {
	l.words(AttributeCallErrors, &m.CRCErrors, &m.FramingErrors, &m.HardwareOverruns, &m.BufferOverruns,
		&m.TimeoutErrors, &m.AlignmentErrors)
}

// SLI tells a LAC the character maps of an asynchronous line, RFC 2661 section 6.14.
type SLI struct {
	SendACCM, ReceiveACCM uint32
}

// Type implements Message.
func (*SLI) Type() Type { return TypeSLI }

func (m *SLI) fields(l *layout) { l.words(AttributeACCM, &m.SendACCM, &m.ReceiveACCM) }
