package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"concentrator/internal/ippool"
	"concentrator/internal/store"
)

// claims are the addresses that tenants' resources take in a network namespace. Tenants that share a namespace may not
// overlap; within a tenant a user's static address may lie in a pool, and a route may lie in a larger one.
//
// It is kept in memory because a user's addresses are held against those of all other users. It belongs to whoever
// holds backend.writing.
type claims struct {
	namespace map[string]string  // of a tenant
	device    map[string]string  // of a tenant; "" when the daemon chooses
	of        map[string][]claim // of a pool or user
	pools     map[string]*ippool.Parsed
}

// claim is one span of addresses.
type claim struct {
	field  string // of the resource, "ranges[0]"
	what   claimKind
	prefix netip.Prefix
}

type claimKind int

const (
	claimPool claimKind = iota
	claimGateway
	claimAddress
	claimRoute
)

// loadClaims reads what the store holds.
func loadClaims(s *store.Store) (*claims, error) {
	c := &claims{namespace: map[string]string{}, device: map[string]string{}, of: map[string][]claim{}, pools: map[string]*ippool.Parsed{}}
	tenants, _, err := store.List[store.Tenant](s, "", "", 0)
	if err != nil {
		return nil, err
	}
	defer store.Wipe(tenants...)
	for _, t := range tenants {
		c.setTenant(t.Name, t)
	}
	pools, _, err := store.List[store.Pool](s, anyTenant, "", 0)
	if err != nil {
		return nil, err
	}
	for _, p := range pools {
		c.setPool(p.Name, p)
	}
	users, _, err := store.List[store.User](s, anyTenant, "", 0)
	if err != nil {
		return nil, err
	}
	defer store.Wipe(users...)
	for _, u := range users {
		c.setUser(u.Name, u)
	}
	return c, nil
}

func (c *claims) setTenant(name string, t *store.Tenant) {
	if t == nil {
		delete(c.namespace, name)
		delete(c.device, name)
		return
	}
	c.namespace[name], c.device[name] = t.Network.Namespace, t.Network.Device
}

func (c *claims) setPool(name string, p *store.Pool) {
	delete(c.of, name)
	delete(c.pools, name)
	if p == nil {
		return
	}
	// A pool that a version with other rules stored leases nothing, so it claims nothing.
	if parsed, err := ippool.ParseSpec(poolSpec(p)); err == nil {
		c.of[name], c.pools[name] = poolClaims(parsed), parsed
	}
}

func (c *claims) setUser(name string, u *store.User) {
	delete(c.of, name)
	if u == nil {
		return
	}
	if list := userClaims(u); len(list) > 0 {
		c.of[name] = list
	}
}

// poolClaims are the ranges and the gateway of a pool.
func poolClaims(p *ippool.Parsed) []claim {
	var list []claim
	for _, prefix := range p.Prefixes() {
		list = append(list, claim{"ranges", claimPool, prefix})
	}
	return append(list, claim{"gateway", claimGateway, netip.PrefixFrom(p.Gateway(), 32)})
}

// userClaims are the static address and the routes of a user.
func userClaims(u *store.User) []claim {
	var list []claim
	if u.StaticAddress.IsValid() {
		list = append(list, claim{"staticAddress", claimAddress, netip.PrefixFrom(u.StaticAddress, 32)})
	}
	for i, p := range u.FramedRoutes {
		list = append(list, claim{at("framedRoutes", i), claimRoute, p})
	}
	return list
}

// checkPool holds a pool that is to be stored against everything else.
func (c *claims) checkPool(name string, p *ippool.Parsed, bad *fieldErrors) {
	owner := store.TenantOf(name)
	for other, o := range c.pools {
		if other == name || store.TenantOf(other) != owner {
			continue
		}
		if span := ippool.Overlap(p, o); span != "" {
			bad.addUnmet("ranges", "%s is also of %s; pools of one tenant may not overlap", span, other)
		}
	}
	c.check(name, owner, c.namespace[owner], poolClaims(p), bad, "")
}

// checkUser holds a user that is to be stored against everything else.
func (c *claims) checkUser(u *store.User, bad *fieldErrors) {
	if list := userClaims(u); len(list) > 0 {
		owner := store.TenantOf(u.Name)
		c.check(u.Name, owner, c.namespace[owner], list, bad, "")
	}
}

// checkTenant holds the claims of all resources of a tenant against those of other tenants of the namespace that the
// tenant is to be in.
func (c *claims) checkTenant(t *store.Tenant, bad *fieldErrors) {
	ns := t.Network.Namespace
	for other, device := range c.device {
		if other != t.Name && device != "" && device == t.Network.Device && c.namespace[other] == ns {
			bad.addUnmet("network.device", "%q is the device of %s in the same namespace", device, other)
		}
	}
	if c.namespace[t.Name] == ns {
		return
	}
	for name, list := range c.of {
		if store.TenantOf(name) == t.Name {
			c.check(name, t.Name, ns, list, bad, "network.namespace")
		}
		if len(bad.list) >= maxNamed {
			return
		}
	}
}

// check reports which claims of list conflict, at their own fields, or at field, which leaves the own tenant out. It
// reports one conflict with each other resource, and a few in all.
func (c *claims) check(name, owner, ns string, list []claim, bad *fieldErrors, field string) {
	type conflict struct {
		index int // in list
		other string
		with  claim
	}
	var found []conflict
	for other, claims := range c.of {
		tenant := store.TenantOf(other)
		if other == name || tenant != owner && c.namespace[tenant] != ns || field != "" && tenant == owner {
			continue
		}
		if i, with, ok := firstConflict(list, claims, tenant == owner); ok {
			found = append(found, conflict{i, other, with})
		}
	}
	slices.SortFunc(found, func(a, b conflict) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.other, b.other))
	})
	for _, x := range found[:min(len(found), maxNamed)] {
		path, who := list[x.index].field, list[x.index].String()
		if field != "" {
			path, who = field, name+" has "+who+", which"
		}
		why := "in one tenant"
		if store.TenantOf(x.other) != owner {
			why = "of tenants in one namespace"
		}
		if bad.tenant != "" && store.TenantOf(x.other) != bad.tenant {
			bad.addUnmet(path, "%s overlaps addresses of another tenant in the same namespace", who)
			return // one is enough to know, and more would map the other's plan
		}
		bad.addUnmet(path, "%s overlaps %s of %s; addresses %s may not overlap", who, x.with, x.other, why)
	}
}

// firstConflict returns the index of the first of list that conflicts with one of others, and that one.
func firstConflict(list, others []claim, sameTenant bool) (int, claim, bool) {
	for i, x := range list {
		for _, y := range others {
			if x.conflicts(y, sameTenant) {
				return i, y, true
			}
		}
	}
	return 0, claim{}, false
}

// conflicts says whether two resources may not have x and y at once. Pools of one tenant are checkPool's.
func (x claim) conflicts(y claim, sameTenant bool) bool {
	if !x.prefix.Overlaps(y.prefix) {
		return false
	}
	if !sameTenant {
		return true
	}
	a, b := min(x.what, y.what), max(x.what, y.what)
	switch {
	case a == claimGateway && b == claimAddress, a == claimAddress && b == claimAddress:
		return true
	case a == claimRoute: // two routes: a smaller one may lie in a larger one
		return x.prefix == y.prefix
	}
	return false
}

func (x claim) String() string {
	if x.prefix.IsSingleIP() {
		return fmt.Sprintf("%s (%s)", x.prefix.Addr(), x.field)
	}
	return fmt.Sprintf("%s (%s)", x.prefix, x.field)
}
