package session

import (
	"errors"
	"net/netip"
	"testing"

	"concentrator/internal/ippool"
)

// TestLeasesAreShared: all grants of one session to one user share one address; it is free after the last of them.
func TestLeasesAreShared(t *testing.T) {
	pools := ippool.New()
	if err := pools.Configure(acmePool, ippool.Spec{Ranges: []string{"10.7.0.0/29"}}); err != nil {
		t.Fatal(err)
	}
	leased := func() int { return pools.Usage(acmePool).Leased }
	mine, other := leases{pools: pools, owner: "mine"}, leases{pools: pools, owner: "other"}

	first, releaseFirst, err := mine.dynamic(acmePool, alice)
	if err != nil {
		t.Fatal(err)
	}
	again, releaseAgain, err := mine.dynamic(acmePool, alice)
	if err != nil || again != first || leased() != 1 {
		t.Errorf("again: %s, %v, %d leased", again, err, leased())
	}
	// The same address as a fixed one is still the same lease.
	releaseFixed, err := mine.fixed(acme, first, "bob")
	if err != nil || leased() != 1 {
		t.Errorf("fixed: %v, %d leased", err, leased())
	}
	// Another user on the link gets another address, another session too.
	second, releaseSecond, err := mine.dynamic(acmePool, "bob")
	if err != nil || second == first || leased() != 2 {
		t.Errorf("another user: %s, %v, %d leased", second, err, leased())
	}
	var used *ippool.InUseError
	if _, err := other.fixed(acme, first, "carol"); !errors.As(err, &used) || used.Owner != "mine" {
		t.Errorf("another session: %v", err)
	}

	releaseFirst()
	releaseFirst() // twice is once
	releaseAgain()
	if leased() != 2 {
		t.Errorf("%d leased while a grant has the address", leased())
	}
	releaseFixed()
	releaseSecond()
	if leased() != 0 || len(mine.held) != 0 {
		t.Errorf("%d leased, %d held", leased(), len(mine.held))
	}
	// What was released belongs to who takes it next, whoever releases again.
	releaseOther, err := other.fixed(acme, first, "carol")
	if err != nil {
		t.Fatal(err)
	}
	releaseAgain()
	if leased() != 1 {
		t.Error("a late release took another session's address")
	}
	releaseOther()
	if _, _, err := mine.dynamic(acme+"/pools/nowhere", alice); !errors.Is(err, ippool.ErrNoPool) {
		t.Errorf("no pool: %v", err)
	}
	if _, err := mine.fixed(acme, netip.MustParseAddr("10.7.0.1"), alice); !errors.As(err, &used) || used.Owner != "" {
		t.Errorf("the gateway: %v", err)
	}
}
