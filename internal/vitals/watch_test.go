package vitals

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"concentrator/internal/telemetry"
)

func newWatcher(log *strings.Builder) *watcher {
	return &watcher{
		faults:      telemetry.NewFaults(slog.New(slog.NewTextHandler(log, nil)), nil),
		now:         func() (time.Time, time.Duration) { return time.Unix(1e9, 0), 0 },
		descriptors: func() (uint64, uint64, error) { return 10, 100, nil },
		memory:      func() (uint64, uint64) { return 10 << 20, 100 << 20 },
	}
}

func (w *watcher) names() (names []string) {
	for _, s := range w.faults.Standing() {
		names = append(names, string(s.Fault))
	}
	return names
}

// A clock that is set by an hour is a fault, whichever way; one that goes as time does is none, however long between two looks.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		step  time.Duration
		fault bool
	}{{"forward", time.Hour, true}, {"back", -time.Hour, true}, {"a leap second", time.Second, false}, {"on", 0, false}} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			w := newWatcher(&log)
			w.look()
			w.now = func() (time.Time, time.Duration) {
				return time.Unix(1e9, 0).Add(10*time.Second + tt.step), 10 * time.Second
			}
			w.look()
			if got := strings.Contains(log.String(), "fault=CLOCK"); got != tt.fault {
				t.Errorf("fault %v, want %v: %s", got, tt.fault, log.String())
			}
		})
	}
}

// Descriptors and memory are short from nine tenths on, and enough below eight.
func TestShortage(t *testing.T) {
	var log strings.Builder
	w := newWatcher(&log)
	var used uint64
	w.descriptors = func() (uint64, uint64, error) { return used, 1000, nil }
	w.memory = func() (uint64, uint64) { return used << 20, 1000 << 20 }
	for _, tt := range []struct {
		used  uint64
		short bool
	}{{890, false}, {900, true}, {810, true}, {799, false}, {890, false}, {1000, true}} {
		used = tt.used
		w.look()
		if got := len(w.names()); got != map[bool]int{true: 2}[tt.short] {
			t.Errorf("%d of 1000: %v stand", used, w.names())
		}
	}
	used = 0
	w.descriptors = func() (uint64, uint64, error) {
		return 0, 1000, &os.PathError{Op: "open", Path: "/proc/self/fd", Err: syscall.EMFILE}
	}
	w.look()
	if got := w.names(); len(got) != 1 || got[0] != "DESCRIPTORS" {
		t.Errorf("no descriptor to count them by: %v", got)
	}
}

// The process's own figures can be read, and a limit that is none is never near.
func TestOwn(t *testing.T) {
	used, limit, err := descriptors()
	if err != nil || used < 3 || limit < used {
		t.Errorf("%d of %d descriptors, %v", used, limit, err)
	}
	if used, limit := memory(); used < 1<<20 || limit != math.MaxInt64 && limit < used {
		t.Errorf("%d of %d octets", used, limit)
	}
}

// The least of the control group's limit and those above it counts.
func TestGroupMemory(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("table", "1:name=systemd:/x\n0::/system.slice/vpn.service\n")
	table := filepath.Join(root, "table")
	if n := groupMemory(table, root); n != 0 {
		t.Errorf("no limit anywhere: %d", n)
	}
	write("system.slice/vpn.service/memory.max", "max\n")
	write("system.slice/memory.max", "1073741824\n")
	if n := groupMemory(table, root); n != 1<<30 {
		t.Errorf("a slice of 1 GiB: %d", n)
	}
	write("system.slice/vpn.service/memory.max", "536870912\n")
	if n := groupMemory(table, root); n != 512<<20 {
		t.Errorf("a service of 512 MiB in it: %d", n)
	}
	if n := groupMemory(filepath.Join(root, "none"), root); n != 0 {
		t.Errorf("no control groups: %d", n)
	}
}
