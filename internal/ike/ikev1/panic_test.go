package ikev1

import (
	"strings"
	"testing"
	"time"

	"concentrator/internal/tenant"
)

// TestPanicEndsItsStrand: one in the work for an exchange or a peer ends that, and no other; the Engine counts it no more.
func TestPanicEndsItsStrand(t *testing.T) {
	for name, set := range map[string]func(s *host, bad *fakePeer){
		"handshake": func(s *host, _ *fakePeer) {
			s.accept = func(sa SA) error {
				if sa.Path.Remote.Addr().String() == "192.0.2.8" {
					panic("bomb")
				}
				return nil
			}
		},
		"peer":                 func(_ *host, bad *fakePeer) { bad.bomb = "Moved" },
		"peer that can't drop": func(_ *host, bad *fakePeer) { bad.bomb = "Moved Remove" },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
				good := w.host("192.0.2.7", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				bad := w.host("192.0.2.8", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				good.initiate(linux("192.0.2.7", "secret"))
				settle(time.Second)
				well := s.only()
				if name == "handshake" {
					s.mu.Lock()
					set(s, nil)
					s.mu.Unlock()
				}
				bad.initiate(linux("192.0.2.8", "secret"))
				settle(time.Second)
				if name != "handshake" {
					s.mu.Lock()
					ill := s.all[1]
					s.mu.Unlock()
					ill.mu.Lock()
					set(s, ill)
					ill.mu.Unlock()
					s.e.postPeer(ill, func(*peer, time.Time) { ill.check("Moved") })
					settle(time.Second)
					if got := ill.ended(); !strings.HasPrefix(got, string(tenant.ReasonLostCarrier)) {
						t.Errorf("its peer was told %q", got)
					}
				} else if r := s.refused(); len(r) != 1 || r[0].Reason != tenant.ReasonProtocolError {
					t.Errorf("refused was %+v", r)
				}
				if st := s.e.Stats(); st.Peers != 1 || st.SAs != 1 || st.Handshakes != 0 {
					t.Errorf("there are %+v", st)
				}
				mustCarry(t, well, good.only())
				s.mu.Lock()
				s.accept = nil
				s.mu.Unlock()
				third := w.host("192.0.2.9", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				third.initiate(linux("192.0.2.9", "secret"))
				settle(time.Second)
				if st := s.e.Stats(); st.Peers != 2 {
					t.Errorf("nobody gets in any more: %+v", st)
				}
			})
		})
	}
}
