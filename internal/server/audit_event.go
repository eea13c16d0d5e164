package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
)

const (
	// auditEventsPart stands before the last part of an event's name.
	auditEventsPart = "auditEvents/"
	// auditChunk is how many events are read at a time.
	auditChunk = 64
	// auditScan is how many events one call looks at, at most: what a filter leaves of them may be a short page.
	auditScan = 5000
)

type auditEventService struct {
	concentratorv1.UnimplementedAuditEventServiceServer
	*backend

	verifying chan struct{} // holds one place: who verifies reads all there is
}

func newAuditEventService(b *backend) auditEventService {
	return auditEventService{backend: b, verifying: make(chan struct{}, 1)}
}

func (s auditEventService) GetAuditEvent(
	ctx context.Context, r *concentratorv1.GetAuditEventRequest,
) (*concentratorv1.AuditEvent, error) {
	parent, digits, ok := strings.Cut(r.GetName(), auditEventsPart)
	sequence, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || sequence < 1 || r.GetName() != auditName(strings.TrimSuffix(parent, "/"), sequence) {
		return nil, invalid("name", "%q is neither auditEvents/{auditEvent} nor tenants/{tenant}/auditEvents/{auditEvent}, "+
			"with a sequence in 16 digits", r.GetName())
	}
	view, err := s.auditView(ctx, strings.TrimSuffix(parent, "/"))
	if err != nil {
		return nil, err
	}
	e, err := s.store.AuditEvent(ctx, sequence)
	if err == nil && (e.Tenant != view.tenant || !view.shows(&e)) {
		err = fmt.Errorf("%s: %w", r.GetName(), store.ErrNotFound)
	}
	if err != nil {
		return nil, &resourceError{r.GetName(), err}
	}
	return view.encode(&e), nil
}

