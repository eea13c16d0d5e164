package accounting

import (
	"container/heap"
	"slices"
	"sort"
	"time"
)

// entry is what is remembered of a record that is stored and not acknowledged: 16 octets, for there may be millions.
type entry struct {
	id     uint64
	size   uint32 // octets of its item
	status Status
}

// chain is the records of one session in their order, or one On or Off. Only the first, its head, may be under way.
type chain struct {
	key     chainKey
	entries []entry // by ID, never empty while the chain is in a schedule

	place place
	index int // in the heap that place names

	attempts int       // failures of the head since the process started
	fails    int       // failures of the head in a row, since the sink was last found well or changed
	disliked int       // those of them between which the sink has acknowledged other records
	seen     uint64    // schedule.acknowledged at the last failure of the head, at first at the begin of its first try
	due      time.Time // the head is not tried before
	probe    bool      // the head was sent while the sink was failing
	acked    bool      // the sink has the head; what is left is to delete it
}

// chainKey names a chain of one tenant.
type chainKey struct {
	session string // its ID; empty with On and Off
	id      uint64 // of the one record, with On and Off
}

// chain is which chain a record belongs to.
func (k recordKey) chain() chainKey {
	if k.status.barrier() {
		return chainKey{id: k.id}
	}
	return chainKey{session: k.session}
}

// place is where a chain stands in its schedule.
type place uint8

const (
	nowhere  place = iota
	ready          // may go
	delayed        // has failed and waits until due
	held           // waits for an On or Off before it
	barrier        // is the first On or Off, or one after that
	underWay       // its head is with the sink
	frozen         // some of its records are about to be dropped
)

func (c *chain) head() entry { return c.entries[0] }

// find returns the position of the record with the ID id.
func (c *chain) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(c.entries, id, func(e entry, id uint64) int {
		switch {
		case e.id < id:
			return -1
		case e.id > id:
			return 1
		}
		return 0
	})
}

// fresh forgets all that is known of the head: there is a new one, or a new sink.
func (c *chain) fresh() {
	c.attempts, c.fails, c.disliked, c.due, c.acked = 0, 0, 0, time.Time{}, false
}

// chains is a heap of chains, and says for each where it is.
type chains struct {
	list []*chain
	less func(a, b *chain) bool
}

// byFailures puts what has failed least first, among those the oldest.
func byFailures(a, b *chain) bool {
	if a.fails != b.fails {
		return a.fails < b.fails
	}
	return a.head().id < b.head().id
}

// byDue puts what is due first first.
func byDue(a, b *chain) bool { return a.due.Before(b.due) }

// byHead puts the oldest first.
func byHead(a, b *chain) bool { return a.head().id < b.head().id }

var _ heap.Interface = (*chains)(nil)

// Len implements sort.Interface.
func (h *chains) Len() int { return len(h.list) }

// Less implements sort.Interface.
func (h *chains) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }

// Swap implements sort.Interface.
func (h *chains) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].index, h.list[j].index = i, j
}

// Push implements heap.Interface.
func (h *chains) Push(x any) {
	c, ok := x.(*chain)
	if !ok {
		return // nothing else is ever pushed
	}
	c.index = len(h.list)
	h.list = append(h.list, c)
}

// Pop implements heap.Interface.
func (h *chains) Pop() any {
	last := len(h.list) - 1
	c := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	return c
}

func (h *chains) add(c *chain)    { heap.Push(h, c) }
func (h *chains) remove(c *chain) { heap.Remove(h, c.index) }

// first is the chain on top; nil if there is none.
func (h *chains) first() *chain {
	if len(h.list) == 0 {
		return nil
	}
	return h.list[0]
}

// take empties the heap, oldest heads first.
func (h *chains) take() []*chain {
	list := h.list
	h.list = nil
	sort.Slice(list, func(i, j int) bool { return byHead(list[i], list[j]) })
	return list
}
