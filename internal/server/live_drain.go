package server

import (
	"context"
	"time"

	"concentrator/internal/session"
)

// liveDrain is what taking the instance out of service needs of the running sessions.
type liveDrain interface {
	// SetDraining says whether new calls are refused with DRAINING.
	SetDraining(draining bool)
	// Drain ends all sessions, spread evenly until end, at once if it has passed; for the zero time they end by themselves.
	// It returns when none is left, or with ctx's error. note, which must not block, is told how many are left.
	Drain(ctx context.Context, end time.Time, note func(left int)) error
	// Standing says what of what the store asks for is not there.
	Standing() session.Standing
}
