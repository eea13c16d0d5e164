package gre

import (
	"encoding/binary"
	"testing"
)

// Of all the forms that the first four octets can have, version 0 with its offsets, routing entries and checksums among
// them, only the four of RFC 2637 are taken; and of all payload lengths only those that fit in what has come.
func TestKnownForms(t *testing.T) {
	const ours = 0x880b
	b := make([]byte, 64)
	forms := 0
	for flags := range 1 << 16 {
		for _, protocol := range []uint16{0, 0x0800, 0x6558, 0x883e, ours ^ 1, ours} {
			binary.BigEndian.PutUint16(b, uint16(flags))
			binary.BigEndian.PutUint16(b[2:], protocol)
			if _, _, err := ParseHeader(b); err == nil {
				forms++
				if flags&^0x1080 != 0x2001 || protocol != ours { // key and version 1; S and A as they come
					t.Fatalf("flags %04x, protocol %04x are taken", flags, protocol)
				}
			}
		}
	}
	if forms != 4 {
		t.Errorf("%d forms are taken, want 4", forms)
	}
	binary.BigEndian.PutUint16(b, 0x3081)
	binary.BigEndian.PutUint16(b[2:], ours)
	for there := range b {
		for length := range 1 << 16 {
			binary.BigEndian.PutUint16(b[4:], uint16(length))
			_, payload, err := ParseHeader(b[:there:there])
			if ok := there >= MaxHeaderLen && length <= there-MaxHeaderLen; (err == nil) != ok || ok && len(payload) != length {
				t.Fatalf("%d octets that say %d: %d of payload, %v", there, length, len(payload), err)
			}
		}
	}
}
