package ippool

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// ErrNoLease is returned for an address of which nothing is known: nobody holds it, nobody is remembered for it.
var ErrNoLease = errors.New("ippool: no such lease")

// Lease is what is known of one address of a pool: who holds it, or who had it last.
type Lease struct {
	Address netip.Addr
	User    string
	Owner   string    // who holds it; empty: nobody does
	Static  bool      // it was asked for by its number
	Since   time.Time // when it was leased; when nobody holds it: released
	Until   time.Time // when nobody holds it: before that only User can have it; zero: no quarantine is on
}

// Leases lists what a pool knows of its addresses behind one, in the order of addresses; the zero address lists from the
// first. It returns up to limit, and whether there are more. A lease that was made from the pool is listed, even if the
// pool lost that address since; a static lease is where the pool's ranges have its address, excluded or not.
func (ps *Pools) Leases(name string, after netip.Addr, limit int) (page []Lease, more bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	sc := ps.scopes[scopeName(name)]
	if sc == nil || sc.pools[name] == nil {
		return nil, false
	}
	p, now := sc.pools[name], time.Now()
	behind := func(a uint32) bool { return !after.Is4() || a > toNumber(after) }
	for a, l := range sc.leases {
		if behind(a) && p.lists(a, l) {
			page = append(page, l.view(a))
		}
	}
	for r := range p.history.all {
		if behind(r.addr) {
			page = append(page, p.view(r, now))
		}
	}
	slices.SortFunc(page, func(a, b Lease) int { return a.Address.Compare(b.Address) })
	if len(page) > limit {
		return slices.Clip(page[:limit]), true
	}
	return page, false
}

// LeaseOf returns what a pool knows of an address, or ErrNoLease.
func (ps *Pools) LeaseOf(name string, addr netip.Addr) (Lease, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, sc, a := ps.find(name, addr)
	if p != nil {
		if l, ok := sc.viewOf(p, a, time.Now()); ok {
			return l, nil
		}
	}
	return Lease{}, fmt.Errorf("%s of %s: %w", addr, name, ErrNoLease)
}

// viewOf returns what a pool knows of an address.
func (sc *scope) viewOf(p *pool, a uint32, now time.Time) (Lease, bool) {
	if l, ok := sc.leases[a]; ok && p.lists(a, l) {
		return l.view(a), true
	}
	if r, ok := p.history.get(a); ok {
		return p.view(r, now), true
	}
	return Lease{}, false
}

// Forget makes an address one that nobody had: no user gets it for having had it, and no quarantine keeps it. One that is
// held becomes so with its release; Forget returns its owner then. ErrNoLease: nothing is known of it.
func (ps *Pools) Forget(name string, addr netip.Addr) (owner string, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	p, sc, a := ps.find(name, addr)
	if p == nil {
		return "", fmt.Errorf("%s of %s: %w", addr, name, ErrNoLease)
	}
	if l, ok := sc.leases[a]; ok && p.lists(a, l) {
		l.forget = true
		sc.leases[a] = l
		p.mark(a)
		return l.owner, nil
	}
	if _, ok := p.history.get(a); !ok {
		return "", fmt.Errorf("%s of %s: %w", addr, name, ErrNoLease)
	}
	p.forget(a)
	return "", nil
}

// Outside lists the leases that a pool would cut off if it became next: those made from it whose address it would not
// have any more, and any whose address would be its gateway. With nil, for a pool that goes, it is all made from it. It
// is sorted by address.
func (ps *Pools) Outside(name string, next *Parsed) []Lease {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	sc := ps.scopes[scopeName(name)]
	if sc == nil {
		return nil
	}
	var out []Lease
	for a, l := range sc.leases {
		if l.pool == name && (next == nil || !contains(next.usable, a)) || next != nil && a == next.gateway {
			out = append(out, l.view(a))
		}
	}
	slices.SortFunc(out, func(a, b Lease) int { return cmp.Compare(toNumber(a.Address), toNumber(b.Address)) })
	return out
}

// find returns a pool with its tenant's part and the number of an address; nil if there is no such pool or number.
func (ps *Pools) find(name string, addr netip.Addr) (*pool, *scope, uint32) {
	sc := ps.scopes[scopeName(name)]
	a, err := number(addr)
	if sc == nil || err != nil {
		return nil, nil, 0
	}
	return sc.pools[name], sc, a
}

// lists says whether a lease of the tenant is one of this pool's.
func (p *pool) lists(a uint32, l lease) bool {
	if l.pool != "" {
		return l.pool == p.name
	}
	return contains(p.spec.ranges, a)
}

func (l lease) view(a uint32) Lease {
	return Lease{Address: toAddr(a), User: l.user, Owner: l.owner, Static: l.pool == "", Since: l.since}
}

func (p *pool) view(r released, now time.Time) Lease {
	l := Lease{Address: toAddr(r.addr), User: r.user, Since: r.at}
	if until := p.until(r); until.After(now) {
		l.Until = until
	}
	return l
}
