package ikev1

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// mainModeMessage says which message of Main Mode a message is; 0: none.
func mainModeMessage(fromServer bool, msg []byte) int {
	h, err := wireike.ParseHeader(msg)
	if err != nil { // on port 4500 it has a marker before it
		return 0
	}
	n := 0
	switch {
	case h.Exchange != wireike.ExchangeMain:
		return 0
	case h.Encrypted():
		n = 5
	case h.Next == wireike.PayloadSA:
		n = 1
	default:
		n = 3
	}
	if fromServer {
		n++
	}
	return n
}

// An answer behind message 3 that the peer does not go on from is repeated a few times, and no more; in front of it nothing is,
// as the address may be anybody's.
func TestReminders(t *testing.T) {
	for _, c := range []struct {
		name string
		lost int // message of the client that never arrives
		want []time.Duration
	}{
		{"message 2", 3, nil}, // but for those that answer a copy of message 1, of which there is none
		{"message 4", 5, []time.Duration{2 * time.Second, 6 * time.Second, 14 * time.Second, 30 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
				cl := w.host("203.0.113.9", policyOf(pskPolicy("tenants/client", "secret")), Config{})
				var at []time.Time
				w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
					fromServer := from.Addr() == s.addr
					n := mainModeMessage(fromServer, msg)
					if fromServer && n == c.lost-1 {
						at = append(at, time.Now())
					}
					return n != c.lost
				}
				i := linux("203.0.113.9", "secret")
				i.Vendors = nil // no NAT traversal: all stays on port 500
				cl.initiate(i)
				settle(time.Minute + 5*time.Second)
				var got []time.Duration
				for _, a := range at[1:] {
					got = append(got, a.Sub(at[0]).Round(100*time.Millisecond))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("repeated after %v, want %v", got, c.want)
				}
				if c.lost == 5 {
					wantRefusal(t, s, tenant.StageIKEMainMode, tenant.ReasonPeerTimeout, "", "message 5")
				}
			})
		})
	}
}

// A Main Mode over a line that loses nearly all of it takes a minute: a copy of message 1 that was answered, and message 3, give
// it one more each.
func TestSlowMainMode(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("203.0.113.9", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		begun := time.Now()
		// What of each message gets through: nothing before this time. The client sends message 1 at 0, 4, 11.2 and 24.2 s,
		// message 3 from then on; the answer to what comes of it at 35.4 s is lost until a reminder, at 49.4 s.
		from := [...]time.Duration{2: 20 * time.Second, 3: 33 * time.Second, 4: 45 * time.Second, 5: 58 * time.Second, 6: 0}
		w.tap = func(at, _ netip.AddrPort, msg []byte) bool {
			return time.Since(begun) >= from[mainModeMessage(at.Addr() == s.addr, msg)]
		}
		i := linux("203.0.113.9", "secret")
		i.Vendors = nil
		cl.initiate(i)
		settle(59 * time.Second)
		if n := s.e.Stats().EstablishedSAs; n != 0 {
			t.Errorf("%d SAs before the client's last message", n)
		}
		settle(4 * time.Second)
		mustCarry(t, s.only(), cl.only())
		if r := append(s.refused(), cl.refused()...); len(r) != 0 {
			t.Errorf("%+v", r)
		}
		w.shutdown(cl, s)
	})
}

// Message 6 is lost: the client has it from a reminder two seconds later, before it asks itself.
func TestMessage6Again(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		s := w.host(serverAddr, policyOf(pskPolicy("tenants/a", "secret")), Config{})
		cl := w.host("203.0.113.9", policyOf(pskPolicy("tenants/client", "secret")), Config{})
		sixth := 0
		w.tap = func(from, _ netip.AddrPort, msg []byte) bool {
			if mainModeMessage(from.Addr() == s.addr, msg) != 6 {
				return true
			}
			sixth++
			return sixth > 1
		}
		i := linux("203.0.113.9", "secret")
		i.Vendors = nil
		cl.initiate(i)
		settle(2500 * time.Millisecond)
		mustCarry(t, s.only(), cl.only())
		settle(20 * time.Second)
		if sixth != 2 {
			t.Errorf("message 6 was sent %d times", sixth)
		}
		w.shutdown(cl, s)
	})
}
