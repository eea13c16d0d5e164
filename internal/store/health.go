package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// probeKey is written to find out whether a map that could not be written can be again, unless it has a way of its own to do that.
// What is there means nothing.
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
	case err == nil && !ok: // nothing was written
	case err == nil:
		if n.failed.Load() != nil {
			n.failed.Store(nil)
		}
	case ctx.Err() == nil && !errors.Is(err, ErrInvalidCommit):
		n.failed.Store(&failure{err, time.Now()})
	}
	return rev, ok, err
}

// prober is a KV that can try a write that changes nothing.
type prober interface {
	Probe(ctx context.Context) error
}

// probe tries again.
func (n *noted) probe(ctx context.Context) error {
	p, ok := n.KV.(prober)
	if !ok {
		_, _, err := n.Commit(ctx, nil, []Op{{Key: probeKey, Value: []byte{}}})
		return err
	}
	err := p.Probe(ctx)
	switch {
	case err == nil:
		n.failed.Store(nil)
	case ctx.Err() == nil:
		n.failed.Store(&failure{err, time.Now()})
	}
	return err
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
			return n.probe(ctx)
		}
	}
	_, err := s.kv.Revision(ctx)
	return err
}
