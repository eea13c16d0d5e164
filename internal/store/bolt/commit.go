package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	bbolt "go.etcd.io/bbolt"

	"concentrator/internal/store"
)

// Bounds of a group of commits that share one transaction.
const (
	groupCommits = 256
	groupBytes   = 8 << 20
)

// request is one commit on its way through the writer.
type request struct {
	guards []store.Guard
	ops    []store.Op
	probe  bool          // there is nothing to write; try whether something could be
	done   chan struct{} // closed when the results below are set

	rev int64
	ok  bool
	err error
}

func (r *request) bytes() (n int) {
	for _, op := range r.ops {
		n += len(op.Key) + len(op.Value)
	}
	return n
}

// Commit implements store.KV.
func (d *DB) Commit(ctx context.Context, guards []store.Guard, ops []store.Op) (int64, bool, error) {
	if err := store.CheckCommit(guards, ops); err != nil {
		return 0, false, err
	}
	if err := d.usable(ctx); err != nil {
		return 0, false, err
	}
	start := time.Now()
	r := &request{guards: guards, ops: ops, done: make(chan struct{})}
	if err := d.ask(ctx, r); err != nil {
		return 0, false, err
	}
	if d.committed != nil {
		d.committed(time.Since(start), r.err)
	}
	return r.rev, r.ok, r.err
}

// Probe finds out whether the file can be written, as much as the last commit that failed would have, and raises no revision.
func (d *DB) Probe(ctx context.Context) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	r := &request{probe: true, done: make(chan struct{})}
	if err := d.ask(ctx, r); err != nil {
		return err
	}
	return r.err
}

// ask gives a request to the writer and waits for its results. They come soon: the writer waits for the disk only.
func (d *DB) ask(ctx context.Context, r *request) error {
	select {
	case d.requests <- r:
		<-r.done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closing:
		return store.ErrClosed
	}
}

// write is the writer. While one group is on its way to the disk the next gathers at the channel, so groups are as
// large as the disk is slow and nobody waits for a timer.
func (d *DB) write() {
	defer close(d.closed)
	for {
		select {
		case <-d.closing:
			return
		case r := <-d.requests:
			d.writeGroup(d.gather(r))
		}
	}
}

// gather takes the requests that wait already.
func (d *DB) gather(first *request) []*request {
	group := []*request{first}
	for size := first.bytes(); len(group) < groupCommits && size < groupBytes; {
		select {
		case r := <-d.requests:
			group = append(group, r)
			size += r.bytes()
		default:
			return group
		}
	}
	return group
}

// writeGroup commits a group in one transaction and answers each request. Each is still a commit of its own: it sees
// those before it, and has its own revision.
func (d *DB) writeGroup(group []*request) {
	err := d.settle()
	if err == nil {
		err = d.writeAll(group)
	}
	switch {
	case errors.Is(err, errNothing):
		err = nil
	case d.written != nil:
		d.written(err)
	}
	if err != nil {
		d.doubtful = true
		size := 0
		for _, r := range group {
			size += r.bytes()
			r.rev, r.ok, r.err = 0, false, fmt.Errorf("%w: %w", store.ErrNotWritten, err)
		}
		if size > 0 {
			d.refused = size
		}
	}
	for _, r := range group {
		close(r.done)
	}
}

// writeAll commits a group in one transaction and sets the results of its requests, unless it fails.
func (d *DB) writeAll(group []*request) error {
	rev, _ := d.state()
	log, probed := d.log, false
	err := d.db.Update(func(tx *bbolt.Tx) error {
		kv, logs := tx.Bucket(kvBucket), tx.Bucket(logBucket)
		before := rev
		for _, r := range group {
			if r.probe {
				probed = true
				continue
			}
			changes, ok := evaluate(kv, r)
			if r.ok = ok; len(changes) > 0 {
				rev++
				if err := apply(kv, rev, changes); err != nil {
					return err
				}
				var err error
				if log, err = log.add(logs, rev, changes); err != nil {
					return err
				}
			}
			r.rev = rev
		}
		if rev == before {
			return errNothing
		}
		var err error
		if log, err = log.trim(logs); err != nil {
			return err
		}
		meta := tx.Bucket(metaBucket)
		if err := meta.Put(revisionKey, appendRev(nil, rev)); err != nil {
			return err
		}
		return meta.Put(compactedKey, appendRev(nil, log.compacted))
	})
	if err == nil {
		d.log = log
		d.advance(rev)
	}
	if probed && errors.Is(err, errNothing) {
		return d.try()
	}
	return err
}

// minProbe is how much a probe writes at least, octets: what fits between other things shows nothing.
const minProbe = 64 << 10

// try writes what means nothing, as much as was refused last, and takes it out again.
func (d *DB) try() error {
	err := d.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(probeKey, make([]byte, max(minProbe, 2*d.refused)))
	})
	if err != nil {
		return err
	}
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete(probeKey) })
}

// errNothing ends a transaction that changes nothing without a write to the disk.
var errNothing = errors.New("nothing to write")

// evaluate returns what a request changes in kv as it is now, and whether its guards hold.
func evaluate(kv *bbolt.Bucket, r *request) (changes []store.Op, ok bool) {
	for _, g := range r.guards {
		var is int64
		if v := kv.Get([]byte(g.Key)); v != nil {
			is = readRev(v[:revSize])
		}
		if is != g.ModRev {
			return nil, false
		}
	}
	for _, op := range r.ops {
		if op.Delete && kv.Get([]byte(op.Key)) == nil {
			continue
		}
		changes = append(changes, op)
	}
	return changes, true
}

func apply(kv *bbolt.Bucket, rev int64, ops []store.Op) error {
	for _, op := range ops {
		var err error
		if op.Delete {
			err = kv.Delete([]byte(op.Key))
		} else {
			err = kv.Put([]byte(op.Key), append(appendRev(make([]byte, 0, revSize+len(op.Value)), rev), op.Value...))
		}
		if err != nil {
			return fmt.Errorf("key %q: %w", op.Key, err)
		}
	}
	return nil
}

// advance makes a new revision known and wakes the watches.
func (d *DB) advance(rev int64) {
	d.mu.Lock()
	d.rev = rev
	d.mu.Unlock()
	d.wake()
}

// wake wakes who waits for a change.
func (d *DB) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}
