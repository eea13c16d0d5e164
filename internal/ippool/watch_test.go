package ippool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// told is what a watch of pools was told, in short: "10.0.0.2 alice by s1".
type told struct{ lines []string }

func (l *told) tell(pool string, addr netip.Addr, now *Lease) {
	text := "gone"
	switch {
	case now == nil:
	case now.Owner != "":
		text = now.User + " by " + now.Owner
	case !now.Until.IsZero():
		text = now.User + " in quarantine"
	default:
		text = now.User + " had it"
	}
	l.lines = append(l.lines, fmt.Sprintf("%s %s %s", pool[len("tenants/a/pools/"):], addr, text))
}

// take returns the lines since the last call, sorted: the order within one call says nothing.
func (l *told) take() []string {
	out := l.lines
	l.lines = nil
	slices.Sort(out)
	return out
}

func TestWatch(t *testing.T) {
	const name, tenant = "tenants/a/pools/p", "tenants/a"
	ps, l := New(), &told{}
	ps.Watch(l.tell)
	spec := func(quarantine time.Duration, ranges ...string) Spec {
		return Spec{Ranges: ranges, Quarantine: quarantine}
	}
	addr := netip.MustParseAddr
	for _, c := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"configure", func() error { return ps.Configure(name, spec(0, "10.0.0.0/29")) }, nil},
		{"lease", func() error { _, err := ps.Lease(name, "alice", "s1"); return err }, []string{"p 10.0.0.2 alice by s1"}},
		{"static", func() error { return ps.LeaseStatic(tenant, addr("10.0.0.5"), "bob", "s2") }, []string{"p 10.0.0.5 bob by s2"}},
		{"static elsewhere", func() error { return ps.LeaseStatic(tenant, addr("10.9.9.9"), "eve", "s3") }, nil},
		{"another's release", func() error { ps.Release(tenant, addr("10.0.0.5"), "s9"); return nil }, nil},
		{"release", func() error { ps.Release(tenant, addr("10.0.0.2"), "s1"); return nil }, []string{"p 10.0.0.2 alice had it"}},
		{"release static", func() error { ps.Release(tenant, addr("10.0.0.5"), "s2"); return nil }, []string{"p 10.0.0.5 bob had it"}},
		{"forget", func() error { _, err := ps.Forget(name, addr("10.0.0.5")); return err }, []string{"p 10.0.0.5 gone"}},
		{
			"quarantine", func() error { return ps.Configure(name, spec(time.Hour, "10.0.0.0/29")) },
			[]string{"p 10.0.0.2 alice in quarantine"},
		},
		{"again", func() error { _, err := ps.Lease(name, "alice", "s4"); return err }, []string{"p 10.0.0.2 alice by s4"}},
		{
			"a wider pool", func() error { return ps.Configure(name, spec(0, "10.0.0.0/29", "10.9.9.0/24")) },
			[]string{"p 10.0.0.2 alice by s4", "p 10.9.9.9 eve by s3"},
		},
		{
			"another pool", func() error { return ps.Configure(name, spec(0, "10.9.9.0/24")) },
			[]string{"p 10.0.0.2 alice by s4", "p 10.9.9.9 eve by s3"},
		},
		{"release of what it lost", func() error { ps.Release(tenant, addr("10.0.0.2"), "s4"); return nil }, []string{"p 10.0.0.2 gone"}},
		{"remove", func() error { ps.Remove(name); return nil }, []string{"p 10.9.9.9 gone"}},
		{"release after it", func() error { ps.Release(tenant, addr("10.9.9.9"), "s3"); return nil }, nil},
	} {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if got := l.take(); !slices.Equal(got, c.want) {
			t.Errorf("%s: told %q, want %q", c.what, got, c.want)
		}
	}
}

// Whatever happens, a watch that remembers what it was told knows what a list says.
func TestWatchKnowsTheList(t *testing.T) {
	const name = "tenants/a/pools/p"
	known := map[netip.Addr]Lease{}
	ps := New()
	ps.Watch(func(_ string, addr netip.Addr, now *Lease) {
		if now == nil {
			delete(known, addr)
		} else {
			known[addr] = *now
		}
	})
	ranges := []string{"10.0.0.0/26", "10.0.0.0/27", "10.0.0.32/27"}
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for step := range 3000 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rng.IntN(60))})
		user, owner := fmt.Sprint("u", rng.IntN(20)), fmt.Sprint("s", rng.IntN(20))
		switch rng.IntN(12) {
		case 0:
			_ = ps.Configure(name, Spec{Ranges: ranges[rng.IntN(3):][:1]}) // a gateway may be in use
		case 1:
			if rng.IntN(20) == 0 {
				ps.Remove(name)
			}
		case 2, 3, 4:
			_, _ = ps.Lease(name, user, owner) // the pool may be full, or not be there
		case 5:
			_ = ps.LeaseStatic(name, a, user, owner) // another may have it
		case 6:
			_, _ = ps.Forget(name, a) // nothing may be known of it
		default:
			ps.Release(name, a, owner)
		}
		list, _ := ps.Leases(name, netip.Addr{}, 1000)
		if len(list) != len(known) {
			t.Fatalf("step %d: %d leases are known, %d listed", step, len(known), len(list))
		}
		for _, l := range list {
			if known[l.Address] != l {
				t.Fatalf("step %d: %+v is known, %+v listed", step, known[l.Address], l)
			}
		}
	}
}
