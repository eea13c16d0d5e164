package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A user with several sessions gets all addresses again, the last one first.
func TestUsersKeepAllOfTheirAddresses(t *testing.T) {
	ps := pools(t, small(9))
	var had []netip.Addr
	for i := range 3 {
		had = append(had, mustLease(t, ps, "alice", fmt.Sprint("s", i)))
	}
	for i, a := range had {
		ps.Release(poolName, a, fmt.Sprint("s", i))
	}
	if a := mustLease(t, ps, "bob", "b"); a == had[0] || a == had[1] || a == had[2] {
		t.Errorf("bob got %s, which alice had, while others were never used", a)
	}
	for i := 2; i >= 0; i-- {
		if a := mustLease(t, ps, "alice", "again"); a != had[i] {
			t.Errorf("alice got %s, want %s", a, had[i])
		}
	}
}

func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := small(2) // .1 and .2, as .0 is the gateway
		spec.Quarantine = time.Minute
		ps := pools(t, spec)
		a, b := mustLease(t, ps, "alice", "s1"), mustLease(t, ps, "bob", "s2")
		released := time.Now()
		ps.Release(poolName, a, "s1")
		time.Sleep(10 * time.Second)
		ps.Release(poolName, b, "s2")

		_, err := ps.Lease(poolName, "carol", "s3")
		full, ok := errors.AsType[*ExhaustedError](err)
		if !ok || !errors.Is(err, ErrExhausted) || full.Usage != (Usage{Size: 2, Quarantined: 2}) || !full.Until.Equal(released.Add(time.Minute)) {
			t.Fatalf("all in quarantine: %v", err)
		}
		if want := "0 of 2 are leased, 2 are in quarantine, the first until " + released.Add(time.Minute).UTC().Format(time.RFC3339); full.Counts() != want {
			t.Errorf("says %q, want %q", full.Counts(), want)
		}
		if _, err := ps.Lease(poolName, "", "s3"); !errors.Is(err, ErrExhausted) {
			t.Errorf("nobody in particular: %v", err)
		}
		if l, err := ps.LeaseOf(poolName, a); err != nil || !l.Until.Equal(released.Add(time.Minute)) {
			t.Errorf("lease %+v, %v", l, err)
		}
		// Its user gets it, and it is as new when it comes back.
		if got := mustLease(t, ps, "alice", "s4"); got != a {
			t.Errorf("alice got %s, had %s", got, a)
		}
		if u := ps.Usage(poolName); u != (Usage{Size: 2, Leased: 1, Quarantined: 1}) {
			t.Errorf("usage %+v", u)
		}
		time.Sleep(time.Second)
		ps.Release(poolName, a, "s4")
		time.Sleep(time.Minute - time.Nanosecond) // of alice's second release, and past bob's
		if got := mustLease(t, ps, "carol", "s5"); got != b {
			t.Errorf("carol got %s, want bob's %s", got, b)
		}
		if _, err := ps.Lease(poolName, "dave", "s6"); !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "1 of 2 are leased, 1 are") {
			t.Errorf("a moment before the end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if got := mustLease(t, ps, "dave", "s6"); got != a {
			t.Errorf("dave got %s, want %s", got, a)
		}
		if l, err := ps.LeaseOf(poolName, a); err != nil || l.Owner != "s6" || !l.Until.IsZero() {
			t.Errorf("lease %+v, %v", l, err)
		}
		// A static address is asked for by who has it by right.
		ps.Release(poolName, a, "s6")
		if err := ps.LeaseStatic(poolName, a, "erin", "s7"); err != nil {
			t.Errorf("static in quarantine: %v", err)
		}
		// Ended by configuration at once.
		ps.Release(poolName, a, "s7")
		spec.Quarantine = 0
		configure(t, ps, poolName, spec)
		if got := mustLease(t, ps, "frank", "s8"); got != a {
			t.Errorf("without quarantine frank got %s", got)
		}
		if _, err := ps.Lease(poolName, "gina", "s9"); !errors.Is(err, ErrExhausted) || strings.Contains(err.Error(), "quarantine") {
			t.Errorf("full: %v", err)
		}
	})
}

func TestQuarantineOfASpec(t *testing.T) {
	for q, ok := range map[time.Duration]bool{0: true, 1: true, MaxQuarantine: true, -1: false, MaxQuarantine + 1: false} {
		spec := small(9)
		spec.Quarantine = q
		_, err := ParseSpec(spec)
		fe, is := errors.AsType[*FieldError](err)
		if (err == nil) != ok || err != nil && (!is || fe.Field != "quarantine") {
			t.Errorf("%s: %v", q, err)
		}
	}
}
