package session

import (
	"slices"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// standing lists the faults that stand, as "RADIUS tenants/…".
func (w *world) standing() (list []string) {
	for _, s := range w.m.cfg.Faults.Standing() {
		list = append(list, string(s.Fault)+" "+s.Subject)
	}
	return list
}

// TestRadiusFaults: a server that does not answer, and one whose name can't be looked up, are faults until they are well again or
// nobody wants them any more.
func TestRadiusFaults(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadiusAs(w, "silent", 1, func(*radiusQuery) []byte { return nil })
		create(w, &store.RadiusServer{
			Meta: named(acme + "/radiusServers/nameless"), Priority: 2, Address: "radius.invalid", AuthPort: 1812,
			Secrets: []tenant.Secret{tenant.Secret(radiusSecret)}, Timeout: 200 * time.Millisecond, Tries: 1,
		})
		w.start()
		w.wantRefused(w.dial(simppp.Windows(alice, password)))
		silent, nameless := acme+"/radiusServers/silent", acme+"/radiusServers/nameless"
		w.until("both are faults", func() bool {
			all := w.standing()
			return slices.Contains(all, "RADIUS "+silent) && slices.Contains(all, "NAMES "+nameless)
		})
		for _, name := range []string{silent, nameless} {
			remove[store.RadiusServer](w, name)
		}
		alter(w, acme, func(r *store.Tenant) { r.Backend = tenant.BackendLocal })
		w.until("none is", func() bool { return len(w.standing()) == 0 })
	})
}
