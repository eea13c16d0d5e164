package accounting

import (
	"container/heap"
	"slices"
	"time"

	"concentrator/internal/telemetry"
)

const (
	// maxDrops is how many records one commit drops at most. It is more than half of the commit, so that dropping keeps up
	// with what comes in.
	maxDrops = 64
	// dropLogEvery is how often a tenant's dropped records are logged at most.
	dropLogEvery = time.Minute
)

// drops are the records of one tenant that a commit drops.
type drops struct {
	q      *queue
	chains map[*chain][]uint64 // their IDs, in order
}

// chooseDrops adds to b the deletion of the oldest Interims of the tenant that has the most, if there is too much. Their
// chains are frozen until drop; but not one that is under way: its head stays, and cannot go before the commit that drop
// ends, because that would take a commit too. The caller holds mu.
func (l *Ledger) chooseDrops(b *batch) drops {
	over := l.bytes - l.cfg.MaxBytes
	if over <= 0 {
		return drops{}
	}
	var q *queue
	for _, other := range l.queues {
		if other.interims > 0 && (q == nil || other.bytes > q.bytes) {
			q = other
		}
	}
	if q == nil {
		return drops{}
	}
	d := drops{q: q, chains: make(map[*chain][]uint64)}
	oldest := oldestInterims(q)
	for len(oldest) > 0 && over > 0 && len(b.deletes) < maxDrops {
		at := &oldest[0]
		e := at.chain.entries[at.index]
		b.deletes = append(b.deletes, q.key(at.chain, e).String())
		over -= int64(e.size)
		if len(d.chains[at.chain]) == 0 && !at.chain.headStays() {
			q.sched.freeze(at.chain)
		}
		d.chains[at.chain] = append(d.chains[at.chain], e.id)
		oldest.settle(at.next(at.index + 1))
	}
	return d
}

// drop ends what chooseDrops began: with stored, the records are gone. The caller holds mu.
func (l *Ledger) drop(d drops, stored bool) {
	if d.q == nil {
		return
	}
	now := l.now()
	for c, ids := range d.chains {
		if stored {
			head := c.head().id
			c.entries = slices.DeleteFunc(c.entries, func(e entry) bool {
				_, gone := slices.BinarySearch(ids, e.id)
				if gone {
					l.forget(d.q, e)
				}
				return gone
			})
			d.q.dropped += uint64(len(ids))
			d.q.droppedUnlogged += len(ids)
			switch {
			case len(c.entries) == 0:
				delete(d.q.chains, c.key)
			case c.head().id != head:
				c.fresh()
			}
		}
		if c.place == frozen {
			d.q.sched.thaw(c, now)
		}
	}
	l.look(d.q)
	if d.q.droppedUnlogged > 0 && now.Sub(d.q.lastDropLog) >= dropLogEvery {
		l.cfg.Log.Warn("accounting store is full: oldest interim records were dropped",
			telemetry.Tenant, tenantName(d.q.tenant), telemetry.Count, d.q.droppedUnlogged)
		d.q.lastDropLog, d.q.droppedUnlogged = now, 0
	}
}

// cursor stands at a record of a chain.
type cursor struct {
	chain *chain
	index int
}

// next moves to the first Interim at or after index i.
func (c *cursor) next(i int) bool {
	for ; i < len(c.chain.entries); i++ {
		if c.chain.entries[i].status == Interim {
			c.index = i
			return true
		}
	}
	return false
}

// cursors is a heap, oldest record first.
type cursors []cursor

var _ heap.Interface = (*cursors)(nil)

// headStays says that the head must not be dropped: the sink has it, or may have it.
func (c *chain) headStays() bool { return c.place == underWay || c.acked }

// oldestInterims returns a cursor at the first Interim of each chain that may be dropped.
func oldestInterims(q *queue) cursors {
	var all cursors
	for _, c := range q.chains {
		first := 0
		if c.headStays() {
			first = 1
		}
		if at := (cursor{chain: c}); at.next(first) {
			all = append(all, at)
		}
	}
	heap.Init(&all)
	return all
}

// settle puts the first cursor where it belongs after it has moved; or takes it out, unless it is kept.
func (h *cursors) settle(keep bool) {
	if keep {
		heap.Fix(h, 0)
	} else {
		heap.Pop(h)
	}
}

// Len implements sort.Interface.
func (h *cursors) Len() int { return len(*h) }

// Less implements sort.Interface.
func (h *cursors) Less(i, j int) bool {
	a, b := (*h)[i], (*h)[j]
	return a.chain.entries[a.index].id < b.chain.entries[b.index].id
}

// Swap implements sort.Interface.
func (h *cursors) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push implements heap.Interface.
func (h *cursors) Push(x any) {
	if c, ok := x.(cursor); ok {
		*h = append(*h, c)
	}
}

// Pop implements heap.Interface.
func (h *cursors) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
