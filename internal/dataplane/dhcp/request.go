package dhcp

import (
	"encoding/binary"

	"concentrator/internal/dataplane/policy"
)

// Ports of DHCP, RFC 2131 section 4.1.
const (
	serverPort = 67
	clientPort = 68
)

// Broadcast is the address to which a client asks that knows no server, 255.255.255.255, as a number in host order.
const Broadcast uint32 = 0xffffffff

const (
	protocolUDP  = 17
	udpHeaderLen = 8
)

// A message, RFC 2131 section 2: the offsets of its fields, and how long they are together with the cookie behind them.
const (
	atOp     = 0
	atHLen   = 2
	atHops   = 3
	atSecs   = 8
	atFlags  = 10
	atCIAddr = 12
	atSIAddr = 20
	atGIAddr = 24
	atCHAddr = 28
	atSName  = 44
	atCookie = 236
	fixedLen = 240

	bootRequest = 1
	bootReply   = 2
	cookie      = 0x63825363
	maxHLen     = atSName - atCHAddr
)

// Asks reports whether the inner IPv4 packet p, whose header is h, is for a DHCP server: whole, and from port 68 to 67. To
// which address is for the caller to look at.
func Asks(p []byte, h *policy.IPv4) bool {
	return h.Protocol == protocolUDP && !h.MoreFragments && h.FragmentOffset == 0 &&
		h.TotalLen >= h.HeaderLen+udpHeaderLen &&
		binary.BigEndian.Uint16(p[h.HeaderLen:]) == clientPort && binary.BigEndian.Uint16(p[h.HeaderLen+2:]) == serverPort
}

// request is a DHCPINFORM. It borrows the packet that it was in.
type request struct {
	message  []byte // at least fixedLen
	clientID []byte // empty: none
	list     []byte // the options that it asks for, in its order
	hasList  bool
}

// parseRequest reads a DHCPINFORM out of a packet for which Asks is true. It reports false for any other message, for one
// that is not sound, and for one that a relay has passed on: there is none on a PPP link.
func parseRequest(p []byte, h *policy.IPv4) (request, bool) {
	datagram := p[h.HeaderLen:h.TotalLen]
	n := int(binary.BigEndian.Uint16(datagram[4:]))
	if n < udpHeaderLen+fixedLen || n > len(datagram) {
		return request{}, false
	}
	datagram = datagram[:n]
	if binary.BigEndian.Uint16(datagram[6:]) != 0 && udpSum(datagram, h.Src, h.Dst) != 0xffff { // macOS sends none
		return request{}, false
	}
	r := request{message: datagram[udpHeaderLen:]}
	m := r.message
	if m[atOp] != bootRequest || m[atHLen] > maxHLen || binary.BigEndian.Uint32(m[atGIAddr:]) != 0 ||
		binary.BigEndian.Uint32(m[atCookie:]) != cookie {
		return request{}, false
	}
	kind := byte(0)
	for all := (options{m[fixedLen:]}); ; {
		code, value, ok, sound := all.next()
		if !sound {
			return request{}, false
		}
		if !ok {
			return r, kind == typeInform
		}
		switch code { // of an option that comes twice, the first counts
		case optionMessageType:
			if kind == 0 && len(value) == 1 {
				kind = value[0]
			}
		case optionClientID:
			if r.clientID == nil {
				r.clientID = value
			}
		case optionRequestList:
			if !r.hasList {
				r.list, r.hasList = value, true
			}
		}
	}
}

// udpSum is the ones' complement sum of a UDP datagram with its pseudo-header (RFC 768). Where the checksum in it is right
// it is 0xffff.
func udpSum(datagram []byte, src, dst uint32) uint16 {
	n := src>>16 + src&0xffff + dst>>16 + dst&0xffff + protocolUDP + uint32(len(datagram))
	return sum(datagram, n)
}

// sum adds b, as numbers of 16 bits, to n in ones' complement (RFC 1071). b is shorter than 64 KiB.
func sum(b []byte, n uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	n = n>>16 + n&0xffff
	return uint16(n>>16 + n)
}
