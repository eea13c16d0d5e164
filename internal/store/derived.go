package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// maxDerived is how many records' values one Derived keeps.
const maxDerived = 50_000

// Derived makes something of each record of a kind, and keeps it as long as the record stays as it is, so that a list of many
// does not decode and unseal them all each time. What is kept should hold no secret. It is safe for concurrent use.
type Derived[T Record, V any] struct {
	store *Store
	of    func(*T) V

	mu    sync.RWMutex
	byKey map[string]derived[V]
}

type derived[V any] struct {
	modRev int64
	value  V
}

// NewDerived returns a Derived that makes values by `of`. They are shared by all who ask: nobody may change them.
func NewDerived[T Record, V any](s *Store, of func(*T) V) *Derived[T, V] {
	return &Derived[T, V]{store: s, of: of, byKey: make(map[string]derived[V])}
}

// List is List of what is made of the records. last is the name of the last one, to go on after: it may be of a record that
// went meanwhile.
func (d *Derived[T, V]) List(parent, after string, limit int) (values []V, last string, more bool, err error) {
	k := KindOf[T]()
	start, err := keysBelow(k, parent)
	if err != nil {
		return nil, "", false, err
	}
	r := Range{Start: max(start, recordKey(k, after)+"\x00"), End: PrefixEnd(start), Limit: limit}
	items, _, more, err := d.store.kv.List(context.Background(), r)
	if err != nil {
		return nil, "", false, fmt.Errorf("list %ss of %q: %w", k, parent, err)
	}
	values = make([]V, 0, len(items))
	for _, item := range items {
		var ok bool
		if _, last, ok = splitKey(item.Key); !ok {
			return nil, "", false, fmt.Errorf("%w: key %q", ErrCorrupt, item.Key)
		}
		v, err := d.value(last, item)
		if errors.Is(err, ErrNotFound) {
			continue // deleted after the page was read
		}
		if err != nil {
			return nil, "", false, err
		}
		values = append(values, v)
	}
	return values, last, more, nil
}

// value returns what is made of the record in item.
func (d *Derived[T, V]) value(name string, item Item) (V, error) {
	d.mu.RLock()
	kept, ok := d.byKey[item.Key]
	d.mu.RUnlock()
	if ok && kept.modRev == item.ModRev {
		return kept.value, nil
	}
	r, item, err := read[T](d.store, name, item)
	if err != nil {
		var none V
		return none, err
	}
	made := derived[V]{item.ModRev, d.of(r)}
	Wipe(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.byKey[item.Key]; !known && len(d.byKey) >= maxDerived {
		for key := range d.byKey {
			delete(d.byKey, key) // any: better to lose one than all
			break
		}
	}
	d.byKey[item.Key] = made
	return made.value, nil
}
