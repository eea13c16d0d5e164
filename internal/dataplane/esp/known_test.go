package esp

import (
	"testing"

	"concentrator/internal/wire/esphdr"
)

// A packet cut anywhere does not open and moves nothing, but for the check value of SHA2-256 that old clients cut
// (TestTruncated).
func TestKnownTruncation(t *testing.T) {
	eachSuite(t, func(t *testing.T, p Params) {
		sa := inbound(t, p)
		whole := frame{seq: 5, iv: payloadOf(p.Encryption.IVLen(), 9), payload: payloadOf(70, 5), next: 17}.seal(p)
		before := sa.window
		for n := range whole {
			if p.Integrity == esphdr.HMACSHA256_128 && len(whole)-n == 4 {
				continue
			}
			if _, v := sa.Open(bufOf(whole[:n])); v != Malformed && v != Auth {
				t.Errorf("%d of %d octets: %v", n, len(whole), v)
			}
		}
		if _, v := sa.Open(bufOf(append(append([]byte{}, whole...), 0))); v != Malformed && v != Auth {
			t.Errorf("one octet more: %v", v)
		}
		if sa.window != before || sa.Bytes() != 0 {
			t.Error("what was cut has changed the SA")
		}
		if _, v := sa.Open(bufOf(whole)); v != OK {
			t.Errorf("the whole packet: %v", v)
		}
	})
}
