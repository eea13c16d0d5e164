package bolt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	bbolt "go.etcd.io/bbolt"
)

// Snapshot writes the whole file to w as one commit left it, and returns its length in octets. Commits go on meanwhile, but
// the pages that they free are kept until it is over: w must be as fast as a disk, not a network. It ends when ctx does.
func (d *DB) Snapshot(ctx context.Context, w io.Writer) (n int64, err error) {
	err = d.view(ctx, func(tx *bbolt.Tx) error {
		n, err = tx.WriteTo(&bounded{ctx, w})
		return err
	})
	if err != nil {
		return n, fmt.Errorf("copy the state: %w", err)
	}
	return n, nil
}

// bounded writes until a context ends.
type bounded struct {
	ctx context.Context //nolint:containedctx // of one call
	w   io.Writer
}

func (b *bounded) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.w.Write(p)
}

// NewHistory gives the file at path, which nobody may have open, a new epoch: what callers remember of its revisions and etags
// is no longer taken for right. A file that was put back needs this, for its revisions go back with it.
func NewHistory(path string) error {
	d, err := Open(path)
	if err != nil {
		return err
	}
	err = d.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(epochKey, newEpoch())
	})
	return errors.Join(err, d.Close())
}

// newEpoch makes the name of a new history.
func newEpoch() []byte {
	id := make([]byte, 4)
	rand.Read(id) // never fails
	return hex.AppendEncode(nil, id)
}