func (s auditEventService) ListAuditEvents(
	ctx context.Context, r *concentratorv1.ListAuditEventsRequest,
) (*concentratorv1.ListAuditEventsResponse, error) {
	q, err := newListing(r, (*concentratorv1.AuditEvent)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	view, err := s.auditView(ctx, r.GetParent())
	if err != nil {
		return nil, err
	}
	l := auditList{view: view, limit: q.limit, filter: q.filter}
	if l.oldestFirst, err = auditOrder(r.GetOrderBy()); err != nil {
		return nil, err
	}
	if q.after != "" {
		if l.at, err = strconv.ParseInt(q.after, 10, 64); err != nil || l.at < 1 {
			return nil, errPageToken
		}
	}
	more, err := l.read(ctx, s.store)
	if err != nil {
		return nil, err
	}
	out := &concentratorv1.ListAuditEventsResponse{AuditEvents: l.page}
	if more {
		out.NextPageToken = q.token(strconv.FormatInt(l.at, 10))
	}
	return out, nil
}

// auditOrder reads order_by: an event's time and its sequence are the only orders there are.
func auditOrder(text string) (oldestFirst bool, err error) {
	switch strings.Join(strings.Fields(text), " ") {
	case "", "time desc", "sequence desc":
		return false, nil
	case "time", "sequence":
		return true, nil
	}
	return false, invalid("orderBy", `%q is not one of "time desc" (as when it is empty), "time", "sequence desc" and "sequence"`, text)
}

func (s auditEventService) VerifyAuditEvents(
	ctx context.Context, r *concentratorv1.VerifyAuditEventsRequest,
) (*concentratorv1.VerifyAuditEventsResponse, error) {
	var known store.Fingerprint
	if r.GetKnownHash() != "" {
		if err := known.UnmarshalText([]byte(r.GetKnownHash())); err != nil {
			return nil, invalid("knownHash", "%q is not the hash of an event: %d hexadecimal digits", r.GetKnownHash(), 2*len(known))
		}
	}
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found, err := s.store.VerifyAudit(ctx, known)
	if err != nil {
		return nil, err
	}
	return &concentratorv1.VerifyAuditEventsResponse{
		Valid: found.Problem == "", Checked: found.Checked, BadSequence: found.BadSequence, Detail: valid(found.Problem),
		FirstSequence: found.First, LastSequence: found.Last, LastHash: hex.EncodeToString(found.LastHash[:]),
	}, nil
}

// auditName is the name of an event of a tenant, or of the instance's for "".
func auditName(owner string, sequence int64) string {
	name := fmt.Sprintf("%s%016d", auditEventsPart, sequence)
	if owner != "" {
		name = owner + "/" + name
	}
	return name
}

// auditView is which events a caller sees below a parent, and what of them.
type auditView struct {
	tenant string    // only its events; "" for all
	owned  bool      // only those that are some tenant's
	since  time.Time // only from then on: an older tenant of the same name was another one
	bound  string    // the tenant that the caller is bound to
}

// auditView checks the parent of a call.
func (b *backend) auditView(ctx context.Context, parent string) (auditView, error) {
	v := auditView{owned: parent == anyTenant, bound: callerOf(ctx).tenant}
	if parent == "" || parent == anyTenant {
		return v, nil
	}
	if err := checkTenantName(parent); err != nil {
		return v, invalid("parent", "%v", err)
	}
	t, err := store.Get[store.Tenant](b.store, parent)
	if err != nil {
		return v, &resourceError{parent, err}
	}
	v.tenant, v.since = parent, t.CreateTime
	return v, nil
}

// shows says whether an event is one of the view.
func (v *auditView) shows(e *store.AuditEvent) bool {
	return (v.tenant == "" || e.Tenant == v.tenant) && (!v.owned || e.Tenant != "") && !e.Time.Before(v.since)
}

func (v *auditView) encode(e *store.AuditEvent) *concentratorv1.AuditEvent {
	m := &concentratorv1.AuditEvent{
		Name:          auditName(e.Tenant, e.Sequence),
		Sequence:      e.Sequence,
		Time:          timestamp(e.Time),
		Caller:        valid(e.Caller),
		Role:          e.Role,
		Address:       valid(e.Address),
		Method:        e.Method,
		Resource:      valid(e.Resource),
		Code:          e.Code,
		Reason:        e.Reason,
		Detail:        valid(e.Detail),
		RequestId:     e.RequestID,
		Before:        encodePicture(e.Before),
		After:         encodePicture(e.After),
		ChangedFields: e.ChangedFields,
		Count:         int32(e.Count),
		PreviousHash:  hex.EncodeToString(e.PreviousHash[:]),
		Hash:          hex.EncodeToString(e.Hash[:]),
	}
	if v.bound != "" && store.TenantOf(e.Caller) != v.bound && e.Code != codeOK {
		m.Detail = "" // an error for who sees all may name what is another tenant's
	}
	return m
}

// encodePicture is a picture as a message; nil for none, and for what somebody has spoilt.
func encodePicture(text json.RawMessage) *structpb.Struct {
	if len(text) == 0 {
		return nil
	}
	s := new(structpb.Struct)
	if err := s.UnmarshalJSON(text); err != nil {
		return nil
	}
	return s
}

// auditList is one page of a list.
type auditList struct {
	view        auditView
	filter      *query.Filter
	limit       int
	oldestFirst bool

	at    int64 // the last sequence that was looked at; 0: none
	page  []*concentratorv1.AuditEvent
	bytes int
}

// read fills the page, and says whether there may be more behind it.
func (l *auditList) read(ctx context.Context, s *store.Store) (more bool, err error) {
	first, last, err := s.AuditBounds(ctx)
	if err != nil {
		return false, err
	}
	for range auditScan / auditChunk {
		from, to := l.chunk(first, last)
		if from > to {
			return false, nil
		}
		events, err := s.AuditEvents(ctx, from, to, l.view.tenant)
		if err != nil {
			return false, err
		}
		if !l.oldestFirst {
			slices.Reverse(events)
		}
		for i := range events {
			if l.take(&events[i]) {
				from, to = l.chunk(first, last)
				return from <= to, nil
			}
		}
		if l.at = from; l.oldestFirst {
			l.at = to
		}
	}
	return true, nil
}

// chunk is what to read next; nothing when from is behind to.
func (l *auditList) chunk(first, last int64) (from, to int64) {
	if l.oldestFirst {
		from = max(l.at+1, first)
		return from, min(from+auditChunk-1, last)
	}
	if to = last; l.at > 0 {
		to = min(l.at-1, last)
	}
	return max(to-auditChunk+1, first), to
}

// take puts an event onto the page if it belongs there, and says whether the page is full.
func (l *auditList) take(e *store.AuditEvent) bool {
	l.at = e.Sequence
	if !l.view.shows(e) {
		return false
	}
	m := l.view.encode(e)
	if !l.filter.Matches(m) {
		return false
	}
	l.page = append(l.page, m)
	l.bytes += len(e.Before) + len(e.After) + len(e.Detail) + 512
	return len(l.page) == l.limit || l.bytes >= maxPageBytes
}
