package ippool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
)

const poolName = "tenants/acme/pools/p"

func pools(t *testing.T, spec Spec) *Pools {
	t.Helper()
	ps := New()
	configure(t, ps, poolName, spec)
	return ps
}

func configure(t *testing.T, ps *Pools, name string, spec Spec) {
	t.Helper()
	if err := ps.Configure(name, spec); err != nil {
		t.Fatal(err)
	}
}

func mustLease(t *testing.T, ps *Pools, user, owner string) netip.Addr {
	t.Helper()
	a, err := ps.Lease(poolName, user, owner)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func small(last int) Spec { return Spec{Ranges: []string{fmt.Sprintf("10.8.0.0-10.8.0.%d", last)}} }

func TestExhausted(t *testing.T) {
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/29"}}) // .2 to .6
	var all []netip.Addr
	for i := range 5 {
		all = append(all, mustLease(t, ps, fmt.Sprint("u", i), fmt.Sprint("s", i)))
	}
	if want := "[10.8.0.2 10.8.0.3 10.8.0.4 10.8.0.5 10.8.0.6]"; fmt.Sprint(all) != want {
		t.Errorf("leased %v, want %s", all, want)
	}
	if _, err := ps.Lease(poolName, "u9", "s9"); !errors.Is(err, ErrExhausted) {
		t.Errorf("full pool: %v, want ErrExhausted", err)
	}
	if u := ps.Usage(poolName); u != (Usage{Size: 5, Leased: 5}) {
		t.Errorf("usage %+v", u)
	}
	ps.Release(poolName, all[2], "s9") // not the owner
	if _, err := ps.Lease(poolName, "u9", "s9"); !errors.Is(err, ErrExhausted) {
		t.Error("an address was freed by one who does not hold it")
	}
	ps.Release(poolName, all[2], "s2")
	ps.Release(poolName, all[2], "s2")
	if a := mustLease(t, ps, "u9", "s9"); a != all[2] {
		t.Errorf("leased %s, want the only free one, %s", a, all[2])
	}
	if _, err := ps.Lease("tenants/acme/pools/other", "u", "s"); !errors.Is(err, ErrNoPool) {
		t.Errorf("unknown pool: %v, want ErrNoPool", err)
	}
	if _, err := ps.Lease("tenants/none/pools/p", "u", "s"); !errors.Is(err, ErrNoPool) {
		t.Errorf("unknown tenant: %v, want ErrNoPool", err)
	}
}

func TestUsersKeepTheirAddress(t *testing.T) {
	ps := pools(t, small(4)) // .1 to .4
	alice := mustLease(t, ps, "alice", "s1")
	bob := mustLease(t, ps, "bob", "s2")
	ps.Release(poolName, alice, "s1")
	ps.Release(poolName, bob, "s2")
	if a := mustLease(t, ps, "bob", "s3"); a != bob {
		t.Errorf("bob had %s, got %s", bob, a)
	}
	if a := mustLease(t, ps, "carol", "s4"); a == alice {
		t.Error("carol got alice's address while others were never used")
	}
	if a := mustLease(t, ps, "alice", "s5"); a != alice {
		t.Errorf("alice had %s, got %s", alice, a)
	}
	// A second session of alice gets another; when the last address is gone hers goes to whoever comes.
	second := mustLease(t, ps, "alice", "s6")
	if second == alice {
		t.Fatal("one address twice")
	}
	ps.Release(poolName, alice, "s5")
	if a := mustLease(t, ps, "dave", "s7"); a != alice {
		t.Errorf("dave got %s, want %s", a, alice)
	}
	if _, err := ps.Lease(poolName, "alice", "s8"); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, want ErrExhausted", err)
	}
}

