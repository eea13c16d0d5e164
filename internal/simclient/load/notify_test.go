package load

import (
	"testing"

	"concentrator/internal/simclient/ipsec"
	"concentrator/internal/tenant"
)

// message is an Informational in the clear with one notify of this type.
func message(flags byte, notify uint16) []byte {
	b := make([]byte, 28+12)
	b[0], b[16], b[17], b[18], b[19] = 1, 11, 0x10, 5, flags
	b[27] = byte(len(b))
	b[31], b[35], b[36] = 12, 1, 1 // the payload's length, DOI 1, protocol ISAKMP
	b[38], b[39] = byte(notify>>8), byte(notify)
	return b
}

func TestNotify(t *testing.T) {
	marked := append(make([]byte, 4), message(0, 24)...)
	for _, c := range []struct {
		name string
		port uint16
		b    []byte
		want tenant.Reason // empty: it says nothing
	}{
		{"no proposal chosen", ipsec.PortIKE, message(0, 14), tenant.ReasonNoCommonProposal},
		{"authentication failed", ipsec.PortNATT, marked, tenant.ReasonPSKMismatch},
		{"another error", ipsec.PortIKE, message(0, 16), tenant.ReasonProtocolError},
		{"a status", ipsec.PortIKE, message(0, 24578), ""},
		{"encrypted", ipsec.PortIKE, message(1, 14), ""},
		{"without a marker", ipsec.PortNATT, message(0, 14), ""},
		{"ESP", ipsec.ESP, message(0, 14), ""},
		{"cut off", ipsec.PortIKE, message(0, 14)[:30], ""},
		{"nothing", ipsec.PortIKE, nil, ""},
	} {
		got := tenant.Reason("")
		if err := readNotify(c.port, c.b); err != nil {
			got = Reason(err)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
