package session

import (
	"context"
	"errors"
	"fmt"

	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// LeaseStorage makes a key-value store of its own the place where it is kept who had which address: not the one of the
// resources, whose watches it would run over. The kv stays the caller's to close, after the Manager's Shutdown.
func LeaseStorage(kv store.KV) ippool.Storage { return leaseKV{kv} }

type leaseKV struct{ kv store.KV }

// errLeaseGuard can't happen: the commits of leases have no guards.
var errLeaseGuard = errors.New("leases: a commit without guards was not done")

// Load implements ippool.Storage.
func (l leaseKV) Load(fn func(key string, value []byte) error) error {
	for r := (store.Range{}); ; {
		items, _, more, err := l.kv.List(context.Background(), r)
		if err != nil {
			return fmt.Errorf("read the leases: %w", err)
		}
		for _, it := range items {
			if err := fn(it.Key, it.Value); err != nil {
				return err
			}
			r.Start = it.Key + "\x00"
		}
		if !more {
			return nil
		}
	}
}

// Commit implements ippool.Storage.
func (l leaseKV) Commit(puts []ippool.Item, deletes []string) error {
	ops := make([]store.Op, 0, len(puts)+len(deletes))
	for _, p := range puts {
		ops = append(ops, store.Op{Key: p.Key, Value: p.Value})
	}
	for _, k := range deletes {
		ops = append(ops, store.Op{Key: k, Delete: true})
	}
	_, ok, err := l.kv.Commit(context.Background(), nil, ops)
	if err == nil && !ok {
		err = errLeaseGuard
	}
	return err
}

// keepLeases brings back who had which address in an earlier run, and keeps it from now on until ctx ends. What can't be
// read or written costs users their addresses after the next start, and ends nothing.
func (m *Manager) keepLeases(ctx context.Context) {
	s := m.cfg.Leases
	if s == nil {
		return
	}
	if err := m.cfg.Pools.Load(s); err != nil {
		m.log.Warn("leases of the last run are lost", telemetry.Error, err)
	}
	m.wg.Go(func() {
		m.cfg.Pools.Keep(ctx, s, func(err error) { m.log.Warn("leases not kept", telemetry.Error, err) })
	})
}