// Of several addresses that a user gave back the last counts, whatever becomes of the others.
func TestUsersKeepTheLastOfTheirAddresses(t *testing.T) {
	ps := pools(t, small(3))
	first, last := mustLease(t, ps, "alice", "s1"), mustLease(t, ps, "alice", "s2")
	carols := mustLease(t, ps, "carol", "s3")
	ps.Release(poolName, first, "s1")
	ps.Release(poolName, carols, "s3")
	ps.Release(poolName, last, "s2")
	if a := mustLease(t, ps, "bob", "s4"); a != first {
		t.Errorf("bob got %s, want %s, which was free longest", a, first)
	}
	if a := mustLease(t, ps, "alice", "s5"); a != last {
		t.Errorf("alice got %s, had %s last", a, last)
	}
}

func TestLongestFreeFirst(t *testing.T) {
	ps := pools(t, small(3))
	var order []netip.Addr
	for i := range 3 {
		order = append(order, mustLease(t, ps, fmt.Sprint("u", i), fmt.Sprint("s", i)))
	}
	for _, i := range []int{1, 2, 0} {
		ps.Release(poolName, order[i], fmt.Sprint("s", i))
	}
	for _, i := range []int{1, 2, 0} {
		if a := mustLease(t, ps, fmt.Sprint("new", i), "x"); a != order[i] {
			t.Errorf("leased %s, want %s, which was free longer", a, order[i])
		}
	}
}

func TestStatic(t *testing.T) {
	addr := netip.MustParseAddr
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/29"}, Exclude: []string{"10.8.0.6"}}) // .2 to .5
	for _, a := range []string{"10.8.0.3", "10.8.0.6", "192.0.2.9"} {                    // inside, excluded, elsewhere
		if err := ps.LeaseStatic(poolName, addr(a), "alice", "s1"); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		if err := ps.LeaseStatic("tenants/acme", addr(a), "alice", "s1"); err != nil {
			t.Errorf("%s again by the same owner: %v", a, err)
		}
		err := ps.LeaseStatic(poolName, addr(a), "bob", "s2")
		if in, ok := errors.AsType[*InUseError](err); !ok || !errors.Is(err, ErrAddressInUse) || in.Owner != "s1" || in.User != "alice" {
			t.Errorf("%s by another: %v", a, err)
		}
	}
	if u := ps.Usage(poolName); u != (Usage{Size: 4, Leased: 1}) {
		t.Errorf("usage %+v, want one of four", u)
	}
	for range 3 {
		if a := mustLease(t, ps, "", "s"); a == addr("10.8.0.3") {
			t.Error("the static address was leased again")
		}
	}
	if _, err := ps.Lease(poolName, "", "s"); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, want ErrExhausted", err)
	}
	ps.Release(poolName, addr("10.8.0.3"), "s1")
	if err := ps.LeaseStatic(poolName, addr("10.8.0.3"), "bob", "s2"); err != nil {
		t.Errorf("after release: %v", err)
	}
	if err := ps.LeaseStatic(poolName, addr("10.8.0.1"), "bob", "s2"); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("the gateway: %v, want ErrAddressInUse", err)
	}
	if err := ps.LeaseStatic(poolName, addr("2001:db8::1"), "bob", "s2"); err == nil {
		t.Error("an IPv6 address was leased")
	}
	// Another tenant has addresses of its own, also without pools.
	if err := ps.LeaseStatic("tenants/other", addr("10.8.0.3"), "bob", "s9"); err != nil {
		t.Error(err)
	}
	ps.Release("tenants/other", addr("10.8.0.3"), "s9")
	if len(ps.scopes) != 1 {
		t.Errorf("%d tenants are remembered, one has a pool", len(ps.scopes))
	}
}

