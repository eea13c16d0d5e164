package accounting

import (
	"fmt"
	"time"
)

// request is one change on its way to the storage.
type request struct {
	key  string // what it changes: two with the same key go in commits of their own, in their order; empty: nothing shared
	cost int    // puts and deletions at most
	// prepare adds to b what is to be stored, as things are now, and returns what to do when it is. It is called under mu,
	// once. With an error nothing is added.
	prepare func(b *batch) (apply func(), err error)

	// Written and read by who has the turn.
	finished bool
	err      error
}

// batch is one commit in the making.
type batch struct {
	l       *Ledger
	puts    []Item
	deletes []string
}

// id gives out the ID of a record. One whose commit fails is not used again: the storage may have it after all.
func (b *batch) id() uint64 {
	id := b.l.nextID
	b.l.nextID++
	return id
}

// put adds the record r, which gets its ID here, and returns what to do when it is stored.
func (b *batch) put(r Record) (apply func(), err error) {
	r.ID = b.id()
	item, err := encodeRecord(&r)
	if err != nil {
		return nil, err
	}
	b.puts = append(b.puts, item)
	key := recordKey{id: r.ID, status: r.Status, tenant: r.Tenant}
	if r.Session != nil {
		key.session = r.Session.SessionID
	}
	return func() { b.l.add(key, size(item)) }, nil
}

// idBlock is how many IDs are reserved at once: each such number of records, one more item is written.
const idBlock = 1 << 16

// commit makes a request durable, with those of others that wait. It returns when that is done.
//
// Whoever has the turn commits for all that wait, up to MaxOps; so commits are as large as the storage is slow, and nobody
// waits for a timer.
func (l *Ledger) commit(r *request) error {
	l.mu.Lock()
	l.queue = append(l.queue, r)
	l.mu.Unlock()
	l.turn <- struct{}{}
	for !r.finished {
		_ = l.commitBatch() // it is in r.err
	}
	<-l.turn
	return r.err
}

// commitBatch commits the first requests that wait, and returns how that went. The caller has the turn.
func (l *Ledger) commitBatch() error {
	b := &batch{l: l}
	l.mu.Lock()
	drop := l.chooseDrops(b)
	var done []*request
	var apply []func()
	touched := make(map[string]bool)
	for len(l.queue) > 0 {
		r := l.queue[0]
		if len(b.puts)+len(b.deletes)+r.cost > MaxOps-1 || r.key != "" && touched[r.key] { // the one is for metaKey
			break
		}
		l.queue[0], l.queue = nil, l.queue[1:]
		f, err := r.prepare(b)
		if err != nil {
			r.finished, r.err = true, err
			continue
		}
		touched[r.key] = true
		done, apply = append(done, r), append(apply, f)
	}
	reserve := l.nextID > l.reserved
	reserved := l.nextID + idBlock
	l.mu.Unlock()

	err := l.store(b, reserve, reserved)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && reserve {
		l.reserved = reserved
	}
	l.drop(drop, err == nil)
	for i, r := range done {
		r.finished, r.err = true, err
		if err == nil {
			apply[i]()
		}
	}
	return err
}

// store writes a batch. The caller has the turn.
func (l *Ledger) store(b *batch, reserve bool, reserved uint64) error {
	if reserve {
		value, err := seal(metaForm{NextID: reserved})
		if err != nil {
			return err
		}
		b.puts = append(b.puts, Item{Key: metaKey, Value: value})
	}
	if len(b.puts)+len(b.deletes) == 0 {
		return nil
	}
	if err := l.cfg.Storage.Commit(b.puts, b.deletes); err != nil {
		return fmt.Errorf("write to the accounting store: %w", err)
	}
	return nil
}

// now is the time that a record without one of its own gets.
func (l *Ledger) now() time.Time { return l.cfg.Now() }
