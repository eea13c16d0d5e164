package pptp

// Framing Capabilities and Framing Type, RFC 2637 sections 2.1 and 2.7.
const (
	FramingAsync  uint32 = 1
	FramingSync   uint32 = 2
	FramingEither uint32 = 3
)

// Bearer Capabilities and Bearer Type, RFC 2637 sections 2.1 and 2.7.
const (
	BearerAnalog  uint32 = 1
	BearerDigital uint32 = 2
	BearerEither  uint32 = 3
)

// ResultOK is the Result Code that says yes in Start-Control-Connection-Reply, Stop-Control-Connection-Reply and
// Echo-Reply, RFC 2637 sections 2.2, 2.4 and 2.6.
const ResultOK uint8 = 1

// ResultGeneralError means in every message with a Result Code that the Error Code says more.
const ResultGeneralError uint8 = 2

// Result Codes of Start-Control-Connection-Reply, RFC 2637 section 2.2; 1 and 2 are ResultOK and ResultGeneralError.
const (
	StartResultExists        uint8 = 3 // a control connection exists already
	StartResultNotAuthorized uint8 = 4
	StartResultVersion       uint8 = 5 // the requester's protocol version is not supported
)

// Reasons of Stop-Control-Connection-Request, RFC 2637 section 2.3.
const (
	StopReasonNone          uint8 = 1 // general request
	StopReasonProtocol      uint8 = 2 // can't support the peer's version
	StopReasonLocalShutdown uint8 = 3
)

// Result Codes of Outgoing-Call-Reply, RFC 2637 section 2.8; 2 is ResultGeneralError.
const (
	ResultConnected   uint8 = 1
	ResultNoCarrier   uint8 = 3
	ResultBusy        uint8 = 4
	ResultNoDialTone  uint8 = 5
	ResultTimeout     uint8 = 6
	ResultDoNotAccept uint8 = 7 // outgoing calls are administratively prohibited
)

// IncomingResultDoNotAccept is the Result Code of Incoming-Call-Reply with which an incoming call is refused, RFC 2637
// section 2.10; 1 and 2 are ResultConnected and ResultGeneralError.
const IncomingResultDoNotAccept uint8 = 3

// Result Codes of Call-Disconnect-Notify, RFC 2637 section 2.13; 2 is ResultGeneralError. Windows sends 0.
const (
	DisconnectLostCarrier   uint8 = 1
	DisconnectAdminShutdown uint8 = 3
	DisconnectRequest       uint8 = 4 // a Call-Clear-Request was received
)

// General Error Codes, RFC 2637 section 2.16.
const (
	ErrorNone         uint8 = 0
	ErrorNotConnected uint8 = 1 // no control connection exists yet
	ErrorBadFormat    uint8 = 2
	ErrorBadValue     uint8 = 3
	ErrorNoResource   uint8 = 4
	ErrorBadCallID    uint8 = 5
	ErrorPACError     uint8 = 6 // vendor specific
)
