package server

import (
	"context"
	"slices"
	"time"

	"concentrator/internal/session"
)

// fakeDrain is a liveDrain that the test leads.
type fakeDrain struct {
	drained  bool
	ends     bool // whoever is disconnected goes
	standing session.Standing
	drain    func(ctx context.Context, end time.Time, note func(left int)) error // nil: nobody is there
}

func (f *fakeLive) SetDraining(draining bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = draining
}

func (f *fakeLive) draining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drained
}

// ordered are the sessions that were to end, and why.
func (f *fakeLive) ordered() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.disconnected)
}

func (f *fakeDrain) Drain(ctx context.Context, end time.Time, note func(left int)) error {
	if f.drain == nil {
		note(0)
		return nil
	}
	return f.drain(ctx, end, note)
}

func (f *fakeLive) Standing() session.Standing {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.standing
}
