package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Change says that a resource was created, updated or deleted. What it looks like now is for Get to say.
type Change struct {
	Kind    Kind
	Name    string
	Deleted bool
	// Revision goes on after this change when it is given to Watch. After a change in the middle of a commit it
	// gives the whole commit again: a change may come twice, none is lost.
	Revision int64
}

// Watch yields the changes of resources whose name begins with prefix ("" for all), in order, from the first after
// revision `after` (0: from now on; Revision before a List: from that list on). It blocks between changes. It ends
// with an error: ErrCompacted when `after` is too old (list again), ctx's when ctx ends, ErrClosed at the end of the
// store. A slow loop body holds up no writer.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		errStop := errors.New("stop")
		err := s.kv.Watch(ctx, recordPrefix, after, func(events []Event) error {
			for i, e := range events {
				k, name, ok := splitKey(e.Key)
				if !ok {
					return fmt.Errorf("%w: key %q", ErrCorrupt, e.Key)
				}
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				c := Change{Kind: k, Name: name, Deleted: e.Deleted, Revision: e.Rev}
				if i+1 < len(events) && events[i+1].Rev == e.Rev {
					c.Revision--
				}
				if !yield(c, nil) {
					return errStop
				}
			}
			return nil
		})
		if !errors.Is(err, errStop) {
			yield(Change{}, err)
		}
	}
}
