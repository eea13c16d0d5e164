package ikev1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	wireike "concentrator/internal/wire/ike"
)

// First messages with one octet changed, or cut, or with a number in the place of every pair of octets, as the suites of
// mutations that were made against IKE have them: each costs at most one answer that is no longer than itself, what it
// leaves is gone with its time, and a client gets in.
func TestKnownMutations(t *testing.T) {
	key := bytes.Repeat([]byte{4}, 64) // no point of the curve
	named, _ := wireike.ID{Type: wireike.IDKeyID, Data: []byte("sales")}.AppendBinary(nil)
	curve := offer1(1, func(_ *wireike.Offer, p *Phase1Proposal) { p.Group = wireike.GroupECP256 })
	for name, good := range map[string][]byte{
		"main mode": first(1, wireike.VendorNATTRFC3947, wireike.VendorDPD, wireike.VendorFragmentation),
		"aggressive mode": message(wireike.Header{Initiator: wireike.Cookie{1}, Exchange: wireike.ExchangeAggressive},
			curve, payload{wireike.PayloadKE, key}, payload{wireike.PayloadNonce, make([]byte, 16)},
			payload{wireike.PayloadID, named}, payload{wireike.PayloadVID, wireike.VendorDPD.ID()}),
		"a fragment": wireike.AppendFragment(nil, wireike.Header{Initiator: wireike.Cookie{1}, Exchange: wireike.ExchangeMain},
			wireike.Fragment{ID: 1, Number: 1, Last: true, Data: first(1)}),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				p := pskPolicy("tenants/a", "secret")
				p.Aggressive, p.GroupName = true, "sales"
				s := w.host(serverAddr, policyOf(p), Config{})
				answers, octets, sent := 0, 0, 0
				w.tap = func(_, to netip.AddrPort, msg []byte) bool {
					if to.Addr().As4()[0] != 100 {
						return true
					}
					answers++
					octets += len(msg)
					return false
				}
				throw := func(msg []byte) {
					if bytes.Equal(msg, good) {
						return
					}
					var a [4]byte
					sent++
					binary.BigEndian.PutUint32(a[:], 100<<24|64<<16+uint32(sent))
					answers, octets = 0, 0
					s.e.Receive(Path{
						Listener: "listeners/test", Local: netip.AddrPortFrom(s.addr, portIKE),
						Remote: netip.AddrPortFrom(netip.AddrFrom4(a), 500),
					}, msg)
					settle(50 * time.Millisecond)
					if answers > 1 || octets > len(msg) {
						t.Errorf("%x: %d answers of %d octets", msg, answers, octets)
					}
				}
				for i := range good {
					for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff, good[i] ^ 1} {
						m := bytes.Clone(good)
						m[i] = v
						throw(m)
					}
					cut := bytes.Clone(good[:i])
					throw(bytes.Clone(cut))
					if i >= wireike.HeaderLen {
						binary.BigEndian.PutUint32(cut[24:], uint32(i))
						throw(cut)
					}
				}
				settle(61 * time.Second)
				if st := s.e.Stats(); st.HalfOpen != 0 || st.Handshakes != 0 || st.Peers != 0 || st.SAs != 0 {
					t.Errorf("after %d messages: %+v", sent, st)
				}
				w.tap = nil
				cl := w.host("192.0.2.8", policyOf(), Config{})
				cl.initiate(linux("192.0.2.8", "secret"))
				settle(time.Second)
				mustCarry(t, s.only(), cl.only())
			})
		})
	}
}
