package session

import (
	"net/netip"
	"time"

	"concentrator/internal/ippool"
)

// leasesPart stands before the last part of a lease's name.
const leasesPart = "/leases/"

// feeds are the streams of changes that the API's watches read, but for those of sessions and login attempts.
type feeds struct {
	leases   *Feed[Lease]
	pools    *Feed[ippool.Usage] // by pool
	lockouts *Feed[Lockout]
	health   *Feed[RadiusState] // by RADIUS server
}

func newFeeds(m *Manager) (f feeds) {
	f.leases = NewFeed[Lease](func() { endQuarantines(f.leases, time.Now()) })
	f.pools = NewFeed[ippool.Usage](func() { f.pools.Sync(m.cfg.Pools.Usages(), same[ippool.Usage]) })
	f.lockouts = NewFeed[Lockout](func() {
		all := make(map[string]Lockout)
		for _, l := range m.Lockouts("") {
			all[l.Name] = l
		}
		f.lockouts.Sync(all, same[Lockout])
	})
	f.health = NewFeed[RadiusState](func() {
		all := make(map[string]RadiusState)
		for _, servers := range m.radiusHealth() {
			for _, h := range servers {
				all[h.Name] = healthOf(h).State
			}
		}
		f.health.Sync(all, same[RadiusState])
	})
	m.cfg.Pools.Watch(f.leased)
	return f
}

func same[T comparable](a, b *T) bool { return *a == *b }

// leased is told by the pools how one address is now.
func (f *feeds) leased(pool string, addr netip.Addr, now *ippool.Lease) {
	name := pool + leasesPart + addr.String()
	if now == nil {
		f.leases.Remove(name)
		return
	}
	f.leases.Update(name, leaseView(pool, *now), same[Lease])
}

// endQuarantines publishes the leases whose quarantine is over.
func endQuarantines(f *Feed[Lease], now time.Time) {
	f.Amend(func(l *Lease) *Lease {
		if l.Until.IsZero() || l.Until.After(now) {
			return nil
		}
		free := *l
		free.Until, free.State = time.Time{}, LeaseReleased
		return &free
	})
}

// SessionFeed is the live sessions, without their counters: a change is one of state or field.
func (m *Manager) SessionFeed() *Feed[Info] { return m.feed }

// LoginFeed is the login attempts that are kept.
func (m *Manager) LoginFeed() *Feed[LoginAttempt] { return m.logins.feed }

// LeaseFeed is the leases of all pools, by tenants/{tenant}/pools/{pool}/leases/{address}.
func (m *Manager) LeaseFeed() *Feed[Lease] { return m.feeds.leases }

// PoolFeed is how full the pools are, by pool.
func (m *Manager) PoolFeed() *Feed[ippool.Usage] { return m.feeds.pools }

// LockoutFeed is the lockouts.
func (m *Manager) LockoutFeed() *Feed[Lockout] { return m.feeds.lockouts }

// HealthFeed is whether the RADIUS servers that are in use answer, by server.
func (m *Manager) HealthFeed() *Feed[RadiusState] { return m.feeds.health }
