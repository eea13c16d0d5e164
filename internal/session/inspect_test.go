package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"concentrator/internal/dataplane"
	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// faulty gives the world a place where faults are told, and a look at them.
func (w *world) faulty() func() []string {
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	w.m.cfg.Faults = faults
	return func() (all []string) {
		w.t.Helper()
		time.Sleep(inspectEvery + time.Second)
		synctest.Wait()
		for _, f := range faults.Standing() {
			all = append(all, fmt.Sprintf("%s %s: %s", f.Fault, f.Subject, f.Detail))
		}
		return all
	}
}

// sees sets what the plane sees of the daemon's namespace.
func (p *fakePlane) sees(id uint64, up map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := dataplane.Sight{Namespace: id, Up: make(map[netip.Addr]bool)}
	for a, is := range up {
		s.Up[netip.MustParseAddr(a)] = is
	}
	p.sights[""] = s
}

func (n *fakeNetwork) fall(ill error) {
	n.p.mu.Lock()
	defer n.p.mu.Unlock()
	n.ill = ill
}

func wantFaults(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("faults are %q, want %q", got, want)
	}
}

// TestNetworkInTrouble: one that does not work is a fault until it does, and its sessions live. One that must be opened anew
// is, and its sessions end.
func TestNetworkInTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		faults := w.faulty()
		w.ready()
		wantFaults(t, faults())
		cl := w.login(simppp.Windows(alice, password))
		first := w.plane.network("tenants/acme")
		first.fall(errors.New("a link is down: vpn-acme"))
		wantFaults(t, faults(), "NETWORK tenants/acme: a link is down: vpn-acme")
		first.fall(dataplane.ErrNameless)
		wantFaults(t, faults(), "NETWORK tenants/acme: "+dataplane.ErrNameless.Error())
		first.fall(nil)
		wantFaults(t, faults())
		if cl.gone() || w.plane.network("tenants/acme") != first {
			t.Fatal("the session did not live on")
		}
		first.fall(dataplane.ErrAnew)
		wantFaults(t, faults())
		if w.plane.network("tenants/acme") == first {
			t.Error("it was not opened anew")
		}
		w.until("its session has ended", cl.gone)
		w.login(simppp.Windows(alice, password))
		close(w.plane.network("tenants/acme").lost)
		w.plane.mu.Lock()
		w.plane.failNet = errors.New("no such device")
		w.plane.mu.Unlock()
		wantFaults(t, faults(), "NETWORK tenants/acme: no such device")
		wantFaults(t, faults(), "NETWORK tenants/acme: no such device")
		if lines := w.errors.take(); len(lines) != 2 { // once each: lost, and not opened
			t.Errorf("logged was %q", lines)
		}
		w.plane.mu.Lock()
		w.plane.failNet = nil
		w.plane.mu.Unlock()
		time.Sleep(maxRetryAfter)
		wantFaults(t, faults())
		w.login(simppp.Windows(alice, password))
	})
}

// TestListenerInTrouble: one whose address is gone is a fault until it is back. One whose namespace is another one now is
// opened anew, there.
func TestListenerInTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		faults := w.faulty()
		w.plane.sees(7, map[string]bool{mainAddr: true})
		w.ready()
		wantFaults(t, faults())
		cl := w.login(simppp.Windows(alice, password))
		for _, up := range []map[string]bool{{mainAddr: false}, {"127.0.0.1": true}} {
			w.plane.sees(7, up)
			wantFaults(t, faults(), "LISTENER listeners/main: no link that is up has the address "+mainAddr)
		}
		w.plane.mu.Lock()
		w.plane.blind[""] = dataplane.ErrNameless
		w.plane.mu.Unlock()
		wantFaults(t, faults(), "LISTENER listeners/main: its namespace was deleted")
		w.plane.mu.Lock()
		delete(w.plane.blind, "")
		w.plane.mu.Unlock()
		w.plane.sees(7, map[string]bool{mainAddr: true})
		wantFaults(t, faults())
		if cl.gone() {
			t.Fatal("the session did not live on")
		}
		w.plane.sees(8, map[string]bool{mainAddr: true})
		wantFaults(t, faults())
		w.until("its session has ended", cl.gone)
		if !w.plane.everZero[""] {
			t.Error("GRE was not opened anew")
		}
		w.login(simppp.Windows(alice, password))
		remove[store.Listener](w, mainListener)
		w.plane.sees(8, nil)
		wantFaults(t, faults())
	})
}

// TestRetriesAreLogged: what fails again and again is tried ever more seldom and logged once.
func TestRetriesAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		faults := w.faulty()
		w.furnish()
		w.plane.mu.Lock()
		w.plane.failNet = errors.New("no")
		w.plane.mu.Unlock()
		w.start()
		time.Sleep(2 * time.Minute)
		if got := faults(); len(got) == 0 || !strings.HasPrefix(got[0], "NETWORK tenants/") {
			t.Errorf("faults are %q", got)
		}
		if lines := w.errors.take(); len(lines) != 1 {
			t.Errorf("logged was %q", lines)
		}
		w.plane.mu.Lock()
		w.plane.failNet = nil
		w.plane.mu.Unlock()
		time.Sleep(maxRetryAfter)
		wantFaults(t, faults())
	})
}
