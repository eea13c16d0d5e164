package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// auditRead is how many events are read of the trail at a time.
const auditRead = 100

// AuditBounds returns the sequences of the oldest and the latest event that there are; last is first-1 if there is none.
func (s *Store) AuditBounds(ctx context.Context) (first, last int64, err error) {
	h, _, err := s.auditHead(ctx)
	return h.First, h.Last, err
}

// AuditEvent returns one event; ErrNotFound if there is none of that sequence, or no more.
func (s *Store) AuditEvent(ctx context.Context, sequence int64) (AuditEvent, error) {
	item, err := s.kv.Get(ctx, auditKey(sequence))
	if err != nil {
		return AuditEvent{}, fmt.Errorf("audit event %d: %w", sequence, err)
	}
	e, _, err := openAudit(item.Value)
	return e, err
}

// AuditEvents returns the events from one sequence up to and including another, the oldest first; those of one tenant, or of
// all and of none for "". It reads them all into memory: ask for a hundred at a time.
func (s *Store) AuditEvents(ctx context.Context, from, to int64, tenantName string) ([]AuditEvent, error) {
	var all []AuditEvent
	mark := []byte(`"tenant":` + strconv.Quote(tenantName)) // most of others need not be decoded
	r := Range{Start: auditKey(max(from, 1)), End: auditKey(to + 1), Limit: auditRead}
	for more := from <= to; more; {
		var items []Item
		var err error
		if items, _, more, err = s.kv.List(ctx, r); err != nil {
			return nil, fmt.Errorf("audit events: %w", err)
		}
		for _, item := range items {
			r.Start = item.Key + "\x00"
			if tenantName != "" && !bytes.Contains(item.Value, mark) {
				continue
			}
			e, _, err := openAudit(item.Value)
			if err != nil {
				return nil, err
			}
			if tenantName == "" || e.Tenant == tenantName {
				all = append(all, e)
			}
		}
	}
	return all, nil
}

// auditStep is how many events one step of a watch goes over.
const auditStep = 64

// AuditAfter is one step of a watch of the trail: some of the events after a sequence, those of one tenant or all for "", the
// sequence up to which these are all, and, unless there may be more already, a channel that is closed when there may be. It
// returns ErrCompacted when events after that sequence have been dropped, and for a sequence that is still to come.
func (s *Store) AuditAfter(
	ctx context.Context, after int64, tenantName string,
) (events []AuditEvent, upto int64, later <-chan struct{}, err error) {
	rev, err := s.kv.Revision(ctx) // before the head: later then misses nothing
	if err != nil {
		return nil, 0, nil, err
	}
	h, _, err := s.auditHead(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	if after > h.Last || after < h.First-1 {
		return nil, 0, nil, ErrCompacted
	}
	if after == h.Last {
		more, _, later, err := s.kv.Changes(ctx, auditHeadKey, rev)
		if len(more) > 0 || errors.Is(err, ErrCompacted) {
			return nil, after, nil, nil
		}
		return nil, after, later, err
	}
	upto = min(after+auditStep, h.Last)
	if events, err = s.AuditEvents(ctx, after+1, upto, tenantName); err != nil {
		return nil, 0, nil, err
	}
	if first, _, err := s.AuditBounds(ctx); err != nil || after < first-1 {
		return nil, 0, nil, cmp.Or(err, ErrCompacted) // dropped while they were read
	}
	return events, upto, nil, nil
}
