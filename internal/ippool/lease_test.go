package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// show writes leases in short.
func show(list []Lease) string {
	var all []string
	for _, l := range list {
		text := l.Address.String() + "=" + l.User + "/" + l.Owner
		if l.Static {
			text += "!"
		}
		all = append(all, text)
	}
	return fmt.Sprint(all)
}

func TestLeases(t *testing.T) {
	addr := netip.MustParseAddr
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/24"}, Exclude: []string{"10.8.0.100"}})
	configure(t, ps, "tenants/acme/pools/q", Spec{Ranges: []string{"10.9.0.0/24"}})
	for i, user := range []string{"alice", "bob", "carol"} {
		mustLease(t, ps, user, fmt.Sprint("s", i))
	}
	ps.Release(poolName, addr("10.8.0.3"), "s1")
	for _, a := range []string{"10.8.0.20", "10.8.0.100", "10.10.0.1"} { // inside, excluded, in no pool
		if err := ps.LeaseStatic("tenants/acme", addr(a), "dave", "d"); err != nil {
			t.Fatal(err)
		}
	}
	const all = "[10.8.0.2=alice/s0 10.8.0.3=bob/ 10.8.0.4=carol/s2 10.8.0.20=dave/d! 10.8.0.100=dave/d!]"
	list, more := ps.Leases(poolName, netip.Addr{}, 100)
	if show(list) != all || more {
		t.Errorf("got %s, more %t, want %s", show(list), more, all)
	}
	for _, l := range list {
		one, err := ps.LeaseOf(poolName, l.Address)
		if err != nil || one != l {
			t.Errorf("%s alone: %+v, %v, want %+v", l.Address, one, err, l)
		}
	}
	for limit := 1; limit <= 5; limit++ {
		var pages []Lease
		for after, more := (netip.Addr{}), true; more; after = pages[len(pages)-1].Address {
			var page []Lease
			if page, more = ps.Leases(poolName, after, limit); len(page) > limit || len(page) == 0 {
				t.Fatalf("%d in a page of %d", len(page), limit)
			}
			pages = append(pages, page...)
		}
		if show(pages) != all {
			t.Errorf("in pages of %d: %s", limit, show(pages))
		}
	}
	for _, name := range []string{"tenants/acme/pools/q", "tenants/acme/pools/none", "tenants/none/pools/p"} {
		if list, more := ps.Leases(name, netip.Addr{}, 100); len(list) > 0 || more {
			t.Errorf("%s: %s", name, show(list))
		}
	}
	for _, a := range []string{"10.8.0.9", "10.10.0.1", "10.8.0.1", "2001:db8::1"} {
		if l, err := ps.LeaseOf(poolName, addr(a)); !errors.Is(err, ErrNoLease) {
			t.Errorf("%s: %+v, %v", a, l, err)
		}
		if _, err := ps.Forget(poolName, addr(a)); !errors.Is(err, ErrNoLease) {
			t.Errorf("forget %s: %v", a, err)
		}
	}
}

