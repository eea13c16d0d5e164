package ppp

// PPP protocol numbers (RFC 1661 section 2 and the PPP registry).
const (
	ProtocolIPv4           uint16 = 0x0021 // RFC 1332
	ProtocolVJCompressed   uint16 = 0x002d // RFC 1144
	ProtocolVJUncompressed uint16 = 0x002f // RFC 1144
	ProtocolMultilink      uint16 = 0x003d // RFC 1990
	ProtocolIPv6           uint16 = 0x0057 // RFC 5072
	ProtocolCompressed     uint16 = 0x00fd // compressed datagram; MPPE, RFC 3078
	ProtocolIPCP           uint16 = 0x8021 // RFC 1332
	ProtocolECP            uint16 = 0x8053 // RFC 1968
	ProtocolIPv6CP         uint16 = 0x8057 // RFC 5072
	ProtocolCCP            uint16 = 0x80fd // RFC 1962
	ProtocolACSCP          uint16 = 0x8235 // Apple's client-server configuration
	ProtocolLCP            uint16 = 0xc021 // RFC 1661
	ProtocolPAP            uint16 = 0xc023 // RFC 1334
	ProtocolLQR            uint16 = 0xc025 // RFC 1989
	ProtocolCHAP           uint16 = 0xc223 // RFC 1994
	ProtocolEAP            uint16 = 0xc227 // RFC 3748
)

// Codes that LCP and every network control protocol have in common (RFC 1661 section 5).
const (
	CodeConfigureRequest byte = 1
	CodeConfigureAck     byte = 2
	CodeConfigureNak     byte = 3
	CodeConfigureReject  byte = 4
	CodeTerminateRequest byte = 5
	CodeTerminateAck     byte = 6
	CodeCodeReject       byte = 7
)
