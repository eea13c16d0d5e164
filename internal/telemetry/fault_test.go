package telemetry_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"concentrator/internal/telemetry"
)

// A fault is logged when it begins and when it ends, once each, and its detail is the latest.
func TestFaults(t *testing.T) {
	var text strings.Builder
	f := telemetry.NewFaults(slog.New(slog.NewTextHandler(&text, nil)), telemetry.NewMetrics())
	f.Raise(telemetry.FaultNetwork, "tenants/b", "the device is gone")
	f.Raise(telemetry.FaultNetwork, "tenants/a", "the device is gone")
	for range 100 {
		f.Raise(telemetry.FaultNetwork, "tenants/a", "the namespace is gone")
	}
	f.Clear(telemetry.FaultNetwork, "tenants/c")
	f.Happened(telemetry.FaultClock, "", "set by 1h0m0s")
	got := f.Standing()
	if len(got) != 2 || got[0].Subject != "tenants/a" || got[0].Detail != "the namespace is gone" || got[1].Subject != "tenants/b" {
		t.Errorf("standing: %+v", got)
	}
	f.Clear(telemetry.FaultNetwork, "tenants/a")
	f.Clear(telemetry.FaultNetwork, "tenants/a")
	f.Clear(telemetry.FaultNetwork, "tenants/b")
	if got := f.Standing(); len(got) != 0 {
		t.Errorf("all are over, standing: %+v", got)
	}
	if n, m := strings.Count(text.String(), "msg=fault "), strings.Count(text.String(), `msg="fault is over"`); n != 3 || m != 2 {
		t.Errorf("%d begins and %d ends are logged:\n%s", n, m, text.String())
	}
}

// A nil Faults keeps nothing, and a full one goes on counting.
func TestFaultsAreBounded(t *testing.T) {
	var none *telemetry.Faults
	none.Raise(telemetry.FaultDisk, "", "")
	none.Clear(telemetry.FaultDisk, "")
	none.Happened(telemetry.FaultDisk, "", "")
	if none.Standing() != nil {
		t.Error("nil keeps faults")
	}
	f := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	for i := range 10_000 {
		f.Raise(telemetry.FaultRADIUS, fmt.Sprint(i), "")
	}
	if n := len(f.Standing()); n > 5000 {
		t.Errorf("%d faults are kept", n)
	}
}
