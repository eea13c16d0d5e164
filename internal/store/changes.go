package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// RecordChange is what one commit did to one record.
type RecordChange[T Record] struct {
	Name string
	// Record is how the commit left it, without its secrets: they may be sealed with a key that is no longer there. Nil: it was
	// deleted.
	Record   *T
	Revision int64 // of the commit
}

// Changes returns what the commits after a revision did to the records of one kind under a parent as in List, in order and
// as far as one step goes, and the revision up to which that is all. later is closed when another step may find more.
// ErrCompacted: the changes are not in the log any more, list again. That secrets were sealed anew is no change.
func Changes[T Record](
	ctx context.Context, s *Store, parent string, after int64,
) (changes []RecordChange[T], upto int64, later <-chan struct{}, err error) {
	prefix, err := keysBelow(KindOf[T](), parent)
	if err != nil {
		return nil, 0, nil, err
	}
	events, upto, later, err := s.kv.Changes(ctx, prefix, after)
	if err != nil {
		return nil, 0, nil, err
	}
	for _, e := range events {
		_, name, ok := splitKey(e.Key)
		if !ok {
			return nil, 0, nil, fmt.Errorf("%w: key %q", ErrCorrupt, e.Key)
		}
		c := RecordChange[T]{Name: name, Revision: e.Rev}
		if !e.Deleted {
			r, same, err := decodeShown[T](s, name, e)
			if err != nil {
				return nil, 0, nil, err
			}
			if same {
				continue
			}
			c.Record = r
		}
		changes = append(changes, c)
	}
	return changes, upto, later, nil
}

// decodeShown decodes a record but for its secrets. same says that the commit only sealed them anew.
func decodeShown[T Record](s *Store, name string, at Event) (r *T, same bool, err error) {
	var e envelope
	if err := json.Unmarshal(at.Value, &e); err != nil {
		return nil, false, fmt.Errorf("%w: record %s: %w", ErrCorrupt, name, err)
	}
	item := Item{ModRev: at.Rev}
	if e.changed(item) != at.Rev {
		return nil, true, nil
	}
	r = new(T)
	return r, false, s.unpack(name, item, &e, any(r).(record))
}

// ChangedAt is the revision of the commit that an etag of this store is of; 0 for what is none.
func (s *Store) ChangedAt(etag string) int64 {
	at, ok := strings.CutPrefix(etag, s.kv.Epoch()+"-")
	rev, err := strconv.ParseInt(at, 36, 64)
	if !ok || err != nil {
		return 0
	}
	return rev
}
