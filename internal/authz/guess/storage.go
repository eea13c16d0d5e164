package guess

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"concentrator/internal/tenant"
)

// Item is one key of a Storage with its value.
type Item struct {
	Key   string // at most 1024 octets
	Value []byte // at most 4 KiB; borrowed until the call that it is given to returns
}

// MaxOps is how many puts and deletions one Storage.Commit is given at most.
const MaxOps = 100

// Storage is where a Guard keeps its items, which are all that it holds. Only one Guard may use it at a time.
type Storage interface {
	// Load calls fn with every item, in any order, and ends with fn's error if that is not nil. The value is borrowed
	// until fn returns.
	Load(fn func(key string, value []byte) error) error
	// Commit does all puts and deletions, at most MaxOps together and no key twice, or nothing. Once it has returned
	// nil, they survive the death of the process. Deleting a key that is not there is no error.
	Commit(puts []Item, deletes []string) error
}

// kept is where something is remembered.
type kept byte

const (
	inUsers   kept = 'u'
	inSources kept = 's'
	inKnown   kept = 'k'
	inTenant  kept = 't'
)

// ref names one thing that is remembered, as one item.
type ref struct {
	tenant string
	in     kept
	key    string // in its table
}

func (r ref) String() string {
	return r.tenant + "/" + string(rune(r.in)) + "/" + url.PathEscape(r.key)
}

// errKey is returned for the key of an item that is none of ours.
var errKey = errors.New("no key of a guess item")

func parseRef(key string) (ref, error) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || len(parts[1]) != 1 || tenant.CheckID(parts[0]) != nil {
		return ref{}, errKey
	}
	text, err := url.PathUnescape(parts[2])
	r := ref{parts[0], kept(parts[1][0]), text}
	switch {
	case err != nil, r.String() != key, len(text) > tenant.MaxUser, (text == "") && r.in == inSources, text != "" && r.in == inTenant:
		return ref{}, errKey
	}
	switch r.in {
	case inUsers, inSources, inKnown, inTenant:
		return r, nil
	}
	return ref{}, errKey
}

// storedCounter is a counter as an item. Times are milliseconds since 1970.
type storedCounter struct {
	Level float64 `json:"n,omitempty"`
	At    int64   `json:"at,omitempty"`
	Until int64   `json:"until,omitempty"`
}

// storedKnown is a known user as an item.
type storedKnown struct {
	Sources []storedSource `json:"sources"`
}

type storedSource struct {
	Source netip.Addr `json:"source"`
	Last   int64      `json:"last"`
	storedCounter
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (c *counter) store() storedCounter {
	return storedCounter{Level: c.level, At: millis(c.at), Until: millis(c.until)}
}

// counter makes the counter of an item, within what its policy can come to: the clock may have been set meanwhile, and the
// policy may be another one.
func (s storedCounter) counter(p Policy, now time.Time) counter {
	c := counter{level: max(0, min(s.Level, p.top())), at: fromMillis(s.At), until: fromMillis(s.Until)}
	if c.at.After(now) {
		c.at = now
	}
	if last := now.Add(p.Max); c.until.After(last) {
		c.until = last
	}
	c.drain(p, now)
	return c
}

// encode makes the item of a ref as things stand; false: there is nothing to remember. mu is held.
func (g *Guard) encode(r ref, now time.Time) ([]byte, bool) {
	t := g.tenants[r.tenant]
	if t == nil {
		return nil, false
	}
	var c *counter
	var p Policy
	switch r.in {
	case inUsers:
		c, p = t.users.get(r.key), g.policies.User
	case inSources:
		c, p = t.sources.get(r.key), g.policies.Source
	case inTenant:
		c, p = &t.tenant, g.policies.Tenant
	case inKnown:
		k := t.known.get(r.key)
		if k == nil {
			return nil, false
		}
		var s storedKnown
		for i := range k.sources {
			from := &k.sources[i]
			s.Sources = append(s.Sources, storedSource{Source: from.source, Last: millis(from.last), storedCounter: from.store()})
		}
		b, err := json.Marshal(s)
		return b, err == nil
	}
	if c == nil || c.idle(p, now) {
		return nil, false
	}
	b, err := json.Marshal(c.store())
	return b, err == nil
}

// loaded is an item that was read, with what it is sorted by.
type loaded struct {
	ref
	counter storedCounter
	known   storedKnown
	at      int64
}

// decode reads one item. The error is that of an item that is none.
func decode(key string, value []byte) (loaded, error) {
	r, err := parseRef(key)
	if err != nil {
		return loaded{}, err
	}
	l := loaded{ref: r}
	if r.in != inKnown {
		err = json.Unmarshal(value, &l.counter)
		l.at = l.counter.At
		return l, err
	}
	if err = json.Unmarshal(value, &l.known); err != nil {
		return l, err
	}
	if n := len(l.known.Sources); n == 0 || n > maxKnown {
		return l, errKey
	}
	for _, s := range l.known.Sources {
		if !s.Source.IsValid() {
			return l, errKey
		}
		l.at = max(l.at, s.Last)
	}
	return l, nil
}

// maxLoaded bounds what is read of a storage: more than a Guard writes for some fifty tenants that are flooded.
const maxLoaded = 1 << 18

// load reads the storage. What can't be read, or is too much, is deleted from it.
func (g *Guard) load() error {
	var all []loaded
	var bad []string
	err := g.storage.Load(func(key string, value []byte) error {
		l, err := decode(key, value)
		switch {
		case err == nil && len(all) < maxLoaded:
			all = append(all, l)
		case len(bad) < MaxOps:
			bad = append(bad, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The one last used comes last, as when they were made.
	slices.SortFunc(all, func(a, b loaded) int { return int(max(-1, min(1, a.at-b.at))) })
	g.mu.Lock()
	now := g.now()
	for _, l := range all {
		g.restore(l, now)
	}
	g.mu.Unlock()
	if len(bad) > 0 {
		if err := g.storage.Commit(nil, bad); err != nil {
			return fmt.Errorf("delete %d items that can't be read: %w", len(bad), err)
		}
	}
	return nil
}

// restore puts an item back to where it was. mu is held.
func (g *Guard) restore(l loaded, now time.Time) {
	t := g.of(l.tenant)
	var p Policy
	var into func() *counter
	switch l.in {
	case inUsers:
		p, into = g.policies.User, func() *counter { return t.users.use(l.key) }
	case inSources:
		p, into = g.policies.Source, func() *counter { return t.sources.use(l.key) }
	case inTenant:
		p, into = g.policies.Tenant, func() *counter { return &t.tenant }
	case inKnown:
		k := t.known.use(l.key)
		for _, s := range l.known.Sources {
			k.sources = append(k.sources, knownSource{s.Source, fromMillis(s.Last), s.counter(g.policies.Pair, now)})
		}
		return
	}
	c := l.counter.counter(p, now)
	if c.idle(p, now) {
		g.touch(l.ref) // which deletes it
		return
	}
	*into() = c
}
