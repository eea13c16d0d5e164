package server

import (
	"context"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

// drainSettings is what a drain is to do. A nil Deadline lets sessions end by themselves.
type drainSettings struct {
	Deadline *time.Duration `json:"deadline,omitempty"`
}

func (s instanceService) DrainInstance(ctx context.Context, r *concentratorv1.DrainInstanceRequest) (*concentratorv1.Operation, error) {
	m, err := s.named(r.GetName())
	if err != nil {
		return nil, err
	}
	var settings drainSettings
	if d := r.GetDeadline(); d != nil {
		settings.Deadline = new(d.AsDuration())
	}
	s.service.Lock()
	defer s.service.Unlock()
	if err := s.setDraining(&store.Drained{Since: time.Now().UTC(), Caller: callerOf(ctx).name}); err != nil {
		return nil, &resourceError{m.GetName(), err}
	}
	return s.ops.begin(ctx, work{
		kind: concentratorv1.Operation_DRAIN, target: m.GetName(), settings: settings, total: int64(m.GetSessions()),
	})
}

func (s instanceService) UndrainInstance(ctx context.Context, r *concentratorv1.UndrainInstanceRequest) (*concentratorv1.Instance, error) {
	m, err := s.named(r.GetName())
	if err != nil {
		return nil, err
	}
	s.service.Lock()
	defer s.service.Unlock()
	for _, op := range s.ops.find(func(op *running) bool { return op.job.kind == concentratorv1.Operation_DRAIN }) {
		if err := s.ops.halt(ctx, op, "the instance was put back into service"); err != nil {
			return nil, &resourceError{m.GetName(), err}
		}
	}
	if err := s.setDraining(nil); err != nil {
		return nil, &resourceError{m.GetName(), err}
	}
	return s.named(r.GetName())
}

// setDraining takes the instance out of service, or with nil puts it back, now and for the next start.
func (b *backend) setDraining(d *store.Drained) error {
	if err := b.store.SetDrained(b.live.Instance().Name, d); err != nil {
		return err
	}
	b.live.SetDraining(d != nil)
	b.readiness.look()
	return nil
}

// loadDraining has the instance out of service if it was so before it was started.
func (b *backend) loadDraining() error {
	d, err := b.store.Drained(b.live.Instance().Name)
	if err == nil && d != nil {
		b.live.SetDraining(true)
	}
	return err
}

// drain is the job of DrainInstance.
func (b *backend) drain(ctx context.Context, op *running) error {
	var settings drainSettings
	if err := op.settings(&settings); err != nil {
		return err
	}
	var end time.Time
	if settings.Deadline != nil {
		end = op.begun().Add(*settings.Deadline)
	}
	total := op.total()
	return b.live.Drain(ctx, end, func(left int) {
		total = max(total, int64(left)) // more than there were a moment ago, if some came in just then
		op.progress(total-int64(left), total)
	})
}
