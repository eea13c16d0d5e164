package server

import (
	"context"
	"iter"
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
	ctx context.Context, r *concentratorv1.ListAccountingQueuesRequest,
) (*concentratorv1.ListAccountingQueuesResponse, error) {
	l, err := newListing(r, (*concentratorv1.AccountingQueue)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	parent, err := s.liveParent(r.GetParent())
	if err != nil {
		return nil, err
	}
	all := sorted(s.live.AccountingStatus(parent), func(a session.AccountingStatus) string { return a.Tenant }, encodeQueue)
	page, next, err := pageOf(ctx, l, all, func(m *concentratorv1.AccountingQueue) string {
		return strings.TrimSuffix(m.GetName(), queuePart) // the list is sorted by tenant
	})
	return &concentratorv1.ListAccountingQueuesResponse{AccountingQueues: page, NextPageToken: next}, err
}

func (s accountingQueueService) ListAccountingRecords(
	ctx context.Context, r *concentratorv1.ListAccountingRecordsRequest,
) (*concentratorv1.ListAccountingRecordsResponse, error) {
	l, err := newListing(r, (*concentratorv1.AccountingRecord)(nil).ProtoReflect().Descriptor())
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
	all := func(after string) iter.Seq2[*concentratorv1.AccountingRecord, error] { return s.unsent(parent, after) }
	page, next, err := pageOf(ctx, l, all, (*concentratorv1.AccountingRecord).GetName)
	return &concentratorv1.ListAccountingRecordsResponse{Records: page, NextPageToken: next}, err
}

// unsent yields the records of one tenant, or of all tenants for "", behind the one called after: by tenant, and then in the
// order of their IDs.
func (s accountingQueueService) unsent(parent, after string) iter.Seq2[*concentratorv1.AccountingRecord, error] {
	return func(yield func(*concentratorv1.AccountingRecord, error) bool) {
		tenantOfLast, id, ok := strings.Cut(after, recordsPart)
		last, err := strconv.ParseUint(id, 10, 64)
		if after != "" && (!ok || err != nil) {
			yield(nil, errPageToken)
			return
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
			for more := true; more; {
				var list []session.AccountingRecord
				list, more = s.live.AccountingUnsent(owner, from, maxPage)
				for _, r := range list {
					if from = r.ID; !yield(encodeRecord(r), nil) {
						return
					}
				}
				more = more && len(list) > 0
			}
		}
	}
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
