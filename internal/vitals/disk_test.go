package vitals

import (
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"

	"concentrator/internal/telemetry"
)

// TestDisk: a file system that runs full is told before it is, one that can't be written at once, and one that is well again
// when it is so by a margin.
func TestDisk(t *testing.T) {
	var now syscall.Statfs_t
	var err error
	faults := telemetry.NewFaults(slog.New(slog.DiscardHandler), nil)
	folder := t.TempDir()
	d := newDisk(faults, []string{filepath.Join(folder, "state.db")})
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
		if all := faults.Standing(); len(all) == 1 && all[0].Fault == telemetry.FaultDisk && all[0].Subject == folder {
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
	newDisk(faults, []string{filepath.Join(t.TempDir(), "state.db"), "/no/such/folder/accounting.log"}).look()
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
