package server

import (
	"context"
	"hash/fnv"
	"slices"

	"google.golang.org/grpc"

	"concentrator/internal/session"
	"concentrator/internal/store"
)

// snapshotPage is how many records a snapshot reads at once.
const snapshotPage = 256

// watchStored serves a watch of a stored kind. show makes the message of a record, without its secrets, as callers see it.
func watchStored[T store.Record, M message, R any](
	b *backend, stream grpc.ServerStreamingServer[R], parent, revision string, show func(*T) M,
) error {
	if err := b.checkParent(store.KindOf[T](), parent); err != nil {
		return err
	}
	return watch(b, stream, parent, revision, &storedSource[T, M]{
		b: b, parent: parent, show: show, bound: callerOf(stream.Context()).tenant,
	})
}

// watchResource is watchStored for a kind with the standard methods.
func watchResource[T store.Record, M message, R any](
	b *backend, stream grpc.ServerStreamingServer[R], k *resource[T, M], parent, revision string,
) error {
	return watchStored(b, stream, parent, revision, func(r *T) M { return k.message(b, r) })
}

// storedSource is the changes of stored records. Its positions are a revision of the store, and how many changes of the next
// commit were told already.
type storedSource[T store.Record, M message] struct {
	b      *backend
	parent string
	show   func(*T) M
	only   string // unless empty, the one record that there is
	bound  string // the tenant that the caller is bound to, until it was seen that a position is of its time
}

func (s *storedSource[T, M]) epoch() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.b.store.Epoch())) // never fails
	return h.Sum64()
}

// snapshot lists page by page, and then tells what has changed while it did: so all that it has told is as of one revision.
func (s *storedSource[T, M]) snapshot(ctx context.Context, emit func(watched) error) (position, error) {
	at, err := s.b.store.Revision()
	if err != nil {
		return nil, err
	}
	listed := map[string]int64{} // of what was changed before it was listed, the revision that the list has shown
	for after, more := "", true; more; {
		var page []*T
		if page, more, err = store.List[T](s.b.store, s.parent, after, snapshotPage); err != nil {
			return nil, err
		}
		for _, r := range page {
			m := s.show(r)
			if after = m.GetName(); !s.wants(after) {
				continue
			}
			if rev := s.b.store.ChangedAt(m.GetEtag()); rev > at {
				listed[after] = rev
			}
			if err := emit(watched{upsert: m}); err != nil {
				return nil, err
			}
		}
		store.Wipe(page...)
	}
	end, err := s.b.store.Revision()
	if err != nil {
		return nil, err
	}
	for _, rev := range listed {
		end = max(end, rev) // a list shows a commit a moment before Revision does
	}
	for at < end {
		changes, upto, _, err := store.Changes[T](ctx, s.b.store, s.parent, at)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if c.Revision > listed[c.Name] && s.wants(c.Name) {
				if err := emit(s.watched(c)); err != nil {
					return nil, err
				}
			}
		}
		at = upto
	}
	return position{at, 0}, nil
}

func (s *storedSource[T, M]) wants(name string) bool { return s.only == "" || s.only == name }

func (s *storedSource[T, M]) watched(c store.RecordChange[T]) watched {
	if c.Record == nil {
		return watched{removed: c.Name}
	}
	return watched{upsert: s.show(c.Record)}
}

func (s *storedSource[T, M]) next(ctx context.Context, after position) (step, error) {
	if len(after) != 2 || after[1] < 0 {
		return step{}, session.ErrExpired
	}
	if err := s.ofTenant(ctx, after[0]); err != nil {
		return step{}, err
	}
	changes, upto, later, err := store.Changes[T](ctx, s.b.store, s.parent, after[0])
	if err != nil {
		return step{}, err
	}
	out := step{at: position{upto, 0}, later: [2]wakeable{later}}
	told := int64(0) // of the commit
	for i, c := range changes {
		if i > 0 && changes[i-1].Revision != c.Revision {
			told = 0
		}
		told++
		if c.Revision == after[0]+1 && told <= after[1] || !s.wants(c.Name) {
			continue
		}
		w := s.watched(c)
		w.at = position{c.Revision, 0}
		if i+1 < len(changes) && changes[i+1].Revision == c.Revision {
			w.at = position{c.Revision - 1, told}
		}
		out.changes = append(out.changes, w)
	}
	return out, nil
}

// ofTenant refuses a position from before the caller's tenant was deleted and made anew: what an earlier one of its name had is
// not for it to see.
func (s *storedSource[T, M]) ofTenant(ctx context.Context, after int64) error {
	if s.bound == "" {
		return nil
	}
	end, err := s.b.store.Revision()
	if err != nil {
		return err
	}
	for at := after; at < end; {
		changes, upto, _, err := store.Changes[store.Tenant](ctx, s.b.store, "", at)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(changes, func(c store.RecordChange[store.Tenant]) bool { return c.Name == s.bound && c.Record == nil }) {
			return session.ErrExpired
		}
		at = upto
	}
	s.bound = ""
	return nil
}
