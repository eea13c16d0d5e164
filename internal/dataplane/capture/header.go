package capture

import (
	"encoding/binary"

	"concentrator/internal/dataplane/checksum"
)

// Lengths of the headers that are rebuilt, octets.
const (
	ipv4Len = 20
	udpLen  = 8
	ipTTL   = 64 // what the kernel sends with by default
)

// Headers is what the kernel puts before the payload of our sockets, or has taken off before we see it.
type Headers struct {
	From, To         [4]byte
	FromPort, ToPort uint16 // of UDP
	TOS              uint8
	Protocol         uint8 // of IP
}

// protocolUDP is the only protocol that has a header of its own here.
const protocolUDP = 17

// append appends the IPv4 header (RFC 791 section 3.1), and that of UDP where it is UDP, of a payload of n octets. Nobody
// keeps identification, TTL and fragments of what came: they read as in a packet of ours. A UDP checksum of 0 says that
// there is none.
func (h *Headers) append(b []byte, n int) []byte {
	length := ipv4Len + n
	if h.Protocol == protocolUDP {
		length += udpLen
	}
	at := len(b)
	b = append(b, 0x45, h.TOS)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, 0, 0, 0, 0, ipTTL, h.Protocol, 0, 0)
	b = append(b, h.From[:]...)
	b = append(b, h.To[:]...)
	binary.BigEndian.PutUint16(b[at+10:], checksum.Of(b[at:]))
	if h.Protocol != protocolUDP {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, h.FromPort)
	b = binary.BigEndian.AppendUint16(b, h.ToPort)
	b = binary.BigEndian.AppendUint16(b, uint16(udpLen+n))
	return append(b, 0, 0)
}
