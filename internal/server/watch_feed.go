package server

import (
	"context"

	"google.golang.org/protobuf/proto"

	"concentrator/internal/session"
)

// feedSource is the changes of a live kind. Its positions are a revision of the feed.
type feedSource[T any] struct {
	feed  *session.Feed[T]
	match func(name string) bool
	show  func(*T) proto.Message
}

func (s *feedSource[T]) epoch() uint64 { return s.feed.Epoch() }

func (s *feedSource[T]) snapshot(_ context.Context, emit func(watched) error) (position, error) {
	all, revision := s.feed.Snapshot(s.match)
	for _, c := range all {
		if err := emit(s.watched(c)); err != nil {
			return nil, err
		}
	}
	return position{revision}, nil
}

func (s *feedSource[T]) watched(c session.Change[T]) watched {
	w := watched{removed: c.Name, at: position{c.Revision}}
	if c.Value != nil {
		w.upsert = s.show(c.Value)
	}
	return w
}

func (s *feedSource[T]) next(_ context.Context, after position) (step, error) {
	if len(after) != 1 {
		return step{}, session.ErrExpired
	}
	batch, later, err := s.feed.Read(after[0])
	if err != nil {
		return step{}, err
	}
	out := step{at: after, later: [2]wakeable{later}}
	for _, c := range batch {
		if s.match(c.Name) {
			out.changes = append(out.changes, s.watched(c))
		}
		out.at = position{c.Revision}
	}
	return out, nil
}
