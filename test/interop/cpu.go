//go:build interop

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pinnedThreads lists the threads of a process that may run on one CPU only: the daemon's shards.
func pinnedThreads(t testing.TB, pid int) []int {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pinned []int
	for _, task := range tasks {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task.Name()))
		if err != nil {
			continue // it has just ended
		}
		_, list, _ := strings.Cut(string(status), "Cpus_allowed_list:\t")
		list, _, _ = strings.Cut(list, "\n")
		if list != "" && !strings.ContainsAny(list, ",-") {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				t.Fatal(err)
			}
			pinned = append(pinned, tid)
		}
	}
	if len(pinned) == 0 {
		t.Fatalf("process %d has no thread that is pinned to one CPU", pid)
	}
	return pinned
}

// clockTicks is the unit of /proc's CPU times: USER_HZ, 100 a second on every Linux that Go runs on.
const clockTicks = 100

// threadCPU is the CPU time, user and system, that a thread of a process has used; to 20 ms.
func threadCPU(t testing.TB, pid, tid int) time.Duration {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The thread's name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return time.Duration(user+system) * time.Second / clockTicks
}