func TestResizeKeepsLeases(t *testing.T) {
	addr := netip.MustParseAddr
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/29"}})
	a := mustLease(t, ps, "alice", "s1") // .2
	b := mustLease(t, ps, "bob", "s2")   // .3
	ps.Release(poolName, a, "s1")

	configure(t, ps, poolName, Spec{Ranges: []string{"10.8.0.0/28"}})
	if u := ps.Usage(poolName); u != (Usage{Size: 13, Leased: 1}) {
		t.Errorf("grown: %+v", u)
	}
	if again := mustLease(t, ps, "alice", "s3"); again != a {
		t.Errorf("grown: alice got %s, had %s", again, a)
	}

	configure(t, ps, poolName, Spec{Ranges: []string{"10.8.0.8/29"}, Gateway: addr("10.8.0.1")}) // both outside now
	if u := ps.Usage(poolName); u != (Usage{Size: 6, Leased: 0}) {
		t.Errorf("moved: %+v", u)
	}
	if err := ps.LeaseStatic(poolName, b, "carol", "s4"); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("bob's address is no longer his: %v", err)
	}
	ps.Release(poolName, a, "s3")
	for range 6 {
		if got := mustLease(t, ps, "alice", "s5"); got == a || got == b {
			t.Errorf("leased %s, which is outside", got)
		}
	}
	if _, err := ps.Lease(poolName, "dave", "s6"); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, want ErrExhausted", err)
	}

	configure(t, ps, poolName, Spec{Ranges: []string{"10.8.0.0/28"}}) // back
	if u := ps.Usage(poolName); u != (Usage{Size: 13, Leased: 7}) {
		t.Errorf("moved back: %+v, want bob and six", u)
	}
	for range 6 {
		if got := mustLease(t, ps, "", "s7"); got == b {
			t.Error("bob's address was leased again")
		}
	}
	if _, err := ps.Lease(poolName, "dave", "s6"); !errors.Is(err, ErrExhausted) {
		t.Errorf("%v, want ErrExhausted", err)
	}
	// A gateway that a client holds is refused and changes nothing.
	before := ps.Usage(poolName)
	err := ps.Configure(poolName, Spec{Ranges: []string{"10.8.0.0/24"}, Gateway: b})
	if in, ok := errors.AsType[*InUseError](err); !ok || in.Owner != "s2" {
		t.Errorf("gateway %s: %v", b, err)
	}
	if ps.Usage(poolName) != before {
		t.Error("a refused Configure changed the pool")
	}
	if _, ok := errors.AsType[*FieldError](ps.Configure(poolName, Spec{})); !ok {
		t.Error("a wrong spec gave no *FieldError")
	}
}

func TestPoolsOfATenantDoNotOverlap(t *testing.T) {
	addr := netip.MustParseAddr
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/24"}})
	const other = "tenants/acme/pools/q"
	for _, spec := range []Spec{
		{Ranges: []string{"10.8.0.128/25"}},
		{Ranges: []string{"10.7.0.0/24", "10.8.0.255"}},                      // even its broadcast address
		{Ranges: []string{"10.9.0.0/24"}, Gateway: addr("10.8.0.9")},         // would be leased there
		{Ranges: []string{"10.8.1.0/24"}, Gateway: addr("10.8.0.254")},       // the same
		{Ranges: []string{"10.8.0.1-10.8.0.1", "10.9.0.0/24"}, Exclude: nil}, // its gateway
	} {
		if err := ps.Configure(other, spec); !errors.Is(err, ErrOverlap) {
			t.Errorf("%v: %v, want ErrOverlap", spec, err)
		}
	}
	if _, ok := ps.Gateway(other); ok {
		t.Error("a refused pool is there")
	}
	configure(t, ps, other, Spec{Ranges: []string{"10.9.0.0/24"}, Gateway: addr("10.8.0.1")}) // one gateway for both
	if g, ok := ps.Gateway(other); !ok || g != addr("10.8.0.1") {
		t.Errorf("gateway %v, %t", g, ok)
	}
	// Moving the first pool's gateway would make its old one free to lease, which is the second's.
	if err := ps.Configure(poolName, Spec{Ranges: []string{"10.8.0.0/24"}, Gateway: addr("10.8.0.2")}); !errors.Is(err, ErrOverlap) {
		t.Errorf("%v, want ErrOverlap", err)
	}
	configure(t, ps, "tenants/beta/pools/p", Spec{Ranges: []string{"10.8.0.0/24"}}) // another tenant may
	ps.Remove(other)
	ps.Remove(other)
	configure(t, ps, poolName, Spec{Ranges: []string{"10.9.0.0/24"}})
	ps.Remove(poolName)
	ps.Remove("tenants/beta/pools/p")
	if len(ps.scopes) != 0 {
		t.Errorf("%d tenants are remembered", len(ps.scopes))
	}
}

