package session

import (
	"context"
	"errors"
	"fmt"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/authz/guess"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
)

// LedgerStorage makes a key-value store of its own the place of the accounting ledger: not the one of the resources, whose
// watches a busy ledger would run over. The kv stays the caller's to close, after the Manager's Shutdown; so it does with
// the two below.
func LedgerStorage(kv store.KV) accounting.Storage { return memory[accounting.Item]{kv} }

// LeaseStorage makes a key-value store of its own the place where it is kept who had which address.
func LeaseStorage(kv store.KV) ippool.Storage { return memory[ippool.Item]{kv} }

// GuessStorage makes a key-value store of its own the place of failed log-ins.
func GuessStorage(kv store.KV) guess.Storage { return memory[guess.Item]{kv} }

// item is what the rooms' own types of an item are made of.
type item struct {
	Key   string
	Value []byte
}

// memory is a store.KV as the storage of a room that has items of the type I.
type memory[I ~struct {
	Key   string
	Value []byte
}] struct {
	kv store.KV
}

// Load calls fn with each key and value, in order, and ends with fn's error.
func (m memory[I]) Load(fn func(key string, value []byte) error) error {
	for r := (store.Range{}); ; {
		items, _, more, err := m.kv.List(context.Background(), r)
		if err != nil {
			return fmt.Errorf("read what is stored: %w", err)
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

// Get returns the value of one key, or store.ErrNotFound.
func (m memory[I]) Get(key string) ([]byte, error) {
	it, err := m.kv.Get(context.Background(), key)
	return it.Value, err
}

// errGuard can't happen: these commits have no guards.
var errGuard = errors.New("a commit without guards was not done")

// Commit does all puts and deletions, or nothing. Once it has returned nil they survive the death of the process.
func (m memory[I]) Commit(puts []I, deletes []string) error {
	ops := make([]store.Op, 0, len(puts)+len(deletes))
	for _, p := range puts {
		p := item(p)
		ops = append(ops, store.Op{Key: p.Key, Value: p.Value})
	}
	for _, k := range deletes {
		ops = append(ops, store.Op{Key: k, Delete: true})
	}
	_, ok, err := m.kv.Commit(context.Background(), nil, ops)
	if err == nil && !ok {
		err = errGuard
	}
	return err
}

// Flush writes what is remembered of leases and failed log-ins: a copy of their files then has all that has happened until now.
// Without it they are a second or two behind.
func (m *Manager) Flush() error {
	m.guesses.Flush()
	if m.cfg.Leases == nil {
		return nil
	}
	return m.cfg.Pools.Save(m.cfg.Leases)
}
