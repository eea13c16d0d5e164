package ippool

import (
	"net/netip"
	"time"
)

// notes are the addresses that a call has changed, until who watches is told of them. They are guarded by Pools.mu.
type notes struct {
	watch   func(pool string, addr netip.Addr, now *Lease)
	changed map[noted]struct{}
}

type noted struct {
	pool string
	addr uint32
}

func (n *notes) add(pool string, a uint32) {
	if n.watch != nil {
		n.changed[noted{pool, a}] = struct{}{}
	}
}

// Watch has fn called with what a pool knows of an address after each call that has, or may have, changed that; nil: nothing
// any more. That time has ended a quarantine is for the receiver to see. fn is called with a lock held, in the order of the
// changes: it must be quick, and not call Pools. Watch is called once, before all else.
func (ps *Pools) Watch(fn func(pool string, addr netip.Addr, now *Lease)) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.notes = notes{watch: fn, changed: make(map[noted]struct{})}
	for _, sc := range ps.scopes {
		for _, p := range sc.pools {
			sc.noteAll(p)
		}
	}
	ps.tell()
}

// tell calls the watch for what was noted. mu is held.
func (ps *Pools) tell() {
	if len(ps.notes.changed) == 0 {
		return
	}
	now := time.Now()
	for n := range ps.notes.changed {
		var view *Lease
		if sc := ps.scopes[scopeName(n.pool)]; sc != nil && sc.pools[n.pool] != nil {
			if l, ok := sc.viewOf(sc.pools[n.pool], n.addr, now); ok {
				view = &l
			}
		}
		ps.notes.watch(n.pool, toAddr(n.addr), view)
	}
	clear(ps.notes.changed)
}

// note notes an address for the pools that list its lease.
func (sc *scope) note(a uint32) {
	for _, p := range sc.pools {
		if l, ok := sc.leases[a]; ok && p.lists(a, l) {
			p.note(a)
		}
	}
}

// noteAll notes all that a pool knows of; nil knows nothing.
func (sc *scope) noteAll(p *pool) {
	if p == nil {
		return
	}
	for a, l := range sc.leases {
		if p.lists(a, l) {
			p.note(a)
		}
	}
	for r := range p.history.all {
		p.note(r.addr)
	}
}

// Usages returns how full each pool is, by name.
func (ps *Pools) Usages() map[string]Usage {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out, now := make(map[string]Usage), time.Now()
	for _, sc := range ps.scopes {
		for name, p := range sc.pools {
			out[name] = p.usage(now)
		}
	}
	return out
}
