package l2tp

import "strconv"

// Attribute is an Attribute Type with Vendor ID 0, RFC 2661 section 4.4.
type Attribute uint16

// The attributes. The names are the RFC's.
const (
	AttributeMessageType          Attribute = 0
	AttributeResultCode           Attribute = 1
	AttributeProtocolVersion      Attribute = 2
	AttributeFramingCapabilities  Attribute = 3
	AttributeBearerCapabilities   Attribute = 4
	AttributeTieBreaker           Attribute = 5
	AttributeFirmwareRevision     Attribute = 6
	AttributeHostName             Attribute = 7
	AttributeVendorName           Attribute = 8
	AttributeAssignedTunnelID     Attribute = 9
	AttributeReceiveWindowSize    Attribute = 10
	AttributeChallenge            Attribute = 11
	AttributeQ931CauseCode        Attribute = 12
	AttributeChallengeResponse    Attribute = 13
	AttributeAssignedSessionID    Attribute = 14
	AttributeCallSerialNumber     Attribute = 15
	AttributeMinimumBPS           Attribute = 16
	AttributeMaximumBPS           Attribute = 17
	AttributeBearerType           Attribute = 18
	AttributeFramingType          Attribute = 19
	AttributeCalledNumber         Attribute = 21
	AttributeCallingNumber        Attribute = 22
	AttributeSubAddress           Attribute = 23
	AttributeTxConnectSpeed       Attribute = 24
	AttributePhysicalChannelID    Attribute = 25
	AttributeInitialReceivedLCP   Attribute = 26
	AttributeLastSentLCP          Attribute = 27
	AttributeLastReceivedLCP      Attribute = 28
	AttributeProxyAuthenType      Attribute = 29
	AttributeProxyAuthenName      Attribute = 30
	AttributeProxyAuthenChallenge Attribute = 31
	AttributeProxyAuthenID        Attribute = 32
	AttributeProxyAuthenResponse  Attribute = 33
	AttributeCallErrors           Attribute = 34
	AttributeACCM                 Attribute = 35
	AttributeRandomVector         Attribute = 36
	AttributePrivateGroupID       Attribute = 37
	AttributeRxConnectSpeed       Attribute = 38
	AttributeSequencingRequired   Attribute = 39
	AttributePPPDisconnectCause   Attribute = 46 // RFC 3145
)

const (
	numAttributes = 47
	variable      = -1 // in kinds: any number of octets
)

// kinds says of each attribute what it is called, how many octets its value has and whether it is sent with the M bit.
// Those without a name do not exist.
var kinds = [numAttributes]struct {
	name      string
	size      int
	mandatory bool
}{
	AttributeMessageType:          {"Message Type", 2, true},
	AttributeResultCode:           {"Result Code", variable, true},
	AttributeProtocolVersion:      {"Protocol Version", 2, true},
	AttributeFramingCapabilities:  {"Framing Capabilities", 4, true},
	AttributeBearerCapabilities:   {"Bearer Capabilities", 4, true},
	AttributeTieBreaker:           {"Tie Breaker", 8, false},
	AttributeFirmwareRevision:     {"Firmware Revision", 2, false},
	AttributeHostName:             {"Host Name", variable, true},
	AttributeVendorName:           {"Vendor Name", variable, false},
	AttributeAssignedTunnelID:     {"Assigned Tunnel ID", 2, true},
	AttributeReceiveWindowSize:    {"Receive Window Size", 2, true},
	AttributeChallenge:            {"Challenge", variable, true},
	AttributeQ931CauseCode:        {"Q.931 Cause Code", variable, true},
	AttributeChallengeResponse:    {"Challenge Response", 16, true},
	AttributeAssignedSessionID:    {"Assigned Session ID", 2, true},
	AttributeCallSerialNumber:     {"Call Serial Number", 4, true},
	AttributeMinimumBPS:           {"Minimum BPS", 4, true},
	AttributeMaximumBPS:           {"Maximum BPS", 4, true},
	AttributeBearerType:           {"Bearer Type", 4, true},
	AttributeFramingType:          {"Framing Type", 4, true},
	AttributeCalledNumber:         {"Called Number", variable, true},
	AttributeCallingNumber:        {"Calling Number", variable, true},
	AttributeSubAddress:           {"Sub-Address", variable, true},
	AttributeTxConnectSpeed:       {"Tx Connect Speed", 4, true},
	AttributePhysicalChannelID:    {"Physical Channel ID", 4, false},
	AttributeInitialReceivedLCP:   {"Initial Received LCP CONFREQ", variable, false},
	AttributeLastSentLCP:          {"Last Sent LCP CONFREQ", variable, false},
	AttributeLastReceivedLCP:      {"Last Received LCP CONFREQ", variable, false},
	AttributeProxyAuthenType:      {"Proxy Authen Type", 2, false},
	AttributeProxyAuthenName:      {"Proxy Authen Name", variable, false},
	AttributeProxyAuthenChallenge: {"Proxy Authen Challenge", variable, false},
	AttributeProxyAuthenID:        {"Proxy Authen ID", 2, false},
	AttributeProxyAuthenResponse:  {"Proxy Authen Response", variable, false},
	AttributeCallErrors:           {"Call Errors", 26, true},
	AttributeACCM:                 {"ACCM", 10, true},
	AttributeRandomVector:         {"Random Vector", variable, true},
	AttributePrivateGroupID:       {"Private Group ID", variable, false},
	AttributeRxConnectSpeed:       {"(Rx) Connect Speed", 4, false},
	AttributeSequencingRequired:   {"Sequencing Required", 0, true},
	AttributePPPDisconnectCause:   {"PPP Disconnect Cause Code", variable, false},
}

// known says whether a is an attribute of kinds.
func (a Attribute) known() bool { return int(a) < len(kinds) && kinds[a].name != "" }

// String returns the RFC's name of the attribute.
func (a Attribute) String() string {
	if !a.known() {
		return "attribute " + strconv.Itoa(int(a))
	}
	return kinds[a].name
}
