package session

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"concentrator/internal/dataplane"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
	wire "concentrator/internal/wire/pptp"
)

// TestListenersLive: listeners come, go and move while the sessions of another go on.
func TestListenersLive(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		bystander := w.login(simppp.Windows(alice, password))
		from := func(addr string) *client {
			t.Helper()
			c, err := w.tryDial(addr, clientFrom, simppp.Windows(alice, password))
			if err != nil {
				t.Fatal(err)
			}
			w.wantOpen(c)
			return c
		}

		w.addListener("second", "192.0.2.2", "acme")
		w.settle()
		second := from("192.0.2.2")
		if len(w.m.Sessions("")) != 2 {
			t.Errorf("%d sessions", len(w.m.Sessions("")))
		}

		// It moves: its sessions stay, on GRE that was open all the while, and new ones come to the new address.
		alter(w, "listeners/second", func(l *store.Listener) { l.Address = "192.0.2.3" })
		w.settle()
		moved := from("192.0.2.3")
		if _, err := w.plane.dial("", "192.0.2.2", clientFrom); err == nil {
			t.Error("the old address still answers")
		}
		if !second.isOpen() || second.gone() {
			t.Error("the session from before the move is gone")
		}

		// It goes, and its sessions with it.
		remove[store.Listener](w, "listeners/second")
		w.settle()
		w.until("its sessions are gone", func() bool { return second.gone() && moved.gone() })
		if _, err := w.plane.dial("", "192.0.2.3", clientFrom); err == nil {
			t.Error("the removed listener still answers")
		}
		if !bystander.isOpen() || bystander.gone() || len(w.m.Sessions("")) != 1 {
			t.Error("the bystander was disturbed")
		}
		if got := bystander.fc.history(); got[len(got)-1] != "open true" {
			t.Errorf("the bystander's call: %q", got)
		}
	})
}

// TestOnlyListenerMoves: GRE must not close between the old address and the new one, nor when the new one fails for a
// while.
func TestOnlyListenerMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		alter(w, mainListener, func(l *store.Listener) { l.Address = "192.0.2.9" })
		w.settle()
		w.plane.mu.Lock()
		closed, refs := w.plane.everZero[""], w.plane.gre[""]
		w.plane.mu.Unlock()
		if closed || refs != 1 || !cl.isOpen() || cl.gone() {
			t.Errorf("GRE was closed: %v, is open %d times; the session is open: %v", closed, refs, cl.isOpen())
		}
	})
}

// TestListenerThatFails: what can't be opened is tried again, and does not hold up the others.
func TestListenerThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		bad := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.66"), wire.Port)
		w.plane.failOpen[bad] = errors.New("cannot assign requested address")
		w.addListener("bad", "192.0.2.66", "acme")
		w.start()
		if len(w.errors.take()) != 1 {
			t.Error("nobody was told")
		}
		w.login(simppp.Windows(alice, password))
		w.plane.mu.Lock()
		delete(w.plane.failOpen, bad)
		w.plane.mu.Unlock()
		time.Sleep(maxRetryAfter)
		if _, err := w.tryDial("192.0.2.66", clientFrom, simppp.Windows(alice, password)); err != nil {
			t.Errorf("after the retry: %v", err)
		}
	})
}

// TestListenerOfAnotherProtocol is none of ours.
func TestListenerOfAnotherProtocol(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, mainListener, func(l *store.Listener) { l.Protocols = []tenant.Protocol{tenant.ProtocolL2TPIPsec} })
		w.start()
		if _, err := w.plane.dial("", mainAddr, clientFrom); err == nil {
			t.Error("PPTP is served where no listener names it")
		}
	})
}

// TestTenantDeleted: its sessions end, others' do not.
func TestTenantDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addTenant("beta", "10.7.0.0/29")
		w.addUser("beta", "carol", nil)
		w.addListener("second", "192.0.2.2", "beta")
		w.settle()
		stays := w.login(simppp.Windows(alice, password))
		goes, err := w.tryDial("192.0.2.2", clientFrom, simppp.Windows("carol", password))
		if err != nil {
			t.Fatal(err)
		}
		w.wantOpen(goes)
		if stays.network().Address != goes.network().Address {
			t.Errorf("addresses %s and %s", stays.network().Address, goes.network().Address)
		}
		if err := w.store.DeleteChildren("tenants/beta"); err != nil {
			t.Fatal(err)
		}
		remove[store.Tenant](w, "tenants/beta")
		w.settle()
		w.until("its session is gone", goes.gone)
		if n := w.plane.network("tenants/beta"); n != nil || len(w.m.Sessions("tenants/beta")) != 0 {
			t.Errorf("network %v, sessions %+v", n, w.m.Sessions("tenants/beta"))
		}
		if !stays.isOpen() || len(w.m.Sessions(acme)) != 1 {
			t.Error("the other tenant's session was disturbed")
		}
		// Its listener refuses calls now, and says why.
		if _, err := w.tryDial("192.0.2.2", clientFrom, simppp.Windows("carol", password)); err == nil {
			t.Error("a call for a tenant that is gone was taken")
		}
		if last := w.m.Logins(LoginFilter{})[0]; last.Outcome != OutcomeRefused || !strings.Contains(last.Detail, "tenants/beta") {
			t.Errorf("the attempt says %+v", last)
		}
	})
}

