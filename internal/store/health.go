package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// probeKey is written to find out whether a map that could not be written can be again. What is there means nothing.
const probeKey = "meta/probe"

// probeEvery is how often that is tried at most, however often it is asked.
const probeEvery = time.Second

// noted is a KV that remembers whether its last commit could be written.
type noted struct {
	KV
	failed atomic.Pointer[failure] // nil: it could
}

// failure is a commit that could not be written.
type failure struct {
	err error
	at  time.Time
}

// Commit implements KV.
func (n *noted) Commit(ctx context.Context, guards []Guard, ops []Op) (int64, bool, error) {
	rev, ok, err := n.KV.Commit(ctx, guards, ops)
	switch {
	case err == nil:
		if n.failed.Load() != nil {
			n.failed.Store(nil)
		}
	case ctx.Err() == nil && !errors.Is(err, ErrInvalidCommit):
		n.failed.Store(&failure{err, time.Now()})
	}
	return rev, ok, err
}

// Health says whether the store can be read, and be written as far as the last change has shown. When that one failed, it
// tries again, with a change that means nothing.
func (s *Store) Health(ctx context.Context) error {
	if n, ok := s.kv.(*noted); ok {
		switch f := n.failed.Load(); {
		case f == nil:
		case time.Since(f.at) < probeEvery:
			return f.err
		default:
			_, _, err := n.Commit(ctx, nil, []Op{{Key: probeKey, Value: []byte{}}})
			return err
		}
	}
	_, err := s.kv.Revision(ctx)
	return err
}
