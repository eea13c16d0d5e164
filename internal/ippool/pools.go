package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

var (
	// ErrExhausted is returned, inside an *ExhaustedError, by Lease when no address of the pool is free.
	ErrExhausted = errors.New("ippool: no free address")
	// ErrNoPool is returned for a pool that is not configured.
	ErrNoPool = errors.New("ippool: no such pool")
	// ErrAddressInUse is returned, inside an *InUseError, by LeaseStatic when another holds the address.
	ErrAddressInUse = errors.New("ippool: address in use")
	// ErrOverlap is returned by Configure when two pools of a tenant would lease, or one lease and the other use as
	// its gateway, the same address.
	ErrOverlap = errors.New("ippool: pools overlap")
)

// InUseError says who holds an address. It is an ErrAddressInUse.
type InUseError struct {
	Address     netip.Addr
	User, Owner string // both empty: it is the gateway of a pool
}

func (e *InUseError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("ippool: address %s is a gateway", e.Address)
	}
	return fmt.Sprintf("ippool: address %s is held by %s", e.Address, e.Owner)
}

// Is makes errors.Is(err, ErrAddressInUse) true.
func (e *InUseError) Is(target error) bool { return target == ErrAddressInUse }

// ExhaustedError says why a pool has no address for a user. It is an ErrExhausted.
type ExhaustedError struct {
	Usage
	Until time.Time // when the first quarantine ends; zero: none is on
}

func (e *ExhaustedError) Error() string { return "ippool: no free address: " + e.Counts() }

// Counts says where the addresses are, for people.
func (e *ExhaustedError) Counts() string {
	text := fmt.Sprintf("%d of %d are leased", e.Leased, e.Size)
	if e.Quarantined > 0 {
		text += fmt.Sprintf(", %d are in quarantine, the first until %s", e.Quarantined, e.Until.UTC().Format(time.RFC3339))
	}
	return text
}

// Is makes errors.Is(err, ErrExhausted) true.
func (e *ExhaustedError) Is(target error) bool { return target == ErrExhausted }

// Usage is how full a pool is.
type Usage struct {
	Size        int // addresses that can be leased
	Leased      int // of them, how many are held, by static leases too
	Quarantined int // of them, how many only their last user can have now
}

// Pools is all pools of all tenants. A pool is named by its full resource name, tenants/{tenant}/pools/{pool}; an owner
// is whoever holds a lease, such as a session's name. Safe for concurrent use.
type Pools struct {
	mu     sync.Mutex
	scopes map[string]*scope // by tenants/{tenant}
	books  books
	notes  notes
	saving sync.Mutex // held by Save; taken before mu
}

// scope is the addresses of one tenant.
type scope struct {
	pools  map[string]*pool
	leases map[uint32]lease // in a pool or not
}

// lease is an address that someone holds.
type lease struct {
	user, owner string
	pool        string // that it was leased from; empty: static
	since       time.Time
	forget      bool // when it is released, its user shall not have it again
}

// New makes a Pools without pools.
func New() *Pools { return &Pools{scopes: make(map[string]*scope)} }

// scopeName is the tenant's part of a pool's name.
func scopeName(name string) string {
	tenantName, _, _ := strings.Cut(name, "/pools/")
	return tenantName
}

// scope returns the tenant's part, made if missing; tidy forgets it again when nothing is in it.
func (ps *Pools) scope(name string) *scope {
	sc := ps.scopes[scopeName(name)]
	if sc == nil {
		sc = &scope{pools: make(map[string]*pool), leases: make(map[uint32]lease)}
		ps.scopes[scopeName(name)] = sc
	}
	return sc
}

func (ps *Pools) tidy(name string) {
	if sc := ps.scopes[scopeName(name)]; sc != nil && len(sc.pools) == 0 && len(sc.leases) == 0 {
		delete(ps.scopes, scopeName(name))
	}
}

// poolOf returns the pool that may lease an address, or nil.
func (sc *scope) poolOf(a uint32) *pool {
	for _, p := range sc.pools {
		if contains(p.spec.usable, a) {
			return p
		}
	}
	return nil
}