// TestNetworkSpec: what a tenant and its pools ask for reaches the plane, also live and without disturbing sessions.
func TestNetworkSpec(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		alter(w, acme, func(r *store.Tenant) { r.Network = store.Network{MTU: 1400, Masquerade: true} })
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		spec := func() dataplane.NetworkSpec {
			n := w.plane.network(acme)
			w.plane.mu.Lock()
			defer w.plane.mu.Unlock()
			return n.spec
		}
		if s := spec(); s.Device != "vpn-acme" || s.MTU != 1400 || !s.Masquerade || s.ClientToClient ||
			!slices.Equal(s.Gateways, []netip.Addr{netip.MustParseAddr("10.7.0.1")}) {
			t.Errorf("network %+v", s)
		}
		create(w, &store.Pool{Meta: named(acme + "/pools/extra"), Ranges: []string{"10.9.0.0/24"}})
		alter(w, acme, func(r *store.Tenant) {
			r.Network.ClientToClient, r.Network.ProxyArp = true, true
			r.Network.Uplink = store.Uplink{Address: "10.255.0.2/30", Gateway: "10.255.0.1"}
		})
		w.settle()
		uplink := dataplane.Uplink{Address: netip.MustParsePrefix("10.255.0.2/30"), Gateway: netip.MustParseAddr("10.255.0.1")}
		if s := spec(); !s.ClientToClient || len(s.Gateways) != 2 || !s.ProxyARP || s.Uplink != uplink {
			t.Errorf("network %+v", s)
		}
		if len(w.plane.opened) != 1 || !cl.isOpen() || cl.gone() {
			t.Errorf("%d networks were opened; the session is open: %v", len(w.plane.opened), cl.isOpen())
		}
		// A pool that goes leaves the sessions that have its addresses.
		alter(w, acme+"/profiles/default", func(p *store.Profile) { p.Pool = acme + "/pools/extra" })
		remove[store.Pool](w, acmePool)
		w.settle()
		if !cl.isOpen() || cl.gone() {
			t.Error("the session lost its pool and went")
		}
		other := w.login(simppp.Windows(alice, password))
		if !netip.MustParsePrefix("10.9.0.0/24").Contains(other.network().Address) {
			t.Errorf("address %s", other.network().Address)
		}
		// Another device is another network.
		alter(w, acme, func(r *store.Tenant) { r.Network.Device = "tun7" })
		w.settle()
		w.until("the sessions are gone", func() bool { return cl.gone() && other.gone() })
		if s := spec(); s.Device != "tun7" {
			t.Errorf("network %+v", s)
		}
		w.login(simppp.Windows(alice, password))
	})
}

// TestNetworkLost: a device that someone deletes comes back, and clients with it.
func TestNetworkLost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addTenant("beta", "10.8.0.0/29")
		w.settle()
		cl := w.login(simppp.Windows(alice, password))
		lost := w.plane.network(acme)
		close(lost.lost)
		w.settle()
		w.until("its session is gone", cl.gone)
		if n := w.plane.network(acme); n == nil || n == lost {
			t.Error("the network was not opened anew")
		}
		if len(w.plane.opened) != 3 {
			t.Errorf("%d networks were opened, want 3: the other tenant's once", len(w.plane.opened))
		}
		if got := w.errors.take(); len(got) != 1 {
			t.Errorf("logged: %q", got)
		}
		w.login(simppp.Windows(alice, password))
	})
}

// TestNetworkThatFails: a tenant whose network can't be opened gets it later; the others are up meanwhile.
func TestNetworkThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.plane.failNet = errors.New("no such namespace")
		w.start()
		w.wantRefused(w.dial(simppp.Windows(alice, password)))
		w.plane.mu.Lock()
		w.plane.failNet = nil
		w.plane.mu.Unlock()
		time.Sleep(maxRetryAfter)
		w.login(simppp.Windows(alice, password))
		w.errors.take()
	})
}

// TestNothingComesBackAfterShutdown: the reconciler runs on while the Manager shuts down, and after; it must not open
// again what was closed.
func TestNothingComesBackAfterShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.furnish()
		w.plane.failOpen[netip.AddrPortFrom(netip.MustParseAddr("192.0.2.66"), wire.Port)] = errors.New("busy") // so it tries again
		w.addListener("bad", "192.0.2.66", "acme")
		w.start()
		cl := w.login(simppp.Windows(alice, password))
		cl.setMute(true) // so the goodbye takes a while
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.shutdown(time.Minute)
		}()
		time.Sleep(time.Second)
		close(w.plane.network(acme).lost)
		<-done
		w.addTenant("late", "10.9.0.0/29")
		w.addListener("late", "192.0.2.9", "late")
		time.Sleep(time.Minute)
		w.errors.take()
		if len(w.plane.networks) > 1 || len(w.plane.listeners) != 0 { // acme's stays until the plane stops
			t.Errorf("%d networks and %d listeners", len(w.plane.networks), len(w.plane.listeners))
		}
	})
}

// TestRunEndsWithItsContext and opens nothing by itself afterwards.
func TestRunEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		cl := w.login(simppp.Windows(alice, password))
		w.stopRun()
		if err := <-w.ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		w.ran <- nil // for close
		if !cl.isOpen() || cl.gone() {
			t.Error("a session went with the reconciler")
		}
	})
}

// TestWatch: a watch sees only its tenant, begins with what is there, and ends with its context.
func TestWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		w.addTenant("beta", "10.8.0.0/29")
		w.settle()
		cl := w.login(simppp.Windows(alice, password))
		mine, other, all := w.watch(acme), w.watch("tenants/beta"), w.watch("")
		cl.hangUp()
		w.until("the end is seen", func() bool { return slices.Contains(all.seen(), "-") })
		for _, o := range []*watcher{mine, all} {
			// The second one says that the cipher is gone.
			if got, want := o.seen(), []string{"+OPEN", ".", "+OPEN", "+CLOSING", "-"}; !slices.Equal(got, want) {
				t.Errorf("saw %q, want %q", got, want)
			}
		}
		if got := other.seen(); !slices.Equal(got, []string{"."}) {
			t.Errorf("the other tenant's watch saw %q", got)
		}
	})
}
