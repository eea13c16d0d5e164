package telemetry

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Panicked tells of a panic that goes no further: p is what recover has given to the deferred function that calls this, subject
// what was worked for. f may be nil: then only log is told.
func (f *Faults) Panicked(log *slog.Logger, subject string, p any) {
	log.Error("panic contained", Resource, subject, Error, fmt.Sprint(p), Stack, string(debug.Stack()))
	f.Happened(FaultPanic, subject, fmt.Sprint(p))
}

// Guard runs do and tells of its panic instead of passing it on. It says whether do came to its end.
func (f *Faults) Guard(log *slog.Logger, subject string, do func()) (done bool) {
	defer func() {
		if p := recover(); p != nil {
			f.Panicked(log, subject, p)
		}
	}()
	do()
	return true
}
