package ikev1

import (
	"hash/maphash"
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

// bucket limits how often something is done in the whole Engine.
type bucket struct {
	rate, burst float64
	tokens      float64
	filled      time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.filled.IsZero() {
		b.tokens = b.burst
	} else {
		b.tokens = min(b.burst, b.tokens+now.Sub(b.filled).Seconds()*b.rate)
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Under a flood a first message is only answered when it comes again, which invented addresses don't do and every client
// does. What has come is remembered in a table of fixed size, half a mebibyte: at 10 000 messages a second three of four
// clients are remembered until their first repetition after 4 s, at 2000 nearly all.
const (
	repeatWays  = 4
	repeatSets  = 1 << 14
	repeatAfter = 300 * time.Millisecond // sooner it is a copy that the network or the sender of a flood made
	repeatUntil = 30 * time.Second
)

type repeatSlot struct {
	tag  uint32
	seen uint32 // milliseconds since the table was made
}

// repeatTable remembers first messages by a keyed hash. It belongs to the door. The zero table is ready.
type repeatTable struct {
	seed  maphash.Seed
	begun time.Time
	sets  [][repeatWays]repeatSlot // in each the oldest goes first
}

// repeated says whether a first message has come before, and remembers it.
func (t *repeatTable) repeated(now time.Time, p Path, msg []byte) bool {
	if t.sets == nil {
		t.seed, t.begun, t.sets = maphash.MakeSeed(), now, make([][repeatWays]repeatSlot, repeatSets)
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	a := p.Remote.Addr().As16()
	_, _ = h.Write(a[:])
	_, _ = h.Write(msg)
	sum := h.Sum64()
	set := &t.sets[sum%repeatSets]
	tag, at := uint32(sum>>32)|1, uint32(now.Sub(t.begun).Milliseconds())
	place := 0
	for i, s := range set {
		if s.tag == tag {
			switch age := time.Duration(at-s.seen) * time.Millisecond; {
			case age < repeatAfter:
				return false
			case age <= repeatUntil:
				return true
			}
			place = i
			break
		}
		if at-s.seen > at-set[place].seen || s.tag == 0 && set[place].tag != 0 {
			place = i
		}
	}
	set[place] = repeatSlot{tag, at}
	return false
}
