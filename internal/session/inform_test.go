package session

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"concentrator/internal/authz"
	"concentrator/internal/dataplane/dhcp"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
)

// TestInform: what a profile tells clients that ask by DHCPINFORM reaches the shard, with the session's two addresses, and
// stays there when something else of the session changes.
func TestInform(t *testing.T) {
	routes := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.16.0.0/12")}
	for _, c := range []struct {
		name   string
		change func(*store.Profile)
		want   dhcp.Config
	}{
		{"routes and suffix", func(p *store.Profile) {
			p.ClientRoutes, p.DNSSuffix, p.WINSServers = routes, "corp.example", []netip.Addr{netip.MustParseAddr("192.0.2.55")}
		}, dhcp.Config{
			DNS:    []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
			WINS:   []netip.Addr{netip.MustParseAddr("192.0.2.55")},
			Suffix: "corp.example", Routes: routes,
		}},
		{"name servers alone", func(*store.Profile) {}, dhcp.Config{
			DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
		}},
		{"nothing", func(p *store.Profile) { p.DNSServers = nil }, dhcp.Config{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.furnish()
				alter(w, acme+"/profiles/default", c.change)
				w.start()
				cl := w.login(simppp.Windows(alice, password))
				c.want.Server, c.want.Client = netip.MustParseAddr("10.7.0.1"), netip.MustParseAddr("10.7.0.2")
				want := dhcp.New(c.want)
				if got := cl.fc.attached().Inform; !reflect.DeepEqual(got, want) {
					t.Errorf("attached with %+v, want %+v", got, want)
				}
				framed := []netip.Prefix{netip.MustParsePrefix("172.30.0.0/24")}
				host := dynamic{w.m}
				if err := host.Change(t.Context(), host.Sessions("acme")[0].ID, authz.Change{Routes: &framed}); err != nil {
					t.Fatal(err)
				}
				if got := cl.fc.attached(); !reflect.DeepEqual(got.Inform, want) || !slices.Equal(got.Routes, framed) {
					t.Errorf("after a change attached with %+v", got)
				}
			})
		})
	}
}

// TestInformRadius: the RADIUS server's name servers take the place of the profile's here too.
func TestInformRadius(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadius(w, func(q *radiusQuery) []byte {
			return acceptMSCHAP(q, msAttr(28, 198, 51, 100, 53), msAttr(30, 198, 51, 100, 55)) // RFC 2548 section 2.7
		})
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.DNSSuffix = "corp.example" })
		w.start()
		cl := w.login(simppp.Windows("radia", password))
		want := dhcp.New(dhcp.Config{
			Server: netip.MustParseAddr("10.7.0.1"), Client: netip.MustParseAddr("10.7.0.2"), Suffix: "corp.example",
			DNS: []netip.Addr{netip.MustParseAddr("198.51.100.53")}, WINS: []netip.Addr{netip.MustParseAddr("198.51.100.55")},
		})
		if got := cl.fc.attached().Inform; !reflect.DeepEqual(got, want) {
			t.Errorf("attached with %+v, want %+v", got, want)
		}
	})
}
