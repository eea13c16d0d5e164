package ippool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// saveEvery is how old a change may be before it is written: what a crash costs of who had which address.
	saveEvery = time.Second
	// saveRetry is how long Keep waits at most, when writing fails again and again.
	saveRetry = time.Minute
	// MaxCommit is the most keys in one Commit.
	MaxCommit = 64
)

// Storage keeps who had which address over a restart. Calls never overlap.
type Storage interface {
	// Load calls fn with every key and value; value is borrowed until fn returns.
	Load(fn func(key string, value []byte) error) error
	// Commit puts and deletes up to MaxCommit keys, all of them or none; no value has more than MaxValue octets.
	Commit(puts []Item, deletes []string) error
}

// Item is a key with its value.
type Item struct {
	Key   string
	Value []byte
}

// blockBits is the length of the prefix of a block: the addresses that one value holds.
const blockBits = 24

// block is one value in the Storage: a pool's addresses under one prefix.
type block struct {
	pool string
	base uint32 // the first address
}

func blockOf(pool string, a uint32) block { return block{pool, a &^ (1<<(32-blockBits) - 1)} }

func (b block) key() string { return b.pool + "/" + toAddr(b.base).String() }

// parseKey is the inverse of key.
func parseKey(key string) (block, error) {
	i := strings.LastIndexByte(key, '/')
	a, err := netip.ParseAddr(key[i+1:])
	if err != nil || !a.Is4() || i <= 0 || !strings.Contains(key[:i], "/pools/") {
		return block{}, fmt.Errorf("key %q is not of a pool's addresses", key)
	}
	b := block{key[:i], toNumber(a)}
	if b != blockOf(b.pool, b.base) {
		return block{}, fmt.Errorf("key %q does not begin a /%d", key, blockBits)
	}
	return b, nil
}

// books is what is known of the Storage. It is guarded by Pools.mu.
type books struct {
	kept   bool                  // there is a Storage
	dirty  map[block]struct{}    // blocks that changed since they were written
	stored map[block]struct{}    // blocks that are in the Storage
	junk   []string              // keys there that mean nothing
	loaded map[string][]released // by pool, until it is configured
}

func (b *books) mark(pool string, a uint32) {
	if b.kept {
		b.dirty[blockOf(pool, a)] = struct{}{}
	}
}

// take returns what was loaded for a pool, once.
func (b *books) take(pool string) []released {
	list := b.loaded[pool]
	delete(b.loaded, pool)
	return list
}

// drop has all blocks of a pool looked at again by the next Save.
func (b *books) drop(pool string) {
	delete(b.loaded, pool)
	for at := range b.stored {
		if at.pool == pool {
			b.dirty[at] = struct{}{}
		}
	}
}

// recall takes in what was loaded: addresses that the pool still has. One that was held when the last run ended is
// released now, since its session ended with that run.
func (p *pool) recall(list []released, leases map[uint32]lease, now time.Time) {
	for i := range list {
		// A time of another run's clock becomes one of this run's; what lies ahead of it is now.
		age := time.Duration(0)
		if at := list[i].at; at.IsZero() {
			p.mark(list[i].addr)
		} else {
			age = max(0, now.Sub(at))
		}
		list[i].at = now.Add(-age)
	}
	slices.SortStableFunc(list, func(a, b released) int { return a.at.Compare(b.at) })
	for _, r := range list {
		_, leased := leases[r.addr]
		if _, known := p.history.get(r.addr); leased || known || !contains(p.spec.usable, r.addr) {
			p.mark(r.addr)
			continue
		}
		p.remember(r)
	}
}

