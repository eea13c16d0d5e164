package tun

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of the virtio-net header before each packet that passes a queue, in octets. All zero means a
// whole packet with finished checksums.
const HeaderLen = 10

// vnetHeader is struct virtio_net_hdr of linux/virtio_net.h but for hdr_len, which is a hint: we read the lengths from the
// packet itself. Lengths and places are in octets, of the packet behind the header.
type vnetHeader struct {
	needsCsum  bool   // the sum over what starts at csumStart must be completed
	kind       uint8  // VIRTIO_NET_HDR_GSO_*, without the ECN bit: what it says the packet says itself
	gsoSize    uint16 // payload of each packet of the train but the last
	csumStart  uint16
	csumOffset uint16 // of the checksum's field, from csumStart
}

// parseVnet reads the first HeaderLen octets of p. Numbers are in the machine's order.
func parseVnet(p []byte) vnetHeader {
	_ = p[HeaderLen-1]
	return vnetHeader{
		needsCsum:  p[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0,
		kind:       p[1] &^ unix.VIRTIO_NET_HDR_GSO_ECN,
		gsoSize:    binary.NativeEndian.Uint16(p[4:]),
		csumStart:  binary.NativeEndian.Uint16(p[6:]),
		csumOffset: binary.NativeEndian.Uint16(p[8:]),
	}
}

// put writes the header into the first HeaderLen octets of p. head is the length of all headers of the packet.
func (h vnetHeader) put(p []byte, head int) {
	_ = p[HeaderLen-1]
	p[0] = 0
	if h.needsCsum {
		p[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	}
	p[1] = h.kind
	binary.NativeEndian.PutUint16(p[2:], uint16(head))
	binary.NativeEndian.PutUint16(p[4:], h.gsoSize)
	binary.NativeEndian.PutUint16(p[6:], h.csumStart)
	binary.NativeEndian.PutUint16(p[8:], h.csumOffset)
}

// What the trains' headers hold and where, from the start of the header that the name begins with.
const (
	ipHeaderLen = 20 // RFC 791 section 3.1, without options
	ipTOS       = 1
	ipLength    = 2
	ipID        = 4
	ipFragment  = 6
	ipTTL       = 8
	ipProtocol  = 9
	ipChecksum  = 10
	ipSource    = 12
	ipDest      = 16

	ipDontFragment = 0x4000 // in the word at ipFragment
	ipMaxLength    = 0xffff

	tcpHeaderLen = 20 // RFC 9293 section 3.1, without options
	tcpSequence  = 4
	tcpAck       = 8
	tcpOffset    = 12
	tcpFlags     = 13
	tcpWindow    = 14
	tcpChecksum  = 16
	tcpUrgent    = 18

	tcpFIN   = 0x01
	tcpPSH   = 0x08
	tcpACK   = 0x10
	tcpCWR   = 0x80 // RFC 3168 section 6.1
	tcpOther = 0x0f // at tcpOffset, beside the header's length: reserved, and AE

	udpHeaderLen = 8 // RFC 768
	udpLength    = 4
	udpChecksum  = 6
)
