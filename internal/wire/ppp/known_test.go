package ppp

import (
	"encoding/binary"
	"testing"
)

// Every length that a control packet and an option can claim, against every number of octets that are there.
func TestKnownLengths(t *testing.T) {
	for there := range 40 {
		b := make([]byte, there)
		for length := range 1 << 16 {
			if there >= PacketHeaderLen {
				binary.BigEndian.PutUint16(b[2:], uint16(length))
			}
			p, err := ParsePacket(b)
			fits := there >= PacketHeaderLen && length >= PacketHeaderLen && length <= there
			if (err == nil) != fits || fits && (len(p.Data) != length-PacketHeaderLen || cap(p.Data) > there-PacketHeaderLen) {
				t.Fatalf("a packet of %d octets that says %d: %d octets, %v", there, length, len(p.Data), err)
			}
			if there < PacketHeaderLen {
				break
			}
		}
		for length := range 256 {
			if there > 1 {
				b[0], b[1] = 1, byte(length)
				clear(b[2:])
			}
			o, err := ParseOptions(b)
			total := 0
			for opt := range o.All() {
				total += 2 + len(opt.Value)
			}
			if err == nil && total != there {
				t.Fatalf("options in %d octets, the first of %d: %d octets", there, length, total)
			}
			if there > 1 && (length < 2 || length > there) && err == nil {
				t.Fatalf("an option that says %d in %d octets is taken", length, there)
			}
		}
	}
}
