package ikev1

import (
	"net/netip"
	"testing"
	"time"
)

// Main Modes that we begin count as SAs from their first message on: there are never fewer SAs than handshakes.
func TestStatsWithoutAnAnswer(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		cl := w.host("203.0.113.9", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		w.tap = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
		cl.initiate(linux("203.0.113.9", "secret"))
		settle(time.Second)
		if st := cl.e.Stats(); st.Handshakes != 1 || st.SAs != 1 {
			t.Errorf("%d handshakes, %d SAs, want one that is both", st.Handshakes, st.SAs)
		}
		settle(4 * time.Minute)
		if st := cl.e.Stats(); st.Handshakes != 0 || st.SAs != 0 {
			t.Errorf("%d handshakes, %d SAs are left", st.Handshakes, st.SAs)
		}
	})
}