func TestLeaseOutlivesItsPool(t *testing.T) {
	ps := pools(t, small(9))
	a := mustLease(t, ps, "alice", "s1")
	ps.Remove(poolName)
	if u := ps.Usage(poolName); u != (Usage{}) {
		t.Errorf("usage of a removed pool: %+v", u)
	}
	configure(t, ps, poolName, small(9))
	if u := ps.Usage(poolName); u.Leased != 1 {
		t.Errorf("the lease is forgotten: %+v", u)
	}
	for range 8 {
		if b := mustLease(t, ps, "", "s"); b == a {
			t.Fatal("one address twice")
		}
	}
}

// model is what a Pools must do, done slowly.
type model map[netip.Addr]string

// Whatever is asked for in whatever order: no address is held twice, the gateway and what is excluded are never
// leased, a pool says it is full only when it is, and the books agree.
func TestRandomUse(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	specs := []Spec{
		{Ranges: []string{"10.8.0.0/27"}},
		{Ranges: []string{"10.8.0.0/26"}, Exclude: []string{"10.8.0.8/29", "10.8.0.60"}},
		{Ranges: []string{"10.8.0.16-10.8.0.20", "10.8.0.0/29", "10.8.0.40"}, Gateway: netip.MustParseAddr("192.0.2.1")},
		{Ranges: []string{"10.8.0.32/28"}, Gateway: netip.MustParseAddr("10.8.0.0")},
	}
	ps, held := New(), model{}
	spec, _ := ParseSpec(specs[0])
	configure(t, ps, poolName, specs[0])
	inside := func() (n int) {
		for a := range held {
			if contains(spec.usable, toNumber(a)) {
				n++
			}
		}
		return n
	}
	for i := range 20000 {
		owner, user := fmt.Sprint("s", i), fmt.Sprint("u", rnd.IntN(30))
		switch what := rnd.IntN(100); {
		case what < 40:
			a, err := ps.Lease(poolName, user, owner)
			if errors.Is(err, ErrExhausted) {
				if n := inside(); n != spec.Size() {
					t.Fatalf("step %d: exhausted with %d of %d", i, n, spec.Size())
				}
				break
			}
			if err != nil || held[a] != "" || !contains(spec.usable, toNumber(a)) || a == spec.Gateway() {
				t.Fatalf("step %d: leased %s, held by %q, %v", i, a, held[a], err)
			}
			held[a] = owner
		case what < 50:
			a := toAddr(toNumber(netip.MustParseAddr("10.8.0.0")) + rnd.Uint32N(70))
			err := ps.LeaseStatic(poolName, a, user, owner)
			if free := held[a] == "" && a != spec.Gateway(); free != (err == nil) {
				t.Fatalf("step %d: static %s held by %q: %v", i, a, held[a], err)
			}
			if err == nil {
				held[a] = owner
			}
		case what < 95:
			for a, owner := range held { // any
				ps.Release(poolName, a, owner)
				delete(held, a)
				break
			}
		case what < 97:
			a := toAddr(toNumber(netip.MustParseAddr("10.8.0.0")) + rnd.Uint32N(70))
			if got, err := ps.Forget(poolName, a); err == nil && got != held[a] {
				t.Fatalf("step %d: forgot %s of %q, held by %q", i, a, got, held[a])
			}
		default:
			next := specs[rnd.IntN(len(specs))]
			parsed, err := ParseSpec(next)
			if err != nil {
				t.Fatal(err)
			}
			err = ps.Configure(poolName, next)
			if refused := held[parsed.Gateway()] != ""; refused != (err != nil) {
				t.Fatalf("step %d: Configure with gateway %s held by %q: %v", i, parsed.Gateway(), held[parsed.Gateway()], err)
			}
			if err == nil {
				spec = parsed
			}
		}
		if u := ps.Usage(poolName); u.Size != spec.Size() || u.Leased != inside() {
			t.Fatalf("step %d: usage %+v, want %d of %d", i, u, inside(), spec.Size())
		}
		p := ps.scopes["tenants/acme"].pools[poolName]
		h := p.history
		byUser := 0
		for _, all := range h.byUser {
			byUser += len(all)
		}
		if len(h.byAddr) != h.len() || byUser != h.len() || p.leased+h.len() > spec.Size() {
			t.Fatalf("step %d: %d released by address, %d by user, %d in order, %d leased of %d",
				i, len(h.byAddr), byUser, h.len(), p.leased, spec.Size())
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	ps := pools(t, Spec{Ranges: []string{"10.8.0.0/27"}})
	var mu sync.Mutex
	held := make(map[netip.Addr]string)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				owner := fmt.Sprintf("s%d-%d", w, i)
				a, err := ps.Lease(poolName, fmt.Sprint("u", w), owner)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if other := held[a]; other != "" {
					t.Errorf("%s is held by %s and %s", a, other, owner)
				}
				held[a] = owner
				mu.Unlock()
				_ = ps.Usage(poolName)
				mu.Lock()
				delete(held, a)
				mu.Unlock()
				ps.Release(poolName, a, owner)
			}
		})
	}
	wg.Wait()
}

