package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread of its own, pinned to a CPU, that does one job after the other.
type thread struct {
	jobs chan func()
}

// newThread starts one. cpu is where it runs; -1: anywhere.
func newThread(cpu int) (*thread, error) {
	t := &thread{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		var err error
		if cpu >= 0 {
			var set unix.CPUSet
			set.Set(cpu)
			if err = unix.SchedSetaffinity(0, &set); err != nil {
				err = fmt.Errorf("pin a thread to CPU %d: %w", cpu, err)
			}
		}
		ready <- err
		for job := range t.jobs {
			job()
		}
	}()
	return t, <-ready
}

// do runs f there and waits for it.
func (t *thread) do(f func() error) error {
	done := make(chan error, 1)
	t.jobs <- func() { done <- f() }
	return <-done
}

func (t *thread) close() { close(t.jobs) }

// threadTime is the CPU time, user and system, that another thread of this process has used.
func threadTime(tid int) (time.Duration, error) {
	// clock_getres(2) has no name for it: the complement of the thread's ID, and the bits of a thread's scheduler clock.
	const perThreadSched = 4 | 2
	var ts unix.Timespec
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(int32(^tid<<3|perThreadSched)), uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("CPU time of thread %d: %w", tid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// sleeping says whether another thread of this process waits for something.
func sleeping(tid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return false, err
	}
	// The name, in parentheses, may hold anything; the state follows.
	at := bytes.LastIndexByte(text, ')')
	return at >= 0 && at+2 < len(text) && text[at+2] == 'S', nil
}

// lookEvery is how often quietAfter looks at a thread, seldom because each look disturbs it.
const lookEvery = 2 * time.Millisecond

// quietAfter waits until a thread has nothing more to do and returns its CPU time then.
func quietAfter(tid int, limit time.Duration) (time.Duration, error) {
	last := time.Duration(-1)
	time.Sleep(lookEvery)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		asleep, err := sleeping(tid)
		if err != nil {
			return 0, err
		}
		now, err := threadTime(tid)
		if err != nil {
			return 0, err
		}
		if asleep && now == last {
			return now, nil
		}
		last = now
		time.Sleep(lookEvery)
	}
	return 0, fmt.Errorf("thread %d did not come to rest within %v", tid, limit)
}

// allowedCPUs lists the CPUs that this process may use.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("ask which CPUs there are: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
