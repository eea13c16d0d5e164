package guess

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"concentrator/internal/tenant"
)

// Bounds of what is remembered, of each tenant.
const (
	maxUsers      = 1024 // names that failed
	maxSources    = 1024 // sources that failed
	maxKnownUsers = 4096 // users who have logged in
)

// Config is what a Guard is made of. The zero value of each field means its default.
type Config struct {
	Policies Policies         // default DefaultPolicies
	Now      func() time.Time // default time.Now
	Storage  Storage          // nil: what is remembered ends with the process
	Log      *slog.Logger     // default: nothing is logged
}

// Guard decides whether an attempt may be made. It is safe for concurrent use.
type Guard struct {
	policies Policies
	now      func() time.Time
	storage  Storage
	log      *slog.Logger
	kick     chan struct{} // there is something to write

	mu      sync.Mutex
	tenants map[string]*state
	dirty   map[ref]struct{} // what the storage has not, or has otherwise
	warned  time.Time
}

// state is what is remembered of one tenant.
type state struct {
	users   table[counter] // by folded name
	sources table[counter] // by address
	known   table[known]   // by folded name
	tenant  counter
	bucket  bucket
}

// New makes a Guard that remembers nothing yet, whatever its storage has.
func New(c Config) *Guard {
	g := &Guard{
		policies: c.Policies, now: c.Now, storage: c.Storage, log: c.Log, kick: make(chan struct{}, 1),
		tenants: make(map[string]*state), dirty: make(map[ref]struct{}),
	}
	if g.policies == (Policies{}) {
		g.policies = DefaultPolicies()
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	return g
}

// Open makes a Guard and reads what the storage has of an earlier one. Items that can't be read are dropped and cost what
// they held; an error is the storage's own.
func Open(c Config) (*Guard, error) {
	g := New(c)
	if g.storage == nil {
		return g, nil
	}
	if err := g.load(); err != nil {
		return nil, fmt.Errorf("read the failed log-ins: %w", err)
	}
	return g, nil
}

// of returns the state of a tenant. mu is held.
func (g *Guard) of(tenantID string) *state {
	if t := g.tenants[tenantID]; t != nil {
		return t
	}
	worth := func(p Policy) func(*counter) float64 {
		return func(c *counter) float64 {
			c.drain(p, g.now())
			return c.level
		}
	}
	gone := func(k kept) func(string) { return func(key string) { g.touch(ref{tenantID, k, key}) } }
	t := &state{
		users:   newTable(maxUsers, worth(g.policies.User), gone(inUsers)),
		sources: newTable(maxSources, worth(g.policies.Source), gone(inSources)),
		known:   newTable(maxKnownUsers, func(*known) float64 { return 0 }, gone(inKnown)),
	}
	g.tenants[tenantID] = t
	return t
}

// Retain forgets all tenants that keep says no to.
func (g *Guard) Retain(keep func(tenantID string) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, t := range g.tenants {
		if keep(id) {
			continue
		}
		t.users.all(func(key string, _ *counter) { g.touch(ref{id, inUsers, key}) })
		t.sources.all(func(key string, _ *counter) { g.touch(ref{id, inSources, key}) })
		t.known.all(func(key string, _ *known) { g.touch(ref{id, inKnown, key}) })
		g.touch(ref{id, inTenant, ""})
		delete(g.tenants, id)
	}
}

// fold is what a user's name is remembered by: many backends don't tell "Alice" from "alice", so a guesser must not win by
// writing it otherwise. It is no longer than the longest name of a user.
func fold(user string) string {
	if utf8.ValidString(user) {
		user = strings.ToLower(user)
	} else {
		user = asciiLower(user)
	}
	return user[:min(len(user), tenant.MaxUser)]
}

// asciiLower is strings.ToLower that leaves all other octets alone.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// v6Source is how much of an IPv6 address is one source: a subscriber has a whole /64.
const v6Source = 64

// sourceOf is what an outer address is remembered by.
func sourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(v6Source); err == nil {
			return p.Addr()
		}
	}
	return a
}
