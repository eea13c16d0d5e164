package esphdr

import "encoding/binary"

// Lengths of UDP encapsulation, RFC 3948 section 2.
const (
	// MarkerLen is the length of the non-ESP marker, four octets of zero before an IKE message on port 4500 (section 2.2).
	MarkerLen = 4
	// Keepalive is the one octet that keeps a NAT mapping alive (section 2.3).
	Keepalive byte = 0xff
)

// Kind is what a datagram to port 4500 carries.
type Kind uint8

// The kinds.
const (
	// KindMalformed is none of the others: too short for ESP, or a reserved SPI.
	KindMalformed Kind = iota
	// KindESP is an ESP packet; its header is whole and its SPI is at least MinSPI.
	KindESP
	// KindIKE is an IKE message behind the non-ESP marker; the message may still be empty.
	KindIKE
	// KindKeepalive is a NAT keepalive, to be ignored.
	KindKeepalive
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case KindESP:
		return "esp"
	case KindIKE:
		return "ike"
	case KindKeepalive:
		return "keepalive"
	default:
		return "malformed"
	}
}

// Classify says what the UDP payload b carries (RFC 3948 section 2).
func Classify(b []byte) Kind {
	if len(b) == 1 && b[0] == Keepalive {
		return KindKeepalive
	}
	if len(b) < MarkerLen {
		return KindMalformed
	}
	switch spi := binary.BigEndian.Uint32(b); {
	case spi == 0:
		return KindIKE
	case spi < MinSPI || len(b) < HeaderLen:
		return KindMalformed
	default:
		return KindESP
	}
}
