package server

import (
	"context"
	"hash/fnv"
	"slices"

	"google.golang.org/grpc"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

const (
	// auditSnapshot is how many events a watch begins with at most, and auditSnapshotBytes how many octets of pictures.
	auditSnapshot      = 1000
	auditSnapshotBytes = 4 << 20
)

func (s auditEventService) WatchAuditEvents(
	r *concentratorv1.WatchAuditEventsRequest, stream grpc.ServerStreamingServer[concentratorv1.WatchAuditEventsResponse],
) error {
	view, err := s.auditView(stream.Context(), r.GetParent())
	if err != nil {
		return err
	}
	return watch(s.backend, stream, r.GetParent(), r.GetRevision(), &auditSource{s.store, view})
}

// auditSource is the audit trail. Its positions are a sequence.
type auditSource struct {
	store *store.Store
	view  auditView
}

func (s *auditSource) epoch() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.store.Epoch())) // never fails
	return h.Sum64()
}

// snapshot is the latest events, the oldest of them first. It looks back as far as a list does.
func (s *auditSource) snapshot(ctx context.Context, emit func(watched) error) (position, error) {
	first, last, err := s.store.AuditBounds(ctx)
	if err != nil {
		return nil, err
	}
	var latest []store.AuditEvent // the latest first
	bytes := 0
	for to := last; to >= first && to > last-auditScan && len(latest) < auditSnapshot && bytes < auditSnapshotBytes; to -= auditChunk {
		events, err := s.store.AuditEvents(ctx, max(to-auditChunk+1, first), to, s.view.tenant)
		if err != nil {
			return nil, err
		}
		for _, e := range slices.Backward(events) {
			if s.view.shows(&e) && len(latest) < auditSnapshot {
				latest = append(latest, e)
				bytes += len(e.Before) + len(e.After)
			}
		}
	}
	for _, e := range slices.Backward(latest) {
		if err := emit(watched{upsert: s.view.encode(&e)}); err != nil {
			return nil, err
		}
	}
	return position{last}, nil
}

func (s *auditSource) next(ctx context.Context, after position) (step, error) {
	if len(after) != 1 {
		return step{}, session.ErrExpired
	}
	events, upto, later, err := s.store.AuditAfter(ctx, after[0], s.view.tenant)
	if err != nil {
		return step{}, err
	}
	out := step{at: position{upto}, later: [2]wakeable{later}}
	for _, e := range events {
		if s.view.shows(&e) {
			out.changes = append(out.changes, watched{upsert: s.view.encode(&e), at: position{e.Sequence}})
		}
	}
	return out, nil
}
