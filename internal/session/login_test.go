package session

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
)

// TestLoginLocal is one whole login and logout of a user of the table, by each of the clients that can encrypt.
func TestLoginLocal(t *testing.T) {
	for _, c := range []struct {
		name    string
		run     func(*testing.T, func(*testing.T, *world))
		cfg     simppp.Config
		mtu     int
		answers []string // protocols that the client learns are not spoken here
	}{
		{"pppd", inBubble, simppp.Pppd(alice, password), 1400, nil},
		{"Windows", inBubble, simppp.Windows(alice, password), 1396, []string{"8057"}}, // its MRU of 1400 counts MPPE
		{"pppd over TCP", inReality, simppp.Pppd(alice, password), 1400, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t, func(t *testing.T, w *world) {
				w.ready()
				watch := w.watch(acme)
				began := time.Now()
				cl := w.login(c.cfg)

				i := w.session(acme)
				want := Info{
					Name: i.Name, Tenant: acme, User: alice, Protocol: tenant.ProtocolPPTP, State: StateOpen,
					Listener: mainListener, ClientAddress: i.ClientAddress, Address: netip.MustParseAddr("10.7.0.2"),
					Profile: acme + "/profiles/default", AuthMethod: tenant.AuthMSCHAPv2, Cipher: "MPPE-128", MTU: c.mtu,
				}
				if !equalInfo(i, want) {
					t.Errorf("session\n%+v, want\n%+v", i, want)
				}
				if !strings.HasPrefix(i.Name, acme+"/sessions/") || len(i.Drops) != 0 || i.StartTime.Before(began) || i.StartTime.After(time.Now()) {
					t.Errorf("session %+v", i)
				}
				if got, ok := w.m.Session(i.Name); !ok || got.Name != i.Name {
					t.Errorf("Session(%q): %+v, %v", i.Name, got, ok)
				}
				if n := cl.network(); n.Address != i.Address || n.Server != netip.MustParseAddr("10.7.0.1") ||
					!slices.Equal(n.DNS, []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")}) {
					t.Errorf("the client was given %+v", n)
				}
				if got := rejected(cl.frames()); !slices.Equal(got, c.answers) {
					t.Errorf("Protocol-Rejects %q, want %q", got, c.answers)
				}
				encrypt, decrypt := cl.fc.keys()
				if encrypt != cl.recv || decrypt != cl.send || encrypt.StartKey == decrypt.StartKey || encrypt.Bits != 128 {
					t.Errorf("server %+v %+v, client %+v %+v", encrypt, decrypt, cl.send, cl.recv)
				}
				if s := cl.fc.attached(); !s.RequireMPPE || s.MTU != c.mtu || !s.PFC || !s.ACFC {
					t.Errorf("attached with %+v", s)
				}
				// Install before answering.
				log := cl.fc.history()
				before(t, log, "decrypt 128", "CCP Configure-Ack")
				before(t, log, "attach 10.7.0.2", "IPCP Configure-Ack")
				before(t, log, "encrypt 128", "open true")
				before(t, log, "attach 10.7.0.2", "open true")
				if w.leased(acmePool) != 1 || w.m.Instance().Sessions != 1 {
					t.Errorf("%d leases, %d slots", w.leased(acmePool), w.m.Instance().Sessions)
				}

				cl.fc.traffic(3)
				if i := w.session(acme); i.InPackets != 3 || i.InBytes != 300 {
					t.Errorf("counters %+v", i)
				}

				cl.hangUp()
				w.until("the session is gone", func() bool { return len(w.m.Sessions("")) == 0 })
				w.until("the slot is free", func() bool { return w.m.Instance().Sessions == 0 })
				w.wantClean()
				if log := cl.fc.history(); !slices.Equal(log[len(log)-4:], []string{"open false", "clear", "LCP Terminate-Ack", "close"}) {
					t.Errorf("the end: %q", log)
				}
				if err := cl.lastError(); err != nil {
					t.Errorf("the client's link ended with %v", err)
				}
				w.wantAttempts("alice ACCEPTED OPEN")
				w.until("the watch has seen the end", func() bool { return slices.Contains(watch.seen(), "-") })
				if got, want := watch.seen(), []string{".", "+ESTABLISHING", "+AUTHENTICATING", "+OPEN", "+CLOSING", "-"}; !slices.Equal(got, want) {
					t.Errorf("watch %q, want %q", got, want)
				}
			})
		})
	}
}

// equalInfo compares what does not change by itself.
func equalInfo(a, b Info) bool {
	return a.Name == b.Name && a.Tenant == b.Tenant && a.User == b.User && a.Protocol == b.Protocol && a.State == b.State &&
		a.Listener == b.Listener && a.Address == b.Address && a.Profile == b.Profile && a.AuthMethod == b.AuthMethod &&
		a.Cipher == b.Cipher && a.MTU == b.MTU && a.Shard == b.Shard && a.ClientAddress == b.ClientAddress
}

// before fails the test unless both are in the log and the first one came first.
func before(t *testing.T, log []string, first, second string) {
	t.Helper()
	i, j := slices.Index(log, first), slices.Index(log, second)
	if i < 0 || j < 0 || i > j {
		t.Errorf("%q at %d, %q at %d of %q", first, i, second, j, log)
	}
}
