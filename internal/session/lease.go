package session

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// leases are the inner addresses that one session holds. A client that starts LCP anew, or answers a repeated Challenge,
// is decided on again while its first grant still stands; both grants then share the lease, which goes back to the pool
// with the last of them. So a login anew keeps its address, even if the pool has no other. It is safe for concurrent use.
type leases struct {
	pools *ippool.Pools
	owner string // the session's ID

	mu   sync.Mutex
	held []*lease
}

type lease struct {
	tenant string
	pool   string // empty for a fixed address
	user   string
	addr   netip.Addr
	uses   int
}

// dynamic leases an address of a pool for a user. release must be called once.
func (l *leases) dynamic(pool, user string) (addr netip.Addr, release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.held {
		if have.pool == pool && have.user == user {
			return have.addr, l.use(have), nil
		}
	}
	if addr, err = l.pools.Lease(pool, user, l.owner); err != nil {
		return netip.Addr{}, nil, err
	}
	return addr, l.hold(&lease{tenant: store.TenantOf(pool), pool: pool, user: user, addr: addr}), nil
}

// fixed leases one address of a tenant for a user. release must be called once.
func (l *leases) fixed(tenantName string, addr netip.Addr, user string) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.held {
		if have.tenant == tenantName && have.addr == addr {
			return l.use(have), nil
		}
	}
	if err := l.pools.LeaseStatic(tenantName, addr, user, l.owner); err != nil {
		return nil, err
	}
	return l.hold(&lease{tenant: tenantName, user: user, addr: addr}), nil
}

func (l *leases) hold(n *lease) (release func()) {
	l.held = append(l.held, n)
	return l.use(n)
}

func (l *leases) use(n *lease) (release func()) {
	n.uses++
	return sync.OnceFunc(func() { l.release(n) })
}

func (l *leases) release(n *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.uses--; n.uses > 0 {
		return
	}
	l.held = slices.DeleteFunc(l.held, func(have *lease) bool { return have == n })
	l.pools.Release(n.tenant, n.addr, l.owner)
}

// keepLeases brings back who had which address in an earlier run, and keeps it from now on until ctx ends. What can't be
// read or written costs users their addresses after the next start, and ends nothing.
func (m *Manager) keepLeases(ctx context.Context) {
	s := m.cfg.Leases
	if s == nil {
		return
	}
	if err := m.cfg.Pools.Load(s); err != nil {
		m.log.Warn("leases of the last run are lost", telemetry.Error, err)
	}
	m.wg.Go(func() {
		m.cfg.Pools.Keep(ctx, s, func(err error) { m.log.Warn("leases not kept", telemetry.Error, err) })
	})
}
