package vitals

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"

	"concentrator/internal/telemetry"
)

const (
	// every is how often it looks.
	every = time.Second
	// mayDrift is how far the wall clock may move against the monotonic one between two looks: a time server slews by 0.5 ms a
	// second, and a leap second is one.
	mayDrift = 2 * time.Second
	// A resource is short from nine tenths on, and enough again below eight.
	shortAt, enoughAt = 0.9, 0.8
)

// watcher is what is looked at. The functions are the process's own but in tests.
type watcher struct {
	faults      *telemetry.Faults
	now         func() (wall time.Time, up time.Duration) // up does not move when the clock is set
	descriptors func() (used, limit uint64, err error)
	memory      func() (used, limit uint64)

	wall                   time.Time // of the last look; zero: there was none
	up                     time.Duration
	fewDescriptors, narrow bool
}

// Watch looks each second until ctx ends.
func Watch(ctx context.Context, faults *telemetry.Faults) {
	begin := time.Now()
	now := func() (time.Time, time.Duration) {
		t := time.Now()
		return t.Round(0), t.Sub(begin) // Round takes the monotonic reading away
	}
	w := &watcher{faults: faults, now: now, descriptors: descriptors, memory: memory}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look compares what is with what was.
func (w *watcher) look() {
	wall, up := w.now()
	if step := wall.Sub(w.wall) - (up - w.up); !w.wall.IsZero() && step.Abs() > mayDrift {
		w.faults.Happened(telemetry.FaultClock, "", "the clock was set by "+step.Round(time.Millisecond).String())
	}
	w.wall, w.up = wall, up

	used, limit, err := w.descriptors()
	why := fmt.Sprintf("%d of %d descriptors are open", used, limit)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) { // none to count them by
		used, why, err = limit, err.Error(), nil
	}
	if err == nil {
		w.fewDescriptors = short(used, limit, w.fewDescriptors)
		w.set(telemetry.FaultDescriptors, w.fewDescriptors, why)
	}

	used, limit = w.memory()
	w.narrow = short(used, limit, w.narrow)
	w.set(telemetry.FaultHeap, w.narrow, fmt.Sprintf("%d of %d MiB are used", used>>20, limit>>20))
}

func (w *watcher) set(f telemetry.Fault, stands bool, why string) {
	if stands {
		w.faults.Raise(f, "", why)
	} else {
		w.faults.Clear(f, "")
	}
}

// short says whether a resource is; was is what was said last.
func short(used, limit uint64, was bool) bool {
	share := float64(used) / float64(limit)
	if was {
		return share >= enoughAt
	}
	return share >= shortAt
}

// descriptors counts those of the process.
func descriptors() (used, limit uint64, err error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, 1, fmt.Errorf("limit of descriptors: %w", err)
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, l.Cur, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return uint64(len(names)), l.Cur, err
}

// memory is what the runtime has of the system, and its limit (GOMEMLIMIT, which LimitMemory sets too).
func memory() (used, limit uint64) {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	limit = uint64(debug.SetMemoryLimit(-1))
	return s[0].Value.Uint64() - s[1].Value.Uint64(), max(limit, 1)
}

// growth is how much garbage there may be for each octet in use until the collector runs, in percent (GOGC). Only logins make
// garbage, traffic makes none. With half of what is usual a thousand that log in at once took 59 KiB each, not 63 to 66.
const growth = 50

// LimitMemory makes the garbage collector run sooner than is usual, unless GOGC says something, and work harder near the memory
// that the control group has, unless GOMEMLIMIT does. It returns the limit in octets, 0 for none.
func LimitMemory() uint64 {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(growth)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		if group := groupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); group > 0 {
			debug.SetMemoryLimit(int64(float64(group) * groupShare))
		}
	}
	if l := debug.SetMemoryLimit(-1); l != math.MaxInt64 {
		return uint64(l)
	}
	return 0
}
