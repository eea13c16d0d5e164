package l2tp

// Version is protocol version 1.0, RFC 2661 section 4.4.2: version in the high octet, revision in the low one.
const Version uint16 = 0x0100

// DefaultReceiveWindow is the Receive Window Size of a peer that names none, in messages, RFC 2661 section 4.4.3.
const DefaultReceiveWindow uint16 = 4

// Framing Capabilities and Framing Type, RFC 2661 sections 4.4.3 and 4.4.4.
const (
	FramingSync   uint32 = 1
	FramingAsync  uint32 = 2
	FramingEither uint32 = 3
)

// Bearer Capabilities and Bearer Type, RFC 2661 sections 4.4.3 and 4.4.4.
const (
	BearerDigital uint32 = 1
	BearerAnalog  uint32 = 2
	BearerEither  uint32 = 3
)

// Result Codes of StopCCN, RFC 2661 section 4.4.2.
const (
	StopResultGeneralRequest uint16 = 1 // to clear the control connection
	StopResultGeneralError   uint16 = 2 // the Error Code says more
	StopResultExists         uint16 = 3 // the control channel exists already
	StopResultNotAuthorized  uint16 = 4
	StopResultVersion        uint16 = 5 // the Error Code is the highest version that is supported
	StopResultShutdown       uint16 = 6 // the requester is being shut down
	StopResultStateMachine   uint16 = 7 // finite state machine error
)

// Result Codes of CDN, RFC 2661 section 4.4.2.
const (
	CallResultLostCarrier    uint16 = 1
	CallResultGeneralError   uint16 = 2  // the Error Code says more
	CallResultAdministrative uint16 = 3  // administrative reasons
	CallResultTemporary      uint16 = 4  // appropriate facilities are lacking for the time being
	CallResultPermanent      uint16 = 5  // appropriate facilities are lacking for good
	CallResultDestination    uint16 = 6  // invalid destination
	CallResultNoCarrier      uint16 = 7  // no carrier was detected
	CallResultBusy           uint16 = 8  // a busy signal was detected
	CallResultNoDialTone     uint16 = 9  // lack of a dial tone
	CallResultTimeout        uint16 = 10 // not established in the LAC's time
	CallResultNoFraming      uint16 = 11 // connected, but no appropriate framing was detected
)

// General Error Codes, RFC 2661 section 4.4.2.
const (
	ErrorNone             uint16 = 0
	ErrorNoConnection     uint16 = 1 // no control connection exists yet for this pair
	ErrorLength           uint16 = 2 // a length is wrong
	ErrorValue            uint16 = 3 // a value is out of range, or a reserved field is not zero
	ErrorNoResource       uint16 = 4 // insufficient resources to handle this now
	ErrorSessionID        uint16 = 5 // invalid in this context
	ErrorVendor           uint16 = 6 // a generic vendor-specific error in the LAC
	ErrorTryAnother       uint16 = 7 // try another LNS, if the LAC knows one
	ErrorUnknownMandatory uint16 = 8 // an unknown AVP, or message, came with the M bit
)

// Proxy Authen Types, RFC 2661 section 4.4.5. There is none for MS-CHAPv2: LACs that hand it over call it CHAP, and what
// it is shows in the LCP option that they sent.
const (
	ProxyAuthenText   uint16 = 1 // a textual exchange of user name and password
	ProxyAuthenCHAP   uint16 = 2
	ProxyAuthenPAP    uint16 = 3
	ProxyAuthenNone   uint16 = 4 // no authentication was done
	ProxyAuthenMSCHAP uint16 = 5 // Microsoft CHAP version 1
)