func TestForget(t *testing.T) {
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0-10.8.0.9"}, Quarantine: MaxQuarantine})
	a, b := mustLease(t, ps, "alice", "s1"), mustLease(t, ps, "bob", "s2")
	ps.Release(poolName, a, "s1")
	if owner, err := ps.Forget(poolName, a); owner != "" || err != nil {
		t.Errorf("released: %q, %v", owner, err)
	}
	if l, err := ps.LeaseOf(poolName, a); !errors.Is(err, ErrNoLease) {
		t.Errorf("still known: %+v", l)
	}
	if got := mustLease(t, ps, "alice", "s3"); got == a {
		t.Error("alice got the address that was taken from her while others were never used")
	}
	if owner, err := ps.Forget(poolName, b); owner != "s2" || err != nil {
		t.Errorf("held: %q, %v", owner, err)
	}
	if l, err := ps.LeaseOf(poolName, b); err != nil || l.Owner != "s2" {
		t.Errorf("it was taken from under its session: %+v, %v", l, err)
	}
	if _, err := ps.Lease("tenants/acme/pools/none", "x", "x"); !errors.Is(err, ErrNoPool) {
		t.Error(err)
	}
	ps.Release(poolName, b, "s2")
	if u := ps.Usage(poolName); u != (Usage{Size: 9, Leased: 1}) {
		t.Errorf("usage %+v: an address that was forgotten is in no quarantine", u)
	}
	// Leased by another, it is remembered again.
	var last netip.Addr
	for i := range 8 {
		last = mustLease(t, ps, "carol", fmt.Sprint("c", i))
	}
	ps.Release(poolName, last, "c7")
	if l, err := ps.LeaseOf(poolName, last); err != nil || l.User != "carol" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestOutside(t *testing.T) {
	addr := netip.MustParseAddr
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/24"}})
	configure(t, ps, "tenants/acme/pools/q", Spec{Ranges: []string{"10.9.0.0/24"}})
	for i := range 4 {
		mustLease(t, ps, fmt.Sprint("u", i), fmt.Sprint("s", i)) // .2 to .5
	}
	ps.Release(poolName, addr("10.8.0.4"), "s2")
	if _, err := ps.Lease("tenants/acme/pools/q", "q", "q"); err != nil {
		t.Fatal(err)
	}
	if err := ps.LeaseStatic("tenants/acme", addr("10.8.0.77"), "dave", "d"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		next *Spec
		want string
	}{
		{nil, "[10.8.0.2=u0/s0 10.8.0.3=u1/s1 10.8.0.5=u3/s3]"},
		{&Spec{Ranges: []string{"10.8.0.0/29"}}, "[]"},
		{&Spec{Ranges: []string{"10.8.0.0-10.8.0.4"}}, "[10.8.0.5=u3/s3]"},
		{&Spec{Ranges: []string{"10.8.0.0/24"}, Exclude: []string{"10.8.0.3-10.8.0.4"}}, "[10.8.0.3=u1/s1]"},
		{&Spec{Ranges: []string{"10.8.0.0/24"}, Gateway: addr("10.8.0.77")}, "[10.8.0.77=dave/d!]"},
		{&Spec{Ranges: []string{"10.8.0.0/24"}, Gateway: addr("10.8.0.2")}, "[10.8.0.2=u0/s0]"},
	} {
		var next *Parsed
		if c.next != nil {
			var err error
			if next, err = ParseSpec(*c.next); err != nil {
				t.Fatal(err)
			}
		}
		if got := show(ps.Outside(poolName, next)); got != c.want {
			t.Errorf("%v: %s, want %s", c.next, got, c.want)
		}
	}
	if got := ps.Outside("tenants/none/pools/p", nil); got != nil {
		t.Errorf("no tenant: %s", show(got))
	}
}

// However a pool is resized, what Outside does not list is still the pool's, and no lease is lost.
func TestResizeInUse(t *testing.T) {
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/24"}})
	held := make(map[netip.Addr]string)
	for i := range 100 {
		owner := fmt.Sprint("s", i)
		held[mustLease(t, ps, fmt.Sprint("u", i), owner)] = owner
	}
	for _, ranges := range [][]string{{"10.8.0.0/25"}, {"10.8.0.0/23"}, {"10.8.0.0-10.8.0.50", "10.8.0.51-10.8.0.110"}, {"10.8.0.0/24"}} {
		next, err := ParseSpec(Spec{Ranges: ranges})
		if err != nil {
			t.Fatal(err)
		}
		outside := ps.Outside(poolName, next)
		configure(t, ps, poolName, Spec{Ranges: ranges})
		if u := ps.Usage(poolName); u.Leased+len(outside) != 100 {
			t.Errorf("%v: %d leased and %d outside", ranges, u.Leased, len(outside))
		}
		list, _ := ps.Leases(poolName, netip.Addr{}, 1000)
		if len(list) != 100 || slices.ContainsFunc(list, func(l Lease) bool { return held[l.Address] != l.Owner }) {
			t.Errorf("%v: %s", ranges, show(list))
		}
	}
}
