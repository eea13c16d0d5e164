package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"concentrator/internal/config"
	"concentrator/internal/store"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
)

// TestFilesAreMeasured: commits that went well and those that did not, and the size, by the file's name.
func TestFilesAreMeasured(t *testing.T) {
	var f files
	path := filepath.Join(t.TempDir(), "state.db")
	kv, err := f.open(path, telemetry.FaultStore, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.open("/dev/null/leases.db", telemetry.FaultMemory, bolt.Options{}); err == nil {
		t.Fatal("a file was opened in what is no folder")
	}
	f.all[1].committed(0, errors.New("disk full"))
	m := telemetry.NewMetrics()
	f.observe(m, slog.New(slog.DiscardHandler))
	for range 3 {
		if _, ok, err := kv.Commit(t.Context(), nil, []store.Op{{Key: "k", Value: []byte("v")}}); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if name, ok := strings.CutPrefix(family.GetName(), "concentrator_store_"); ok {
			for _, s := range family.GetMetric() {
				got[name+" "+s.GetLabel()[0].GetValue()] = s.GetGauge().GetValue() + s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{
		"commit_duration_seconds state": 3, "commit_errors_total state": 0,
		"commit_duration_seconds leases": 0, "commit_errors_total leases": 1, "file_bytes leases": 0,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s: %v, %v, want %v", name, n, ok, want)
		}
	}
	if got["file_bytes state"] < 4096 {
		t.Errorf("the file has %v octets", got["file_bytes state"])
	}
}

// TestTracingIsOff: unless the file says where traces go, and that there are any.
func TestTracingIsOff(t *testing.T) {
	for name, c := range map[string]struct {
		t  config.Tracing
		on bool
	}{
		"nothing said": {config.Default().Tracing, false},
		"none of them": {config.Tracing{Endpoint: "127.0.0.1:4317"}, false},
		"all of them":  {config.Tracing{Endpoint: "127.0.0.1:4317", Insecure: true, SampleRatio: 1}, true},
	} {
		tracer, end, err := startTracing(config.Config{Tracing: c.t}, slog.New(slog.DiscardHandler))
		if err != nil || (tracer != nil) != c.on {
			t.Errorf("%s: %v, %v", name, tracer, err)
		}
		end(t.Context())
	}
}

// TestWritten: a disk is watched once, and that of an accounting file elsewhere too.
func TestWritten(t *testing.T) {
	cfg := config.Default()
	cfg.StateDir = "/state"
	for _, c := range []struct {
		file string
		want int
	}{{"", 1}, {"/state/accounting.log", 1}, {"/elsewhere/accounting.log", 2}} {
		cfg.Accounting.File = c.file
		if got := written(cfg); len(got) != c.want || filepath.Dir(got[0]) != cfg.StateDir || got[len(got)-1] != c.file && c.want == 2 {
			t.Errorf("with %q: %q", c.file, got)
		}
	}
}

// TestUnwritableFile: the fault of a file stands from the first transaction that fails to the first that does not, also when only
// probe writes.
func TestUnwritableFile(t *testing.T) {
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	f := files{faults: faults}
	path := filepath.Join(t.TempDir(), "leases.db")
	kv, err := f.open(path, telemetry.FaultMemory, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	for range 2 {
		f.all[0].written(faults, syscall.ENOSPC)
	}
	got := faults.Standing()
	if len(got) != 1 || got[0].Fault != telemetry.FaultMemory || got[0].Subject != "leases.db" || got[0].Detail != syscall.ENOSPC.Error() {
		t.Errorf("standing: %+v", got)
	}
	f.probe(t.Context())
	if got := faults.Standing(); len(got) != 0 {
		t.Errorf("it can be written again, standing: %+v", got)
	}
}
