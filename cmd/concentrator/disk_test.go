package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/config"
	"concentrator/internal/store/bolt"
	"concentrator/internal/telemetry"
)

// TestDisk: a file system that runs full is told before it is, one that can't be written at once, and one that is well again
// when it is so by a margin.
func TestDisk(t *testing.T) {
	var now syscall.Statfs_t
	var err error
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	cfg := config.Default()
	cfg.StateDir, cfg.Accounting.File = t.TempDir(), ""
	d := newDisk(cfg, faults)
	if len(d.files) != 1 {
		t.Fatalf("files %q: the accounting file is in the state directory", d.files)
	}
	d.statfs = func(_ string, s *syscall.Statfs_t) error { *s = now; return err }
	const mib = 256 // blocks
	of := func(total, free uint64) syscall.Statfs_t {
		return syscall.Statfs_t{Frsize: 4096, Blocks: total * mib, Bavail: free * mib, Files: 1 << 20, Ffree: 1 << 19}
	}
	for _, c := range []struct {
		name string
		s    syscall.Statfs_t
		err  error
		want string
	}{
		{"well", of(1000, 51), nil, ""},
		{"nearly full", of(1000, 49), nil, "50176 of 1024000 KiB are free"},
		{"a little better", of(1000, 60), nil, "61440 of 1024000 KiB are free"},
		{"well again", of(1000, 76), nil, ""},
		{"large", of(1<<20, 1025), nil, ""},
		{"large, and nearly full", of(1<<20, 1023), nil, "1047552 of 1073741824 KiB are free"},
		{"full", of(1000, 0), nil, "0 of 1024000 KiB are free"},
		{"gone", of(1000, 500), syscall.ENOENT, "no such file or directory"},
		{"read-only", syscall.Statfs_t{Flags: stReadOnly, Frsize: 4096, Blocks: 1, Bavail: 1}, nil, "mounted read-only"},
		{"no inodes", syscall.Statfs_t{Frsize: 4096, Blocks: 1000, Bavail: 1000, Files: 100, Ffree: 3}, nil, "room for 3 files more"},
		{"one that has no inodes at all", syscall.Statfs_t{Frsize: 4096, Blocks: 1000, Bavail: 1000}, nil, ""},
	} {
		now, err = c.s, c.err
		d.look()
		got := ""
		if all := faults.Standing(); len(all) == 1 && all[0].Fault == telemetry.FaultDisk && all[0].Subject == cfg.StateDir {
			got = all[0].Detail
		} else if len(all) != 0 {
			t.Errorf("%s: %+v", c.name, all)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDiskIsThere: the real call, on a real folder, and the second folder of a file that lies elsewhere.
func TestDiskIsThere(t *testing.T) {
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	cfg := config.Default()
	cfg.StateDir, cfg.Accounting.File = t.TempDir(), "/no/such/folder/accounting.log"
	newDisk(cfg, faults).look()
	var found bool
	for _, f := range faults.Standing() {
		found = found || f.Subject == "/no/such/folder" && f.Detail == "no such file or directory"
		if f.Detail == "mounted read-only" {
			t.Errorf("%+v", f)
		}
	}
	if !found {
		t.Errorf("standing: %+v", faults.Standing())
	}
	if why := refuses(t.TempDir()); why == "" { // a folder is what nobody may write, root neither
		t.Error("what can't be written is taken for well")
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
