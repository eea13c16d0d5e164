package e2e

import (
	"encoding/binary"
	"net/netip"
)

// sum16 is the checksum of RFC 1071.
func sum16(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ipv4 builds an IPv4 packet.
func ipv4(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	p := make([]byte, 20, 20+len(payload))
	p[0], p[8], p[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(payload)))
	a, b := src.As4(), dst.As4()
	copy(p[12:], a[:])
	copy(p[16:], b[:])
	binary.BigEndian.PutUint16(p[10:], sum16(p))
	return append(p, payload...)
}

// Types of ICMP, RFC 792.
const (
	echoReply   = 0
	echoRequest = 8
)

// echo builds an ICMP echo of a type. The client writes its mark into it, so that a packet that went astray shows.
func echo(kind byte, src, dst netip.Addr, mark uint32, seq uint16) []byte {
	m := make([]byte, 8+56)
	m[0] = kind
	binary.BigEndian.PutUint16(m[6:], seq)
	binary.BigEndian.PutUint32(m[8:], mark)
	for i := 12; i < len(m); i++ {
		m[i] = byte(i)
	}
	binary.BigEndian.PutUint16(m[2:], sum16(m))
	return ipv4(src, dst, 1, m)
}

// answer makes the reply to an echo request, or nil for any other packet.
func answer(p []byte) []byte {
	if len(p) < 32 || p[9] != 1 || p[20] != echoRequest {
		return nil
	}
	return echo(echoReply, netip.AddrFrom4([4]byte(p[16:])), netip.AddrFrom4([4]byte(p[12:])),
		binary.BigEndian.Uint32(p[28:]), binary.BigEndian.Uint16(p[26:]))
}
