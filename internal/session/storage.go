package session

import (
	"context"
	"errors"
	"fmt"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/store"
)

// Storage makes a key-value store of its own the place of the accounting ledger: not the one of the resources, whose
// watches a busy ledger would run over. The kv stays the caller's to close, after the Manager's Shutdown.
func Storage(kv store.KV) accounting.Storage { return ledgerKV{kv} }

type ledgerKV struct{ kv store.KV }

// Load implements accounting.Storage.
func (l ledgerKV) Load(fn func(key string, value []byte) error) error {
	for r := (store.Range{}); ; {
		items, _, more, err := l.kv.List(context.Background(), r)
		if err != nil {
			return fmt.Errorf("read the items of a ledger: %w", err)
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

// Get implements accounting.Storage.
func (l ledgerKV) Get(key string) ([]byte, error) {
	it, err := l.kv.Get(context.Background(), key)
	return it.Value, err
}

// errGuard can't happen: the commits of a ledger have no guards.
var errGuard = errors.New("ledger: a commit without guards was not done")

// Commit implements accounting.Storage.
func (l ledgerKV) Commit(puts []accounting.Item, deletes []string) error {
	ops := make([]store.Op, 0, len(puts)+len(deletes))
	for _, p := range puts {
		ops = append(ops, store.Op{Key: p.Key, Value: p.Value})
	}
	for _, k := range deletes {
		ops = append(ops, store.Op{Key: k, Delete: true})
	}
	_, ok, err := l.kv.Commit(context.Background(), nil, ops)
	if err == nil && !ok {
		err = errGuard
	}
	return err
}
