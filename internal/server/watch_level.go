package server

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"

	"concentrator/internal/session"
	"concentrator/internal/store"
)

// levelSource is a stored kind that shows a live value too, which changes without a word in the store: how full a pool is.
// Its positions are those of the store, the feed's epoch, and a revision of the feed. The value is one of now: of a feed that
// does not go back far enough, all are told again.
type levelSource[T store.Record, M message, V any] struct {
	storedSource[T, M]
	feed *session.Feed[V]
}

// watchLevel is watchResource for a kind with a live value, by resource in feed.
func watchLevel[T store.Record, M message, V, R any](
	b *backend, stream grpc.ServerStreamingServer[R], k *resource[T, M], feed *session.Feed[V], parent, revision string,
) error {
	if err := b.checkParent(store.KindOf[T](), parent); err != nil {
		return err
	}
	defer feed.Follow()()
	show := func(r *T) M { return k.message(b, r) }
	return watch(b, stream, parent, revision, &levelSource[T, M, V]{
		storedSource[T, M]{b: b, parent: parent, show: show, bound: callerOf(stream.Context()).tenant}, feed,
	})
}

func (s *levelSource[T, M, V]) matches(name string) bool {
	return s.parent == anyTenant || strings.HasPrefix(name, s.parent+"/")
}

func (s *levelSource[T, M, V]) snapshot(ctx context.Context, emit func(watched) error) (position, error) {
	_, revision := s.feed.Snapshot(func(string) bool { return false })
	at, err := s.storedSource.snapshot(ctx, emit)
	if err != nil {
		return nil, err
	}
	return s.join(at, revision), nil
}

// join makes a position of one in the store and a revision of the feed.
func (s *levelSource[T, M, V]) join(at position, revision int64) position {
	return append(at[:2:2], int64(s.feed.Epoch()), revision)
}

func (s *levelSource[T, M, V]) next(ctx context.Context, after position) (step, error) {
	if len(after) != 4 {
		return step{}, session.ErrExpired
	}
	out, err := s.storedSource.next(ctx, after[:2])
	if err != nil {
		return step{}, err
	}
	for i := range out.changes {
		out.changes[i].at = append(out.changes[i].at, after[2:]...)
	}
	stored := out.at
	out.at = append(stored[:2:2], after[2:]...)
	if len(out.changes) > 0 {
		out.later = [2]wakeable{} // the values are still to be looked at
		return out, nil
	}
	batch, later, err := s.feed.Read(after[3])
	if after[2] != int64(s.feed.Epoch()) || errors.Is(err, session.ErrExpired) {
		return s.again(out, stored)
	}
	if err != nil {
		return step{}, err
	}
	out.later[1] = later
	for _, c := range batch {
		out.at = s.join(stored, c.Revision)
		if err := s.level(&out, c, stored[0]); err != nil {
			return step{}, err
		}
	}
	if len(batch) > 0 {
		out.later = [2]wakeable{}
	}
	return out, nil
}

// again tells the value of all.
func (s *levelSource[T, M, V]) again(out step, stored position) (step, error) {
	all, revision := s.feed.Snapshot(s.matches)
	for _, c := range all {
		if err := s.level(&out, c, stored[0]); err != nil {
			return step{}, err
		}
	}
	for i := range out.changes {
		out.changes[i].at = out.at // who is cut off before the last of them hears all again
	}
	out.at, out.later = s.join(stored, revision), [2]wakeable{}
	return out, nil
}

// level adds how a resource is now that its value has changed. One that the store has changed after a revision, or has not any
// more, is left to the store's own word, which is still to come and shows the value too.
func (s *levelSource[T, M, V]) level(out *step, c session.Change[V], revision int64) error {
	if !s.matches(c.Name) {
		return nil
	}
	r, err := store.Get[T](s.b.store, c.Name)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer store.Wipe(r)
	if m := s.show(r); s.b.store.ChangedAt(m.GetEtag()) <= revision {
		out.changes = append(out.changes, watched{upsert: m, at: out.at})
	}
	return nil
}
