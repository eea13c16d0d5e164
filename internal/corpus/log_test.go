package corpus

import (
	"testing"

	"concentrator/internal/telemetry"
)

// recorder is a test that only notes that it has failed.
type recorder struct {
	testing.TB
	failed int
}

// Errorf implements testing.TB.
func (r *recorder) Errorf(string, ...any) { r.failed++ }

// TestLog: a panic that telemetry has contained is seen, another error is not.
func TestLog(t *testing.T) {
	r := &recorder{TB: t}
	log := Log(r).With("a", 1).WithGroup("g")
	log.Error("something else", "a", 1)
	if r.failed > 0 {
		t.Error("any error fails the target")
	}
	if (*telemetry.Faults)(nil).Guard(log, "subject", func() { panic("so") }) || r.failed == 0 {
		t.Error("a contained panic does not fail the target")
	}
}
