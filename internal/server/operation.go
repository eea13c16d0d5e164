package server

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

type operationService struct {
	concentratorv1.UnimplementedOperationServiceServer
	*backend
}

// maxWait is how long WaitOperation waits at most, and if nothing is said.
const maxWait = 20 * time.Second

// operationKind is how operations are shown. They are made by the engine, so that there is nothing to decode.
var operationKind = &resource[store.Operation, *concentratorv1.Operation]{
	meta: func(r *store.Operation) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Operation, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeOperation,
	show:      func(*backend, *concentratorv1.Operation) {},
	lasting:   true,
	referrers: noReferrers,
}

func (s operationService) GetOperation(_ context.Context, r *concentratorv1.GetOperationRequest) (*concentratorv1.Operation, error) {
	return s.operation(r.GetName())
}

func (s operationService) ListOperations(ctx context.Context, r *concentratorv1.ListOperationsRequest) (*concentratorv1.ListOperationsResponse, error) {
	page, next, err := list(ctx, s.backend, operationKind, r, r.GetParent())
	return &concentratorv1.ListOperationsResponse{Operations: page, NextPageToken: next}, err
}

func (s operationService) WaitOperation(ctx context.Context, r *concentratorv1.WaitOperationRequest) (*concentratorv1.Operation, error) {
	timeout := r.GetTimeout().AsDuration()
	m, err := s.operation(r.GetName())
	if err != nil {
		return nil, err
	}
	if timeout == 0 && r.GetTimeout() == nil {
		timeout = maxWait
	}
	run := s.ops.named(m.GetName())
	if run == nil {
		return s.operation(r.GetName()) // it may have ended just now
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-run.ended:
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.stopping.Done():
		return nil, errShuttingDown
	}
	return s.operation(r.GetName())
}

func (s operationService) CancelOperation(ctx context.Context, r *concentratorv1.CancelOperationRequest) (*concentratorv1.Operation, error) {
	m, err := s.operation(r.GetName())
	if err != nil {
		return nil, err
	}
	if run := s.ops.named(m.GetName()); run != nil {
		if err := s.ops.halt(ctx, run, ""); err != nil {
			return nil, &resourceError{m.GetName(), err}
		}
	}
	return s.operation(r.GetName())
}

func (s operationService) DeleteOperation(_ context.Context, r *concentratorv1.DeleteOperationRequest) (*emptypb.Empty, error) {
	m, err := s.operation(r.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetEtag() != "" && r.GetEtag() != m.GetEtag() {
		return nil, &resourceError{m.GetName(), fmt.Errorf("delete %s: %w since etag %s", m.GetName(), store.ErrConflict, r.GetEtag())}
	}
	if m.GetState() == concentratorv1.Operation_RUNNING {
		return nil, newStatus(codes.FailedPrecondition, reasonRunning, m.GetName()+" runs: cancel it first, or wait for it",
			map[string]string{"resource": m.GetName()}).Err()
	}
	if !r.GetValidateOnly() {
		if err := s.ops.remove(m.GetName()); err != nil {
			return nil, &resourceError{m.GetName(), err}
		}
	}
	return &emptypb.Empty{}, nil
}

// operation returns one by its name.
func (b *backend) operation(name string) (*concentratorv1.Operation, error) {
	return get(b, operationKind, name)
}

// encodeStored makes the message of a record that was just written.
func encodeStored(r *store.Operation) *concentratorv1.Operation { return operationKind.raw(r) }

func encodeOperation(r *store.Operation) *concentratorv1.Operation {
	m := &concentratorv1.Operation{
		Kind:         toEnum[concentratorv1.Operation_Kind](r.Job),
		State:        toEnum[concentratorv1.Operation_State](r.State),
		Target:       r.Target,
		Caller:       r.Caller,
		Done:         r.Done,
		Total:        r.Total,
		Unit:         r.Unit,
		Detail:       r.Detail,
		ProblemCount: r.ProblemCount,
		FileSize:     r.FileSize,
		EndTime:      timestamp(r.EndTime),
	}
	for _, p := range r.Problems {
		m.Problems = append(m.Problems, &concentratorv1.Operation_Problem{Subject: p.Subject, Reason: p.Reason, Detail: p.Detail})
	}
	if r.State == store.OperationRunning {
		m.FileSize = 0 // it is not to be had yet
	}
	return m
}

// notRunning is an operation that has done nothing: the answer to a request that only asks what would be done.
func notRunning(ctx context.Context, d work, unit string, r store.Operation) *concentratorv1.Operation {
	now := time.Now().UTC()
	r.Job, r.Target, r.Caller, r.Unit = d.kind.String(), d.target, callerOf(ctx).name, unit
	r.Name = operationName(d.parent, "-")
	r.CreateTime, r.UpdateTime, r.EndTime = now, now, now
	if r.State = store.OperationSucceeded; r.ProblemCount > 0 {
		r.State = store.OperationFailed
	}
	return encodeStored(&r)
}
