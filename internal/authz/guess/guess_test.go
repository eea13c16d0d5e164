package guess

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestBackOff: five failures are free, then each waits twice as long, up to the most.
func TestBackOff(t *testing.T) {
	w := newWorld(t)
	a := at("acme", "alice", home)
	for range 5 {
		w.mustTry(a, false)
	}
	for i, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		_, h := w.Allow(a)
		// Time forgives a little meanwhile, so it is a little less from the second on.
		if h == nil || h.Kind != KindUser || h.Wait > want || h.Wait < want*9/10 {
			t.Fatalf("after %d failures: %+v, want about %s", 5+i, h, want)
		}
		w.pass(h.Wait - 1)
		if w.try(a, false) {
			t.Fatalf("after %d failures: let in too early", 5+i)
		}
		w.pass(1)
		w.mustTry(a, false)
	}
	longest := time.Duration(0)
	for range 40 {
		if _, h := w.Allow(a); h != nil {
			longest = max(longest, h.Wait)
			w.pass(h.Wait)
			w.mustTry(a, false)
		}
	}
	if p := DefaultPolicies(); longest > p.Source.Max || longest < p.User.Max {
		t.Errorf("the longest wait was %s", longest)
	}
	w.pass(time.Hour)
	if w.mustTry(a, true); len(w.List("")) != 0 {
		t.Errorf("an hour later: %+v", w.List(""))
	}
}

// TestAnotherGuessesFromElsewhere: a user who comes from where a log-in has succeeded before is held up neither by guesses at
// the name from elsewhere, nor by guesses at other names from the same source, nor by those at the whole tenant.
func TestAnotherGuessesFromElsewhere(t *testing.T) {
	w := newWorld(t)
	alice := at("acme", "alice", home)
	w.mustTry(alice, true)
	w.guesses(10*time.Minute, func(int) Attempt { return at("acme", "alice", enemy) })
	w.guesses(10*time.Minute, func(i int) Attempt { return at("acme", fmt.Sprint("name", i), home) })
	for i := range 500 { // the tenant's level is reached at once
		w.try(at("acme", fmt.Sprint("n", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250)), false)
	}
	kinds := make(map[Kind]bool)
	for _, l := range w.List("acme") {
		kinds[l.Kind] = true
	}
	if !kinds[KindUser] || !kinds[KindSource] || !kinds[KindTenant] {
		t.Fatalf("held up are %v, want all three kinds", kinds)
	}
	if w.try(at("acme", "alice", enemy), true) || w.try(at("acme", "bob", home), true) || w.try(at("acme", "bob", hotel), true) {
		t.Error("somebody unknown is not held up")
	}
	for range 3 {
		w.mustTry(alice, true)
	}
	w.mustTry(at("acme", "ALICE", home), true)
	w.mustTry(at("beta", "alice", enemy), true) // tenants are apart
	// Her own failures from there do count, and only there.
	for range 5 {
		w.mustTry(alice, false)
	}
	if _, h := w.Allow(alice); h == nil || h.Kind != KindUser || !h.Known || h.Failures != 5 {
		t.Errorf("her own failures: %+v", h)
	}
}

// TestNewPlaceDuringAnAttack: one source that guesses as fast as it may keeps a user from a new address out for a while, not
// for good.
func TestNewPlaceDuringAnAttack(t *testing.T) {
	w := newWorld(t)
	w.guesses(2*time.Hour, func(int) Attempt { return at("acme", "alice", enemy) })
	for i := range 30 {
		if w.try(at("acme", "alice", hotel), true) {
			return
		}
		for range 10 { // the enemy is faster
			w.try(at("acme", "alice", enemy), false)
			w.pass(time.Second)
		}
		if i == 29 {
			t.Error("not in within five minutes")
		}
	}
}

