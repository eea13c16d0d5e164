package tun

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"concentrator/internal/dataplane/checksum"
)

// class says what a packet can be to a Coalescer.
type class uint8

const (
	stranger class = iota // not TCP or UDP over IPv4: no flow
	portless              // of a flow, but which? A fragment, or too short to tell
	alone                 // of a flow, never part of a train
	tcp                   // data that can be part of a train
	udp
)

// flow names one direction of a connection. Equal flows are equal values.
type flow struct {
	addresses uint64 // source and destination
	rest      uint64 // queue, protocol and ports
}

// protocolBit tells UDP from TCP in flow.rest. Below it there is room for every descriptor.
const protocolBit = 1 << 63

// between says whether f and g are of the same queue, protocol and addresses.
func (f flow) between(g flow) bool {
	return f.addresses == g.addresses && f.rest>>32 == g.rest>>32
}

// shape is what a Coalescer must know of a packet before it looks at others.
type shape struct {
	class   class
	last    bool // no packet can follow it in a train
	flow    flow
	head    int // octets of headers; of a packet alone all of it
	payload int
}

// shapeOf makes s the shape of the packet p for the queue fd. It relies on nothing in p.
func shapeOf(s *shape, p []byte, fd int) {
	*s = shape{head: len(p)}
	if len(p) < ipHeaderLen || p[0]>>4 != 4 {
		return
	}
	s.flow = flow{addresses: binary.NativeEndian.Uint64(p[ipSource:]), rest: uint64(uint32(fd)) << 32}
	switch p[ipProtocol] {
	case unix.IPPROTO_TCP:
	case unix.IPPROTO_UDP:
		s.flow.rest |= protocolBit
	default:
		return
	}
	ip := int(p[0]&0xf) * 4
	fragment := binary.BigEndian.Uint16(p[ipFragment:]) &^ ipDontFragment
	if fragment != 0 || ip < ipHeaderLen || len(p) < ip+4 {
		s.class = portless
		return
	}
	s.class = alone
	s.flow.rest |= uint64(binary.NativeEndian.Uint32(p[ip:]))
	if ip != ipHeaderLen || int(binary.BigEndian.Uint16(p[ipLength:])) != len(p) {
		return
	}
	if s.flow.rest&protocolBit == 0 {
		s.shapeTCP(p)
	} else {
		s.shapeUDP(p)
	}
}

// shapeTCP goes on with a packet that has no IP options.
func (s *shape) shapeTCP(p []byte) {
	if len(p) < ipHeaderLen+tcpHeaderLen {
		return
	}
	l4 := p[ipHeaderLen:]
	head := ipHeaderLen + int(l4[tcpOffset]>>4)*4
	if head < ipHeaderLen+tcpHeaderLen || head >= len(p) || l4[tcpOffset]&tcpOther != 0 || l4[tcpFlags]&^tcpPSH != tcpACK {
		return
	}
	s.class, s.last = tcp, l4[tcpFlags]&tcpPSH != 0
	s.head, s.payload = head, len(p)-head
}

// shapeUDP goes on with a packet that has no IP options.
func (s *shape) shapeUDP(p []byte) {
	const head = ipHeaderLen + udpHeaderLen
	if len(p) <= head {
		return
	}
	l4 := p[ipHeaderLen:]
	if int(binary.BigEndian.Uint16(l4[udpLength:])) != len(l4) || binary.BigEndian.Uint16(l4[udpChecksum:]) == 0 {
		return
	}
	s.class = udp
	s.head, s.payload = head, len(p)-head
}

// intact says whether the checksums of a packet of class tcp or udp are right.
func intact(p []byte) bool {
	l4 := p[ipHeaderLen:]
	return checksum.RightIPv4((*[ipHeaderLen]byte)(p)) && checksum.Fold(checksum.Add(pseudo(p), l4)) == 0xffff
}

// pseudo is the sum of the pseudo header of the packet p, which has no IP options.
func pseudo(p []byte) uint64 {
	return checksum.Pseudo([4]byte(p[ipSource:]), [4]byte(p[ipDest:]), p[ipProtocol], len(p)-ipHeaderLen)
}
