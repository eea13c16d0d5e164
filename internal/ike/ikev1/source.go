package ikev1

import (
	"net/netip"
	"time"
)

// sourceOf is what limits for one source count by: an IPv4 address, or the /64 that one IPv6 user has for himself.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// knownFactor is how much more a source may do that somebody has authenticated from: many users may share its address.
const knownFactor = 10

// maxSources bounds the sources that are remembered. Beyond it those go that owe nothing.
const maxSources = 8192

// source is one address that sends first messages.
type source struct {
	phase1 int // exchanges in phase 1, half-open ones included
	tokens float64
	filled time.Time // when tokens was right
	known  bool      // somebody has authenticated from it
}

// sourceTable limits what one source may do. It is guarded by Engine.mu.
type sourceTable struct {
	rate, burst float64
	halfOpen    int
	m           map[netip.Addr]*source
}

func (t *sourceTable) init(cfg Config) {
	t.rate, t.burst, t.halfOpen = float64(cfg.MainModesPerSecond), float64(cfg.MainModeBurst), cfg.HalfOpenPerSource
	t.m = map[netip.Addr]*source{}
}

// allow says whether a first message of an address may be looked at, and takes a token for it.
func (t *sourceTable) allow(now time.Time, a netip.Addr, known bool) bool {
	factor := 1.0
	if known {
		factor = knownFactor
	}
	a = sourceOf(a)
	s := t.m[a]
	if s == nil {
		if len(t.m) >= maxSources {
			t.sweep(now)
		}
		s = &source{tokens: t.burst * factor, filled: now, known: known}
		t.m[a] = s
	}
	if known && !s.known { // the others behind its NAT come at once
		s.known, s.tokens = true, s.tokens+t.burst*(knownFactor-1)
	}
	s.tokens = min(t.burst*factor, s.tokens+now.Sub(s.filled).Seconds()*t.rate*factor)
	s.filled = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// sweep forgets the sources without an exchange whose bucket is full again; if that is not enough, as in a flood, all
// without an exchange.
func (t *sourceTable) sweep(now time.Time) {
	for a, s := range t.m {
		if s.phase1 == 0 && s.tokens+now.Sub(s.filled).Seconds()*t.rate >= t.burst {
			delete(t.m, a)
		}
	}
	if len(t.m) < maxSources {
		return
	}
	for a, s := range t.m {
		if s.phase1 == 0 {
			delete(t.m, a)
		}
	}
}

// full says whether an address has as many exchanges in phase 1 as it may.
func (t *sourceTable) full(a netip.Addr, known bool) bool {
	limit := t.halfOpen
	if known {
		limit *= knownFactor
	}
	s := t.m[sourceOf(a)]
	return limit > 0 && s != nil && s.phase1 >= limit
}

// add counts an exchange in phase 1, remove forgets it.
func (t *sourceTable) add(a netip.Addr) {
	a = sourceOf(a)
	if t.m[a] == nil {
		t.m[a] = &source{}
	}
	t.m[a].phase1++
}

func (t *sourceTable) remove(a netip.Addr) {
	if s := t.m[sourceOf(a)]; s != nil && s.phase1 > 0 {
		s.phase1--
	}
}

// goodKey is a pre-shared key by its place in a policy.
type goodKey struct{ tenant, psk string }

// maxGood bounds the sources whose last good key is remembered; the oldest goes first.
const maxGood = 4096

// goodTable remembers, for a source, whose key was good last, so that it is tried first. It is guarded by Engine.mu.
type goodTable struct {
	m     map[netip.Addr]goodKey
	order []netip.Addr // ring of the keys of m, oldest at next
	next  int
}

func (t *goodTable) init() { t.m = map[netip.Addr]goodKey{} }

func (t *goodTable) put(a netip.Addr, k goodKey) {
	a = sourceOf(a)
	if _, ok := t.m[a]; !ok {
		if len(t.order) < maxGood {
			t.order = append(t.order, a)
		} else {
			delete(t.m, t.order[t.next])
			t.order[t.next] = a
			t.next = (t.next + 1) % maxGood
		}
	}
	t.m[a] = k
}

func (t *goodTable) get(a netip.Addr) (goodKey, bool) {
	k, ok := t.m[sourceOf(a)]
	return k, ok
}