// Load reads who had which address in an earlier run, and has changes noted for Save from now on. It is called once,
// before the first Configure. After an error what could be read is there all the same: an unreadable value costs its
// users their addresses, and is deleted by the next Save.
func (ps *Pools) Load(s Storage) error {
	loaded, stored := make(map[string][]released), make(map[block]struct{})
	var junk []string
	var bad error // the first
	err := s.Load(func(key string, value []byte) error {
		b, err := parseKey(key)
		var list []released
		if err == nil {
			list, err = decodeBlock(b, value)
		}
		if err != nil {
			if bad == nil {
				bad = fmt.Errorf("%s: %w", key, err)
			}
			junk = append(junk, key)
			return nil
		}
		stored[b] = struct{}{}
		loaded[b.pool] = append(loaded[b.pool], list...)
		return nil
	})
	if bad != nil {
		err = errors.Join(err, fmt.Errorf("%d values are unreadable, such as %w", len(junk), bad))
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.books = books{kept: true, dirty: make(map[block]struct{}), stored: stored, junk: junk, loaded: loaded}
	if err != nil {
		return fmt.Errorf("load leases: %w", err)
	}
	return nil
}

// Retain forgets what was loaded for pools that are not configured, but for those that keep says yes to: pools that were
// deleted while the daemon was down.
func (ps *Pools) Retain(keep func(pool string) bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for name := range ps.books.loaded {
		if !keep(name) {
			ps.books.drop(name)
		}
	}
}

// Save writes what had changed since the last Save when it was called. After an error the rest is written by the next
// one.
func (ps *Pools) Save(s Storage) error {
	ps.saving.Lock()
	defer ps.saving.Unlock()
	ps.mu.Lock()
	left := len(ps.books.dirty) + len(ps.books.junk)
	ps.mu.Unlock()
	for left > 0 {
		batch, puts, deletes := ps.changes()
		if len(puts)+len(deletes) == 0 {
			return nil
		}
		err := s.Commit(puts, deletes)
		ps.settle(batch, puts, deletes, err)
		if err != nil {
			return fmt.Errorf("save leases: %w", err)
		}
		left -= len(puts) + len(deletes)
	}
	return nil
}

// changes takes up to MaxCommit keys that changed: the blocks among them, and what is to be done. The lock is held for
// no more than these, so that no login waits long.
func (ps *Pools) changes() (batch []block, puts []Item, deletes []string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	deletes = append(deletes, ps.books.junk[:min(len(ps.books.junk), MaxCommit)]...)
	for b := range ps.books.dirty {
		if len(puts)+len(deletes) >= MaxCommit {
			break
		}
		delete(ps.books.dirty, b)
		_, stored := ps.books.stored[b]
		value := ps.encode(b)
		switch {
		case value != nil:
			puts = append(puts, Item{b.key(), value})
		case stored:
			deletes = append(deletes, b.key())
		default:
			continue
		}
		batch = append(batch, b)
	}
	return batch, puts, deletes
}

// settle notes what a Commit of changes came to.
func (ps *Pools) settle(batch []block, puts []Item, deletes []string, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if err != nil {
		for _, b := range batch {
			ps.books.dirty[b] = struct{}{}
		}
		return
	}
	ps.books.junk = ps.books.junk[min(len(ps.books.junk), MaxCommit):]
	for _, k := range deletes {
		if b, err := parseKey(k); err == nil {
			delete(ps.books.stored, b)
		}
	}
	for _, p := range puts {
		b, err := parseKey(p.Key)
		if err != nil {
			continue
		}
		ps.books.stored[b] = struct{}{}
		if sc := ps.scopes[scopeName(b.pool)]; sc == nil || sc.pools[b.pool] == nil {
			ps.books.dirty[b] = struct{}{} // the pool was removed meanwhile
		}
	}
}

// encode makes the value of a block as it is now; nil: nothing is known of it. A block of a pool that is still to be
// configured does not change before.
func (ps *Pools) encode(b block) []byte {
	sc := ps.scopes[scopeName(b.pool)]
	if sc == nil || sc.pools[b.pool] == nil {
		return nil
	}
	p := sc.pools[b.pool]
	var list []released
	for i := range uint32(1 << (32 - blockBits)) {
		a := b.base + i
		if l, ok := sc.leases[a]; ok {
			if !l.forget && contains(p.spec.usable, a) {
				list = append(list, released{addr: a, user: l.user})
			}
		} else if r, ok := p.history.get(a); ok {
			list = append(list, r)
		}
	}
	return encodeBlock(list)
}

// Keep calls Save about once a second while there are changes, until ctx ends, and then once more. failed is told of each
// error, after which Keep waits longer, up to a minute.
func (ps *Pools) Keep(ctx context.Context, s Storage, failed func(error)) {
	for wait := saveEvery; ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			if err := ps.Save(s); err != nil {
				failed(err)
			}
			return
		case <-timer.C:
		}
		if err := ps.Save(s); err != nil {
			failed(err)
			wait = min(2*wait, saveRetry)
		} else {
			wait = saveEvery
		}
	}
}