// TestHowManyGuesses: what a guesser gets in a day, whichever way.
func TestHowManyGuesses(t *testing.T) {
	for _, c := range []struct {
		name string
		most int
		a    func(i int) Attempt
	}{
		{"one source, one name", 500, func(int) Attempt { return at("acme", "alice", enemy) }},
		{"one source, every name", 520, func(i int) Attempt { return at("acme", fmt.Sprint("u", i), enemy) }},
		{"every source, one name", 1500, func(i int) Attempt {
			return at("acme", "alice", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
		}},
		{"one name in other letters", 500, func(i int) Attempt {
			return at("acme", []string{"alice", "ALICE", "Alice", "aLICE"}[i%4], enemy)
		}},
		{"one IPv6 subscriber", 500, func(i int) Attempt { return at("acme", "alice", fmt.Sprintf("2001:db8:1:2::%x", i%65536)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			n := w.guesses(24*time.Hour, c.a)
			if n > c.most || n < 100 {
				t.Errorf("%d guesses in a day, want at most %d", n, c.most)
			}
		})
	}
}

// TestOneByOne: guesses that come at once don't slip through while the first of them is not decided, once there were enough
// failures; before that many users may log in at once from one source.
func TestOneByOne(t *testing.T) {
	w := newWorld(t)
	for i := range 200 { // all devices of an office, after a power cut
		if p, h := w.Allow(at("acme", fmt.Sprint("u", i), home)); p == nil {
			t.Fatalf("user %d: %+v", i, h)
		}
	}
	a := at("acme", "alice", enemy)
	for range 5 {
		w.mustTry(a, false)
	}
	w.pass(10 * time.Second)
	first, _ := w.Allow(a)
	second, h := w.Allow(a)
	if first == nil || second != nil || h.Kind != KindUser {
		t.Fatalf("two at once: %v, %v", first, h)
	}
	first.Drop() // nobody answered: the next one may at once
	first.Fail() // it is over
	third, h := w.Allow(a)
	if third == nil {
		t.Fatalf("after one without an answer: %+v", h)
	}
	third.Succeed()
	if l := w.List("acme"); len(l) != 1 || !l[0].Until.IsZero() || l[0].Failures != 5 {
		t.Errorf("after a success: %+v", l)
	}
	var none *Pass
	none.Fail()
	none.Succeed()
	none.Drop()
}

// TestOwnAccountEarnsNothing: who has an account can't have guesses forgiven by logging in with it.
func TestOwnAccountEarnsNothing(t *testing.T) {
	w := newWorld(t)
	mallory := at("acme", "anonymous", enemy) // EAP shows one outer name for many users
	n := 0
	w.mustTry(mallory, true)
	for range 3600 {
		if w.try(mallory, false) {
			n++
			w.try(mallory, true)
		}
		w.pass(time.Second)
	}
	if n > 80 {
		t.Errorf("%d guesses in an hour", n)
	}
}

// TestFloodOfNames: made-up names push out each other, never a known source nor a name with many failures.
func TestFloodOfNames(t *testing.T) {
	w := newWorld(t)
	w.mustTry(at("acme", "alice", home), true)
	for range 5 {
		w.mustTry(at("acme", "bob", enemy), false)
	}
	w.mu.Lock()
	w.policies.Tenant.Free = 1 << 30 // as if nothing slowed the flood down
	w.mu.Unlock()
	for i := range 5 * maxUsers {
		w.try(at("acme", fmt.Sprint("made-up-", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250)), false)
	}
	s := w.tenants["acme"]
	if n, m := len(s.users.byKey), len(s.sources.byKey); n != maxUsers || m != maxSources || s.users.order.Len() != n {
		t.Errorf("%d names and %d sources are remembered", n, m)
	}
	if s.users.get("bob") == nil {
		t.Error("the name with five failures was pushed out")
	}
	if s.known.get("alice").from(netip.MustParseAddr(home)) == nil {
		t.Error("a known source was pushed out")
	}
	for i := range 2 * maxKnown {
		w.mustTry(at("acme", "alice", fmt.Sprintf("10.200.0.%d", i)), true)
	}
	if n := len(s.known.get("alice").sources); n != maxKnown {
		t.Errorf("known from %d sources", n)
	}
}

// TestShared: where many users come from one source, as through a LAC, it is not held up.
func TestShared(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		a := at("acme", fmt.Sprint("u", i), home)
		a.Shared = true
		w.mustTry(a, false)
	}
	if l := w.List("acme"); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

// TestPerSecond: the tenant's rate, and that a flood leaves half of the burst and all of the rate to known users.
func TestPerSecond(t *testing.T) {
	w := newWorld(t)
	known := at("acme", "alice", home)
	w.mustTry(known, true)
	known.PerSecond = 5
	flood := func() (n int) {
		for i := range 50 {
			a := at("acme", fmt.Sprint("u", i), fmt.Sprintf("10.0.0.%d", i))
			a.PerSecond = 5
			if p, h := w.Allow(a); p != nil {
				p.Drop()
				n++
			} else if h.Kind != "" || h.Wait <= 0 || h.Wait > time.Second {
				t.Fatalf("held up by %+v", h)
			}
		}
		return n
	}
	if n := flood(); n != 5 {
		t.Errorf("%d of a flood at once, want 5", n)
	}
	for i := range 5 {
		if !w.try(known, true) {
			t.Errorf("known user %d is held up by the flood", i)
		}
	}
	if w.try(known, true) {
		t.Error("more than the tenant may")
	}
	total := 0
	for range 60 {
		w.pass(time.Second)
		total += flood()
		for w.try(known, true) {
			total++
		}
	}
	if total < 5*60-5 || total > 5*60+5 {
		t.Errorf("%d in a minute, want 300", total)
	}
}

func TestListAndLift(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.try(at("acme", "al/ice\xff", enemy), false)
		if i < 5 {
			w.try(at("beta", "bob", enemy6), false)
		}
		w.pass(10 * time.Second)
	}
	all := w.List("")
	var got []string
	for _, l := range all {
		got = append(got, fmt.Sprintf("%s %s %q", l.Tenant, l.Kind, l.Subject))
	}
	want := `acme SOURCE "192.0.2.66", acme USER "al/ice\xff"`
	if s := strings.Join(got, ", "); s != want {
		t.Fatalf("got %s, want %s", s, want)
	}
	for _, l := range all {
		if l.ID == "" || strings.Contains(l.ID, "/") || l.Failures < 5 {
			t.Errorf("%+v", l)
		}
		if w.Lift("beta", l.ID) || !w.Lift("acme", l.ID) || w.Lift("acme", l.ID) {
			t.Errorf("lifting %s", l.ID)
		}
	}
	if l := w.List("acme"); len(l) != 0 {
		t.Errorf("left: %+v", l)
	}
	w.mustTry(at("acme", "al/ice\xff", enemy), false)

	w.mustTry(at("acme", "carol", home), true)
	for range 5 {
		w.mustTry(at("acme", "carol", home), false)
	}
	l := w.List("acme")
	if len(l) != 1 || l[0].Source.String() != home || l[0].Subject != "carol" || l[0].Until.IsZero() {
		t.Fatalf("of a known user: %+v", l)
	}
	if !w.Lift("acme", l[0].ID) || len(w.List("acme")) != 0 {
		t.Error("not lifted")
	}
	w.mustTry(at("acme", "carol", home), true)
}

// TestDetail: each hold-up has a sentence of its own.
func TestDetail(t *testing.T) {
	seen := make(map[string]bool)
	for _, h := range []Held{
		{},
		{Kind: KindUser, Failures: 7, Wait: 1500 * time.Millisecond},
		{Kind: KindUser, Known: true, Failures: 7, Wait: 1500 * time.Millisecond},
		{Kind: KindSource, Failures: 7, Wait: 1500 * time.Millisecond},
		{Kind: KindTenant, Failures: 7, Wait: 1500 * time.Millisecond},
	} {
		d := h.Detail()
		if seen[d] || h.Kind != "" && (!strings.Contains(d, "7 failures") || !strings.Contains(d, "2s")) {
			t.Errorf("%+v: %q", h, d)
		}
		seen[d] = true
	}
}
