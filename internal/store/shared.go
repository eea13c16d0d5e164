package store

import (
	"context"
	"sync"
)

// maxShared is how many decoded records Shared keeps; with more of them it begins anew.
const maxShared = 4096

// shared are records as Shared has decoded them, all of one revision of the store.
type shared struct {
	mu      sync.Mutex
	rev     int64
	records map[sharedKey]record
}

type sharedKey struct {
	kind Kind
	name string
}

// Shared is Get without reading and decoding a record again that has not changed since: every login asks for the same
// few. What it returns belongs to all who ask: it must not be changed. It keeps secrets in memory, so it is for records that
// are in use all the time, not for users.
func Shared[T Record](s *Store, name string) (*T, error) {
	key := sharedKey{KindOf[T](), name}
	// Of this revision or a later one is what is read below; so what is kept is never older than the revision it is kept under.
	rev, err := s.kv.Revision(context.Background())
	if err != nil {
		return nil, err
	}
	if r, ok := any(s.shared.get(key, rev)).(*T); ok {
		return r, nil
	}
	r, err := Get[T](s, name)
	if err != nil {
		return nil, err
	}
	s.shared.put(key, rev, any(r).(record))
	return r, nil
}

// get returns the record of a key as of rev or later; nil if it is not there.
func (c *shared) get(key sharedKey, rev int64) record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rev != rev {
		return nil
	}
	return c.records[key]
}

// put keeps a record that was read when the store's revision was rev.
func (c *shared) put(key sharedKey, rev int64, r record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rev < c.rev {
		return // read before a change that others know of already
	}
	if rev > c.rev || len(c.records) >= maxShared {
		clear(c.records)
		c.rev = rev
	}
	if c.records == nil {
		c.records = make(map[sharedKey]record)
	}
	c.records[key] = r
}
