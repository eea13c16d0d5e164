package server

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

// queuePart ends the name of a tenant's accounting queue, and recordsPart stands before the last part of a record's.
const (
	queuePart   = "/accountingQueue"
	recordsPart = queuePart + "/records/"
)

type accountingQueueService struct {
	concentratorv1.UnimplementedAccountingQueueServiceServer
	*backend
}

func (s accountingQueueService) GetAccountingQueue(
	_ context.Context, r *concentratorv1.GetAccountingQueueRequest,
) (*concentratorv1.AccountingQueue, error) {
	owner, ok := strings.CutSuffix(r.GetName(), queuePart)
	if !ok || checkTenantName(owner) != nil {
		return nil, invalid("name", "%q is not tenants/{tenant}/accountingQueue", r.GetName())
	}
	if _, err := store.Get[store.Tenant](s.store, owner); err != nil {
		return nil, &resourceError{owner, err}
	}
	for _, a := range s.live.AccountingStatus(owner) {
		if a.Tenant == owner {
			return encodeQueue(a), nil
		}
	}
	return encodeQueue(session.AccountingStatus{Tenant: owner}), nil
}

func (s accountingQueueService) ListAccountingQueues(
	_ context.Context, r *concentratorv1.ListAccountingQueuesRequest,
) (*concentratorv1.ListAccountingQueuesResponse, error) {
	q := query{"AccountingQueue", r.GetParent()}
	limit, after, err := q.page(r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(s.live.AccountingStatus(parent), func(a session.AccountingStatus) bool {
		return a.Tenant <= after
	})
	page, next := fill(q, all[:min(len(all), limit)], len(all) > limit,
		func(a session.AccountingStatus) string { return a.Tenant }, encodeQueue)
	return &concentratorv1.ListAccountingQueuesResponse{AccountingQueues: page, NextPageToken: next}, nil
}

func (s accountingQueueService) ListAccountingRecords(
	_ context.Context, r *concentratorv1.ListAccountingRecordsRequest,
) (*concentratorv1.ListAccountingRecordsResponse, error) {
	q := query{"AccountingRecord", r.GetParent()}
	limit, after, err := q.page(r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	owner, ok := strings.CutSuffix(r.GetParent(), queuePart)
	if !ok {
		return nil, invalid("parent", "%q is not tenants/{tenant}/accountingQueue", r.GetParent())
	}
	parent, err := s.liveParent(owner)
	if err != nil {
		return nil, err
	}
	all, more, err := s.unsent(parent, after, limit)
	if err != nil {
		return nil, err
	}
	page, next := fill(q, all, more, recordName, encodeRecord)
	return &concentratorv1.ListAccountingRecordsResponse{Records: page, NextPageToken: next}, nil
}

// unsent collects up to limit records of one tenant, or of all tenants for "", behind the one called after.
func (s accountingQueueService) unsent(parent, after string, limit int) (
	all []session.AccountingRecord, more bool, err error,
) {
	var last uint64
	tenantOfLast, id, ok := strings.Cut(after, recordsPart)
	if ok {
		last, err = strconv.ParseUint(id, 10, 64)
	}
	if after != "" && (!ok || err != nil) {
		return nil, false, invalid("pageToken", "is not one that a list returned")
	}
	owners := []string{parent}
	if parent == "" {
		owners = nil
		for _, a := range s.live.AccountingStatus("") {
			owners = append(owners, a.Tenant)
		}
	}
	for _, owner := range owners {
		if owner < tenantOfLast {
			continue
		}
		from := uint64(0)
		if owner == tenantOfLast {
			from = last
		}
		if len(all) == limit {
			// Whether a further tenant has any decides whether there is a next page.
			if rest, _ := s.live.AccountingUnsent(owner, from, 1); len(rest) > 0 {
				return all, true, nil
			}
			continue
		}
		page, m := s.live.AccountingUnsent(owner, from, limit-len(all))
		all = append(all, page...)
		if m {
			return all, true, nil
		}
	}
	return all, false, nil
}

func recordName(r session.AccountingRecord) string {
	return r.Tenant + recordsPart + strconv.FormatUint(r.ID, 10)
}

func encodeQueue(a session.AccountingStatus) *concentratorv1.AccountingQueue {
	return &concentratorv1.AccountingQueue{
		Name:         a.Tenant + queuePart,
		Unsent:       int64(a.Unsent),
		UnsentBytes:  a.UnsentBytes,
		OldestTime:   timestamp(a.Oldest),
		LiveSessions: int64(a.Live),
		Sent:         int64(a.Sent),
		Dropped:      int64(a.Dropped),
		Failures:     int64(a.Failures),
		LastSentTime: timestamp(a.LastSent),
		LastError:    valid(a.LastError),
	}
}

func encodeRecord(r session.AccountingRecord) *concentratorv1.AccountingRecord {
	return &concentratorv1.AccountingRecord{
		Name:        recordName(r),
		Kind:        toEnum[concentratorv1.AccountingRecord_Kind](r.Kind),
		Time:        timestamp(r.Time),
		Session:     r.Session,
		User:        valid(r.User),
		Address:     textOf(r.Address),
		SessionTime: durationpb.New(r.Duration),
		InBytes:     int64(r.InBytes),
		OutBytes:    int64(r.OutBytes),
		InPackets:   int64(r.InPackets),
		OutPackets:  int64(r.OutPackets),
		Reason:      toEnum[concentratorv1.LoginAttempt_Reason](r.Reason),
		Crashed:     r.Crash,
		Attempts:    int32(r.Attempts),
	}
}
