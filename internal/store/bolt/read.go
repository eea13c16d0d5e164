package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"concentrator/internal/store"
)

const (
	revSize   = 8       // octets of a revision in the file
	pageBytes = 4 << 20 // octets of values after which a page ends
)

func appendRev(b []byte, rev int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(rev)) }

// readRev returns 0, which is no revision, for octets that are none.
func readRev(b []byte) int64 {
	if len(b) != revSize {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

// item copies what lies under a key out of the transaction.
func item(k, v []byte) store.Item {
	return store.Item{Key: string(k), ModRev: readRev(v[:revSize]), Value: bytes.Clone(v[revSize:])}
}

// view runs f in a read transaction. f must not keep what it reads, nor wait for anything: pages stay in use meanwhile. What the
// disk can't give is an error, not the end of the process.
func (d *DB) view(ctx context.Context, f func(tx *bbolt.Tx) error) error {
	if err := d.usable(ctx); err != nil {
		return err
	}
	err := guard(func() error { return d.db.View(f) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return store.ErrClosed
	}
	return err
}

// Get implements store.KV.
func (d *DB) Get(ctx context.Context, key string) (it store.Item, err error) {
	err = d.view(ctx, func(tx *bbolt.Tx) error {
		v := tx.Bucket(kvBucket).Get([]byte(key))
		if v == nil {
			return store.ErrNotFound
		}
		it = item([]byte(key), v)
		return nil
	})
	return it, err
}

// List implements store.KV.
func (d *DB) List(ctx context.Context, r store.Range) (items []store.Item, rev int64, more bool, err error) {
	limit := r.Limit
	if limit < 0 {
		return nil, 0, false, fmt.Errorf("list from %q: limit %d", r.Start, limit)
	}
	if limit == 0 || limit > store.MaxPage {
		limit = store.MaxPage
	}
	err = d.view(ctx, func(tx *bbolt.Tx) error {
		rev = readRev(tx.Bucket(metaBucket).Get(revisionKey))
		size := 0
		c := tx.Bucket(kvBucket).Cursor()
		for k, v := c.Seek([]byte(r.Start)); k != nil && (r.End == "" || string(k) < r.End); k, v = c.Next() {
			if len(items) == limit || size > pageBytes {
				more = true
				return nil
			}
			items = append(items, item(k, v))
			size += len(k) + len(v)
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	return items, rev, more, nil
}

// watchScan bounds how many commits one read transaction of a watch goes over.
const watchScan = 512

// Watch implements store.KV.
func (d *DB) Watch(ctx context.Context, prefix string, after int64, fn func([]store.Event) error) error {
	if after == 0 {
		after, _ = d.state()
	}
	for {
		rev, changed := d.state()
		events, next, err := d.changes(ctx, prefix, after, watchScan, pageBytes)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := fn(events); err != nil {
				return err
			}
		}
		after = next
		if after < rev {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-d.closing:
			return store.ErrClosed
		}
	}
}

// Bounds of what one call of Changes goes over: many watches may hold what theirs returned at the same time.
const (
	changesScan  = 128
	changesBytes = 256 << 10
)

// ready is a channel for who need not wait.
var ready = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Changes implements store.KV.
func (d *DB) Changes(
	ctx context.Context, prefix string, after int64,
) (events []store.Event, upto int64, later <-chan struct{}, err error) {
	rev, changed := d.state()
	events, upto, err = d.changes(ctx, prefix, after, changesScan, changesBytes)
	if err != nil {
		return nil, 0, nil, err
	}
	if upto < rev {
		changed = ready
	}
	return events, upto, changed, nil
}

// changes reads what the log has after a revision, and how far it went: up to so many commits or octets. Everything is
// copied: the receiver may take as long as it wants.
func (d *DB) changes(
	ctx context.Context, prefix string, after int64, commits, octets int,
) (events []store.Event, next int64, err error) {
	err = d.view(ctx, func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if after < readRev(meta.Get(compactedKey)) || after > readRev(meta.Get(revisionKey)) {
			return store.ErrCompacted
		}
		next = after
		size := 0
		c := tx.Bucket(logBucket).Cursor()
		k, v := c.Seek(appendRev(nil, after+1))
		for n := 0; k != nil && n < commits && size <= octets; n++ {
			next = readRev(k)
			if events, err = appendEvents(events, next, v, prefix); err != nil {
				return err
			}
			size += len(v)
			k, v = c.Next()
		}
		return nil
	})
	return events, next, err
}
