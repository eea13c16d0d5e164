package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/telemetry"
)

// TestUnwritableRecords: the accounting file's fault stands from the first record that it does not take to the first that it does.
func TestUnwritableRecords(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &local{path: filepath.Join(folder, "accounting.log"), faults: telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)}
	var err error
	if l.file, err = accounting.NewFile(l.path, 0); err != nil {
		t.Fatal(err)
	}
	defer l.file.Close()
	record := accounting.Record{ID: 1, Status: accounting.On, Tenant: "acme"}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := l.Account(t.Context(), record); err == nil {
		t.Error("a record was acknowledged that is nowhere")
	}
	if got := l.faults.Standing(); len(got) != 1 || got[0].Fault != telemetry.FaultAccounting || got[0].Subject != l.path {
		t.Errorf("standing: %+v", got)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Account(t.Context(), record); err != nil {
		t.Error(err)
	}
	if got := l.faults.Standing(); len(got) != 0 {
		t.Errorf("it can be written again, standing: %+v", got)
	}
}
