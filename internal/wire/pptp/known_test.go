package pptp

import (
	"encoding/binary"
	"errors"
	"testing"
)

// Every length that a message can claim, with every type: taken is only the one length that its type has. A length below
// the header has made others compute a negative rest.
func TestKnownLengths(t *testing.T) {
	sizes := map[Type]int{}
	for _, s := range seeds {
		b := unhex(t, s.wire)
		sizes[Type(binary.BigEndian.Uint16(b[8:]))] = len(b)
	}
	if len(sizes) != 15 {
		t.Fatalf("%d types of messages, want 15", len(sizes))
	}
	b := unhex(t, "0000 0001 1a2b3c4d 0000 0000"+"00000000")
	for kind := range 20 {
		binary.BigEndian.PutUint16(b[8:], uint16(kind))
		for length := range 1 << 16 {
			binary.BigEndian.PutUint16(b, uint16(length))
			n, err := Split(b)
			size, known := sizes[Type(kind)]
			switch {
			case known && length == size:
				if err != nil || n != 0 && n != size {
					t.Fatalf("type %d of %d octets: %d, %v", kind, length, n, err)
				}
			case err == nil:
				t.Fatalf("type %d of %d octets: %d", kind, length, n)
			case length < 16 && !errors.Is(err, ErrLength):
				t.Fatalf("type %d of %d octets: %v", kind, length, err)
			}
		}
	}
}
