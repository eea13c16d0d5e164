package accounting

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"
)

// TenantStatus is how one tenant's accounting goes. Counts of what has happened begin when the process does.
type TenantStatus struct {
	Tenant      string    // its ID
	Unsent      int       // records that are stored and not acknowledged
	UnsentBytes int64     // what they count for in Config.MaxBytes
	Oldest      time.Time // when what the oldest of them tells happened; zero: there is none
	Live        int       // sessions that have begun and not ended
	Dropped     uint64    // Interims that were dropped because the store was full
	Sent        uint64    // records that were acknowledged
	Failures    uint64    // tries that were not
	LastError   string    // of the last of these; empty: there was none
	LastSent    time.Time // of the last acknowledgement; zero: there was none
}

// Status returns the state of one tenant, or with an empty name, of all that have had a session or a record since the
// process started, by ID. It reads one record of each from the Storage.
func (l *Ledger) Status(tenant string) []TenantStatus {
	l.mu.Lock()
	var all []TenantStatus
	oldest := make(map[string]recordKey)
	for id, q := range l.queues {
		if tenant != "" && tenant != id {
			continue
		}
		all = append(all, TenantStatus{
			Tenant: id, Unsent: q.unsent, UnsentBytes: q.bytes, Live: q.live, Dropped: q.dropped, Sent: q.sent,
			Failures: q.failures, LastError: q.lastError, LastSent: q.lastSent,
		})
		if keys, _ := q.list(0, 1); len(keys) > 0 {
			oldest[id] = keys[0].key
		}
	}
	l.mu.Unlock()
	for i := range all {
		if key, ok := oldest[all[i].Tenant]; ok {
			if r, err := l.read(key); err == nil {
				all[i].Oldest = r.Time
			}
		}
	}
	slices.SortFunc(all, func(a, b TenantStatus) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return all
}

// maxUnsent is how many records one call of Unsent returns at most.
const maxUnsent = 1000

// Unsent returns the records of a tenant that are not acknowledged, in the order of their IDs, beginning behind the ID
// after; at most limit and at most 1000, 0 meaning 1000. more says that there were others behind them. One that has gone
// meanwhile, or that can't be read, is passed over.
func (l *Ledger) Unsent(tenant string, after uint64, limit int) (records []Record, more bool) {
	if limit <= 0 || limit > maxUnsent {
		limit = maxUnsent
	}
	l.mu.Lock()
	var keys []listed
	if q := l.queues[tenant]; q != nil {
		keys, more = q.list(after, limit)
	}
	l.mu.Unlock()
	for _, k := range keys {
		if r, err := l.read(k.key); err == nil {
			r.Attempts = k.attempts
			records = append(records, r)
		}
	}
	return records, more
}

// read reads one record.
func (l *Ledger) read(key recordKey) (Record, error) {
	value, err := l.cfg.Storage.Get(key.String())
	if err != nil {
		return Record{}, fmt.Errorf("read from the accounting store: %w", err)
	}
	r, err := decodeRecord(key, value)
	if err != nil {
		return Record{}, fmt.Errorf("item %q of the accounting store: %w", key, err)
	}
	return r, nil
}

// listed is one record of a list.
type listed struct {
	key      recordKey
	attempts int
}

// list returns the first records behind the ID after. The caller holds the Ledger's mu.
func (q *queue) list(after uint64, limit int) (keys []listed, more bool) {
	next := make(cursors, 0, len(q.chains))
	for _, c := range q.chains {
		if i, found := c.find(after); found && i+1 < len(c.entries) {
			next = append(next, cursor{chain: c, index: i + 1})
		} else if !found && i < len(c.entries) {
			next = append(next, cursor{chain: c, index: i})
		}
	}
	heap.Init(&next)
	for len(next) > 0 {
		if len(keys) == limit {
			return keys, true
		}
		at := &next[0]
		k := listed{key: q.key(at.chain, at.chain.entries[at.index])}
		if at.index == 0 {
			k.attempts = at.chain.attempts
		}
		keys = append(keys, k)
		at.index++
		next.settle(at.index < len(at.chain.entries))
	}
	return keys, false
}
