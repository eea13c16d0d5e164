package main

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of headers.
const (
	ipLen  = 20
	udpLen = 8
)

// innerPorts of the UDP packets inside.
const (
	clientPort = 40000
	insidePort = 50000
)

// innerUDP is an inner packet of innerLen octets: UDP, all checksums right.
func innerUDP(src, dst netip.Addr, srcPort, dstPort uint16) []byte {
	p := make([]byte, innerLen)
	p[0], p[8], p[9] = 0x45, 64, 17
	p[6] = 0x40 // DF
	binary.BigEndian.PutUint16(p[2:], innerLen)
	s, d := src.As4(), dst.As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	binary.BigEndian.PutUint16(p[10:], ^sum16(p[:ipLen], 0))
	u := p[ipLen:]
	binary.BigEndian.PutUint16(u, srcPort)
	binary.BigEndian.PutUint16(u[2:], dstPort)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	for i := range u[udpLen:] {
		u[udpLen+i] = byte(i)
	}
	c := ^sum16(u, sumPseudo(p, len(u)))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], c)
	return p
}

// sumPseudo is the sum of the pseudo header of the packet p (RFC 768), for n octets behind the IP header.
func sumPseudo(p []byte, n int) uint32 {
	return uint32(sum16(p[12:ipLen], uint32(p[9])+uint32(n)))
}

// sum16 is the ones' complement sum of p on top of start.
func sum16(p []byte, start uint32) uint16 {
	for ; len(p) >= 2; p = p[2:] {
		start += uint32(binary.BigEndian.Uint16(p))
	}
	if len(p) == 1 {
		start += uint32(p[0]) << 8
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return uint16(start)
}
