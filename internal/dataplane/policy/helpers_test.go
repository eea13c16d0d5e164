package policy

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	client = netip.MustParseAddr("10.1.0.2")
	server = netip.MustParseAddr("192.0.2.1")
)

// ipv4 builds a packet with a right checksum; options must be a multiple of four octets long.
func ipv4(protocol byte, options, payload []byte) []byte {
	p := make([]byte, minHeaderLen, minHeaderLen+len(options)+len(payload))
	p = append(append(p, options...), payload...)
	head := minHeaderLen + len(options)
	p[0] = 0x40 | byte(head/4)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[4:], 0x1234)
	p[8], p[9] = 64, protocol
	copy(p[12:], client.AsSlice())
	copy(p[16:], server.AsSlice())
	putChecksum(p[:head])
	return p
}

// withFragment sets the word of flags and offset.
func withFragment(p []byte, word uint16) []byte {
	binary.BigEndian.PutUint16(p[6:], word)
	putChecksum(p[:int(p[0]&0xf)*4])
	return p
}

// parse fails the test when p isn't right.
func parse(t testing.TB, p []byte) *IPv4 {
	t.Helper()
	h, ok := ParseIPv4(p)
	if !ok {
		t.Fatalf("malformed: %x", p)
	}
	return &h
}
