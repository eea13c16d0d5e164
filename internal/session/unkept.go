package session

import (
	"context"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
)

// unkept is the Ledger of a Manager that has none.
type unkept struct{}

var _ Ledger = unkept{}

func (unkept) Run(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (unkept) Start(accounting.Session) error { return nil }

func (unkept) Update(accounting.Session) error { return nil }

func (unkept) Interim(string, accounting.Counters, time.Time) error { return nil }

func (unkept) Checkpoint([]accounting.Live) error { return nil }

func (unkept) Stop(string, accounting.Counters, tenant.Reason, string, time.Time) error { return nil }

func (unkept) On(string) error { return nil }

func (unkept) Off(string) error            { return nil }
func (unkept) Poke(string)                 {}
func (unkept) Drain(context.Context) error { return nil }

func (unkept) Status(string) []accounting.TenantStatus { return nil }

func (unkept) Unsent(string, uint64, int) ([]accounting.Record, bool) { return nil, false }
