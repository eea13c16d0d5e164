package session

import (
	"errors"
	"net/netip"

	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// LeaseState says whose an address is.
type LeaseState string

// The states of a lease.
const (
	LeaseLeased      LeaseState = "LEASED"      // a session has it
	LeaseQuarantined LeaseState = "QUARANTINED" // only the user who had it can get it
	LeaseReleased    LeaseState = "RELEASED"    // its user gets it again while nobody else needed it
)

// Lease is an address of a pool that a session has, or that is remembered for the user who had it.
type Lease struct {
	ippool.Lease
	Pool    string // tenants/{tenant}/pools/{pool}
	Session string // tenants/{tenant}/sessions/{session}; empty: none has it
	State   LeaseState
}

// leaseView is what others see of a lease.
func leaseView(pool string, l ippool.Lease) Lease {
	v := Lease{Lease: l, Pool: pool}
	switch {
	case l.Owner != "":
		v.State, v.Session = LeaseLeased, store.TenantOf(pool)+"/sessions/"+l.Owner
	case !l.Until.IsZero():
		v.State = LeaseQuarantined
	default:
		v.State = LeaseReleased
	}
	return v
}

func leaseViews(pool string, list []ippool.Lease) []Lease {
	out := make([]Lease, len(list))
	for i, l := range list {
		out[i] = leaseView(pool, l)
	}
	return out
}

// Leases returns up to limit leases of a pool behind an address (the zero one: from the first), sorted by address, and
// whether there are more.
func (m *Manager) Leases(pool string, after netip.Addr, limit int) ([]Lease, bool) {
	list, more := m.cfg.Pools.Leases(pool, after, limit)
	return leaseViews(pool, list), more
}

// Lease returns what is known of one address of a pool; false: nothing.
func (m *Manager) Lease(pool string, addr netip.Addr) (Lease, bool) {
	l, err := m.cfg.Pools.LeaseOf(pool, addr)
	return leaseView(pool, l), err == nil
}

// LeasesOutside returns the leases that a pool would cut off if it became next, or all made from it if it went (nil).
func (m *Manager) LeasesOutside(pool string, next *ippool.Parsed) []Lease {
	return leaseViews(pool, m.cfg.Pools.Outside(pool, next))
}

// PoolQuarantined says how many addresses of a pool are in quarantine.
func (m *Manager) PoolQuarantined(pool string) int { return m.cfg.Pools.Usage(pool).Quarantined }

// ReleaseLease makes an address one that nobody had, and begins to end the session that has it, politely. ErrNotFound:
// nothing is known of it.
func (m *Manager) ReleaseLease(pool string, addr netip.Addr) error {
	owner, err := m.cfg.Pools.Forget(pool, addr)
	if errors.Is(err, ippool.ErrNoLease) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	holder := m.sessions[owner]
	m.mu.Unlock()
	if holder != nil {
		holder.force(forcedEnd{
			reason: tenant.ReasonAdminDisconnect, detail: "its address was taken back by an operator", polite: true,
		})
	}
	return nil
}