// Configure makes a pool, or gives it other addresses. Leases are kept, also those that are now outside; an address
// outside is not leased again. The error is a *FieldError, an ErrOverlap, or an *InUseError when the gateway is held by
// a client; then nothing is changed.
func (ps *Pools) Configure(name string, spec Spec) error {
	parsed, err := ParseSpec(spec)
	if err != nil {
		return fmt.Errorf("pool %s: %w", name, err)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	defer ps.tidy(name)
	sc := ps.scope(name)
	for otherName, other := range sc.pools {
		if otherName == name {
			continue
		}
		if r := Overlap(parsed, other.spec); r != "" {
			return fmt.Errorf("pool %s: %w: %s with %s", name, ErrOverlap, r, otherName)
		}
	}
	if l, ok := sc.leases[parsed.gateway]; ok {
		return fmt.Errorf("pool %s: gateway: %w", name, &InUseError{parsed.Gateway(), l.user, l.owner})
	}
	p := sc.pools[name]
	if p == nil {
		p = newPool(name, &ps.books, &ps.notes)
		sc.pools[name] = p
	}
	p.resize(parsed, sc.leases)
	p.recall(ps.books.take(name), sc.leases, time.Now())
	return nil
}

// Remove forgets a pool, and who had its addresses. Its leases stay held until they are released.
func (ps *Pools) Remove(name string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	ps.books.drop(name)
	if sc := ps.scopes[scopeName(name)]; sc != nil {
		sc.noteAll(sc.pools[name])
		delete(sc.pools, name)
		ps.tidy(name)
	}
}

// Lease takes an address for a user: the one that the user gave back last, while it is free; else one that nobody had;
// else the one longest out of use, unless the pool's quarantine keeps it for its last user. It returns ErrNoPool or an
// *ExhaustedError.
func (ps *Pools) Lease(name, user, owner string) (netip.Addr, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	sc := ps.scopes[scopeName(name)]
	if sc == nil || sc.pools[name] == nil {
		return netip.Addr{}, fmt.Errorf("lease from %s: %w", name, ErrNoPool)
	}
	now := time.Now()
	a, ok := sc.pools[name].take(user, sc.leases, now)
	if !ok {
		return netip.Addr{}, fmt.Errorf("lease from %s: %w", name, sc.pools[name].exhausted(now))
	}
	sc.leases[a] = lease{user: user, owner: owner, pool: name, since: now}
	return toAddr(a), nil
}

// LeaseStatic takes a certain address, in a pool of the tenant or not, excluded or in quarantine or not. Of name only the
// tenant counts, so that a tenant without pools can have static addresses: "tenants/{tenant}" will do. Taking an address
// that owner holds already is no error; one that another holds, or that is a pool's gateway, is an *InUseError.
func (ps *Pools) LeaseStatic(name string, addr netip.Addr, user, owner string) error {
	a, err := number(addr)
	if err != nil {
		return fmt.Errorf("lease static address: %w", err)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	defer ps.tidy(name)
	sc := ps.scope(name)
	for _, p := range sc.pools {
		if p.spec.gateway == a {
			return &InUseError{Address: addr}
		}
	}
	if l, ok := sc.leases[a]; ok {
		if l.owner == owner {
			return nil
		}
		return &InUseError{addr, l.user, l.owner}
	}
	if p := sc.poolOf(a); p != nil {
		p.takeKnown(a)
	}
	sc.leases[a] = lease{user: user, owner: owner, since: time.Now()}
	sc.note(a)
	return nil
}

// Release gives an address back, dynamic or static. Of name only the tenant counts. It does nothing unless owner holds
// the address, so a late release can't free what another got meanwhile.
func (ps *Pools) Release(name string, addr netip.Addr, owner string) {
	a, err := number(addr)
	if err != nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	defer ps.tell()
	sc := ps.scopes[scopeName(name)]
	if sc == nil {
		return
	}
	l, ok := sc.leases[a]
	if !ok || l.owner != owner {
		return
	}
	sc.note(a)
	delete(sc.leases, a)
	if p := sc.poolOf(a); p != nil {
		p.giveBack(a, l, time.Now())
	}
	ps.tidy(name)
}

// Usage returns how full a pool is; zero for one that is not configured.
func (ps *Pools) Usage(name string) Usage {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if sc := ps.scopes[scopeName(name)]; sc != nil && sc.pools[name] != nil {
		return sc.pools[name].usage(time.Now())
	}
	return Usage{}
}

// Gateway returns our address in a pool; false for one that is not configured.
func (ps *Pools) Gateway(name string) (netip.Addr, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if sc := ps.scopes[scopeName(name)]; sc != nil && sc.pools[name] != nil {
		return sc.pools[name].spec.Gateway(), true
	}
	return netip.Addr{}, false
}
