package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	simike "concentrator/internal/simclient/ike"
	siml2tp "concentrator/internal/simclient/l2tp"
	simppp "concentrator/internal/simclient/ppp"
)

// A personality is a kind of client from IKE to PPP.
type personality struct {
	ike  func() simike.Client
	l2tp func() siml2tp.Config
	ppp  func(name, password string) simppp.Config
}

var (
	windows = personality{simike.Windows, func() siml2tp.Config { return siml2tp.Windows("DESKTOP", 1) }, simppp.Windows}
	macOS   = personality{simike.MacOS, func() siml2tp.Config { return siml2tp.MacOS("mac", 7) }, simppp.MacOS}
	android = personality{simike.Android, func() siml2tp.Config { return siml2tp.Android(40000, nil, nil) }, simppp.Android}
	swan    = personality{simike.NetworkManagerStrongSwan, xl2tpd, pppd}
	libre   = personality{simike.NetworkManagerLibreswan, xl2tpd, pppd}
	chrome  = personality{simike.ChromeOS, xl2tpd, pppd}
	router  = personality{simike.MikroTik, xl2tpd, pppd}
	old     = personality{simike.TPLink, xl2tpd, pppd}
)

func xl2tpd() siml2tp.Config { return siml2tp.Xl2tpd("linux", 4711) }

// pppd is pppd with noccp.
func pppd(name, password string) simppp.Config {
	c := simppp.Pppd(name, password)
	c.CCPMode, c.CCP = simppp.CCPNone, nil
	return c
}

// at is a personality with a user's name at an address of its own behind a NAT; nat may be empty.
func (p personality) at(user, own, nat string) spec {
	return spec{ike: p.ike(), l2tp: p.l2tp(), ppp: p.ppp(user, password), own: own, nat: nat}
}

// TestFiftyBehindOneNAT: fifty clients of all kinds behind one address, five times ten with the same private address,
// which is the identity of most. Each has traffic under its own address, through a rekey of either phase, and when all
// have hung up nothing is left.
func TestFiftyBehindOneNAT(t *testing.T) {
	w := newWorld(t)
	kinds := []personality{windows, macOS, swan, windows, chrome, android, libre, windows, router, old}
	var clients []*client
	for i := range 50 {
		user := fmt.Sprintf("user%02d", i)
		w.user(acme, user)
		s := kinds[i%len(kinds)].at(user, fmt.Sprintf("192.168.1.%d", 2+i%10), "203.0.113.9")
		clients = append(clients, w.come(s))
	}
	w.start()
	connect := func(ctx context.Context, _ int, c *client) error { return c.Connect(ctx) }
	ping := func(ctx context.Context, _ int, c *client) error {
		for range 5 {
			if err := c.ping(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	// The first one shows that the address is somebody's; an address of which nothing is known gets in five at a time.
	w.all(clients[:1], "connect the first", connect)
	w.all(clients[1:], "connect", connect)
	seen := map[netip.Addr]int{}
	for i, c := range clients {
		if other, twice := seen[c.Address()]; twice || !netip.MustParsePrefix("10.7.0.0/24").Contains(c.Address()) {
			t.Errorf("client %d has %v, as client %d", i, c.Address(), other)
		}
		seen[c.Address()] = i
	}
	w.all(clients, "ping", ping)
	if n := len(w.m.Sessions(acme)); n != len(clients) {
		t.Errorf("%d sessions", n)
	}
	for _, s := range w.m.Sessions(acme) {
		if !s.NATDetected || s.Cipher == "" || s.ClientAddress.Addr() != netip.MustParseAddr("203.0.113.9") {
			t.Errorf("session %+v", s)
		}
	}

	rekey := func(what string, f func(c *client, ctx context.Context) error) {
		t.Helper()
		w.all(clients, what, func(ctx context.Context, i int, c *client) error {
			done := make(chan error, 1)
			go func() { done <- f(c, ctx) }()
			for {
				if err := c.ping(ctx); err != nil {
					return err
				}
				select {
				case err := <-done:
					if err != nil {
						return err
					}
					return ping(ctx, i, c)
				default:
				}
			}
		})
	}
	rekey("rekey of ESP", func(c *client, ctx context.Context) error { return c.RekeyESP(ctx) })
	for i, c := range clients {
		if c.SAs() != 2 {
			t.Errorf("client %d has %d pairs of SAs", i, c.SAs())
		}
	}
	rekey("rekey of IKE", func(c *client, ctx context.Context) error { return c.RekeyIKE(ctx) })
	rekey("rekey of ESP in the new SA", func(c *client, ctx context.Context) error { return c.RekeyESP(ctx) })
	if n := w.gauge("concentrator_ipsec_peers"); n != 50 {
		t.Errorf("%v peers", n)
	}
	if n := len(w.m.Sessions(acme)); n != len(clients) {
		t.Errorf("%d sessions", n)
	}
	for _, c := range clients {
		c.check()
	}
	if n, want := w.gauge("concentrator_esp_sas"), 150.0; n != want {
		t.Errorf("%v pairs of ESP SAs, want %v: the old ones stay for a while", n, want)
	}
	if d := w.drops(); len(d) != 0 {
		t.Errorf("dropped on the way: %v", d)
	}
	w.all(clients, "hang up", func(ctx context.Context, _ int, c *client) error { return c.HangUp(ctx) })
	w.until("nothing is left", w.left)
}