// The books of a /8 grow with its use, up to a bound, and not with its size.
func TestLargePoolIsSmallInMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ps := pools(t, Spec{Ranges: []string{"10.0.0.0/8"}})
	first := mustLease(t, ps, "first", "first")
	for i := range 5 * historyCap {
		owner := fmt.Sprint(i)
		ps.Release(poolName, mustLease(t, ps, owner, owner), owner)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 16<<20 {
		t.Errorf("%d octets after %d users", n, 5*historyCap)
	}
	p := ps.scopes["tenants/acme"].pools[poolName]
	if p.history.len() != historyCap || len(p.history.byUser) != historyCap {
		t.Errorf("%d addresses and %d users are remembered, want %d", p.history.len(), len(p.history.byUser), historyCap)
	}
	if a := mustLease(t, ps, "0", "again"); a == first {
		t.Error("one address twice")
	}
}

// A pool of which more was used than is remembered still gives out every address, each once.
func TestForgottenAddressesAreLeasedAgain(t *testing.T) {
	ps := pools(t, Spec{Ranges: []string{"10.0.0.0/17"}})
	size := ps.Usage(poolName).Size
	for round := range 2 {
		var all []netip.Addr
		for i := range size {
			all = append(all, mustLease(t, ps, fmt.Sprint("u", round, i), "s"))
		}
		if _, err := ps.Lease(poolName, "x", "s"); !errors.Is(err, ErrExhausted) {
			t.Fatalf("%v, want ErrExhausted", err)
		}
		for _, a := range all {
			ps.Release(poolName, a, "s")
		}
		slices.SortFunc(all, netip.Addr.Compare)
		if n := len(slices.Compact(all)); n != size {
			t.Fatalf("round %d: %d different addresses of %d", round, n, size)
		}
	}
}

func BenchmarkLeaseRelease(b *testing.B) {
	ps := New()
	if err := ps.Configure(poolName, Spec{Ranges: []string{"10.0.0.0/16"}}); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := ps.Lease(poolName, "", fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		a, err := ps.Lease(poolName, "", "s")
		if err != nil {
			b.Fatal(err)
		}
		ps.Release(poolName, a, "s")
	}
}
