package guess

import "container/list"

// table is a bounded map that knows which of its entries was used last.
type table[T any] struct {
	max   int
	byKey map[string]*list.Element // of *entry[T]
	order *list.List               // the last one used is in front
	// keep says how much an entry is worth keeping: of the oldest few, one with the least goes first.
	keep func(*T) float64
	// gone is told of each entry that is pushed out.
	gone func(key string)
}

type entry[T any] struct {
	key   string
	value T
}

// oldest is how many of the entries that were not used for longest are candidates for going.
const oldest = 16

func newTable[T any](most int, keep func(*T) float64, gone func(string)) table[T] {
	return table[T]{max: most, byKey: make(map[string]*list.Element), order: list.New(), keep: keep, gone: gone}
}

// get returns an entry, without using it; nil: there is none.
func (t *table[T]) get(key string) *T {
	if e := t.byKey[key]; e != nil {
		return &e.Value.(*entry[T]).value
	}
	return nil
}

// use returns an entry, a new one if there is none.
func (t *table[T]) use(key string) *T {
	if e := t.byKey[key]; e != nil {
		t.order.MoveToFront(e)
		return &e.Value.(*entry[T]).value
	}
	if t.order.Len() >= t.max {
		t.pushOut()
	}
	n := &entry[T]{key: key}
	t.byKey[key] = t.order.PushFront(n)
	return &n.value
}

// pushOut makes room for one entry.
func (t *table[T]) pushOut() {
	victim := t.order.Back()
	least := t.keep(&victim.Value.(*entry[T]).value)
	e := victim.Prev()
	for range oldest - 1 {
		if e == nil {
			break
		}
		if k := t.keep(&e.Value.(*entry[T]).value); k < least {
			victim, least = e, k
		}
		e = e.Prev()
	}
	key := victim.Value.(*entry[T]).key
	t.remove(key)
	t.gone(key)
}

func (t *table[T]) remove(key string) {
	if e := t.byKey[key]; e != nil {
		t.order.Remove(e)
		delete(t.byKey, key)
	}
}

// all calls f with each entry, the last one used first. f may remove the entry that it is called with.
func (t *table[T]) all(f func(key string, v *T)) {
	for e := t.order.Front(); e != nil; {
		next := e.Next()
		n := e.Value.(*entry[T])
		f(n.key, &n.value)
		e = next
	}
}
