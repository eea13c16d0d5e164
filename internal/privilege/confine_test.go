package privilege

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// helper is the variable that makes this program a process which confines itself, and tells what it then is.
const helper = "PRIVILEGE_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helper); mode != "" {
		if err := confined(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// report is what a confined process tells of itself.
type report struct {
	PID       int
	Args      []string
	Mark, Own string // the environment: Confine's variable, and ours
	State     struct {
		Capabilities, Lacking Set
		Namespaces            bool
		Unfiltered            string
	}
	Threads  []map[string]string // /proc/self/task/*/status
	Dumpable int
	Core     uint64
	Asked    int // how often Options.Namespaces was, in this image
	Refused  map[string]syscall.Errno
	Works    map[string]string // what went wrong
}

// confined is the process.
func confined(mode string) error {
	var r report
	s, err := Confine(context.Background(), Options{Debug: strings.Contains(mode, "debug"), Namespaces: func() (bool, error) {
		r.Asked++
		return strings.Contains(mode, "namespaces"), nil
	}})
	if err != nil {
		return err
	}
	r.State.Capabilities, r.State.Lacking, r.State.Namespaces = s.Capabilities, s.Lacking, s.Namespaces
	if s.Unfiltered != nil {
		r.State.Unfiltered = s.Unfiltered.Error()
	}
	r.PID, r.Args, r.Mark, r.Own = os.Getpid(), os.Args, os.Getenv(marker), os.Getenv(helper)
	r.Works = work()
	r.Refused = attempt()
	if r.Dumpable, err = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return err
	}
	r.Core = core.Cur
	if r.Threads, err = threadStatus(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func threadStatus() (all []map[string]string, err error) {
	files, err := filepath.Glob("/proc/self/task/*/status")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			return nil, err
		}
		one := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			one[key] = strings.TrimSpace(value)
		}
		all = append(all, one)
	}
	return all, err
}

// work does what the daemon does, and must go on to do.
func work() map[string]string {
	wrong := make(map[string]string)
	try := func(what string, f func() error) {
		if err := f(); err != nil {
			wrong[what] = err.Error()
		}
	}
	try("threads", func() error {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				runtime.LockOSThread()
				time.Sleep(20 * time.Millisecond)
			})
		}
		all.Wait()
		return nil
	})
	try("tcp", func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
	try("names", func() error {
		_, err := net.LookupHost("localhost")
		return err
	})
	try("files", func() error {
		f, err := os.CreateTemp("", "privilege")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString("x")
		return errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), f.Name()+"y"), os.Remove(f.Name()+"y"))
	})
	try("garbage", func() error {
		runtime.GC()
		return nil
	})
	try("raw socket", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	try("signals to itself", func() error { return unix.Kill(os.Getpid(), 0) })
	return wrong
}

// attempt tries what is to be refused, and would not be otherwise.
func attempt() map[string]syscall.Errno {
	result := make(map[string]syscall.Errno)
	call := func(name string, number uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		runtime.LockOSThread()
		_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		runtime.UnlockOSThread()
		result[name] = errno
	}
	err := exec.Command("/bin/true").Run()
	_ = errors.As(err, new(syscall.Errno))
	var errno syscall.Errno
	errors.As(err, &errno)
	result["run a program"] = errno
	call("ptrace", unix.SYS_PTRACE, unix.PTRACE_TRACEME)
	call("keyctl", unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2)) // of the session
	call("user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	call("mount namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
	call("packet socket", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW)
	call("memfd", unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(&[]byte("x\x00")[0])))
	call("signal to the parent", unix.SYS_KILL, uintptr(os.Getppid()))
	call("network namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNET) // on a thread that nobody uses any more
	call("system call of tomorrow", 4000)
	return result
}

// confine starts the helper with more of its environment, as root or as who it is told to.
func confine(t *testing.T, mode string, program string, attr *syscall.SysProcAttr, env ...string) report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // who may be traced may also stand still
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-an", "argument")
	cmd.Env = append(append(os.Environ(), helper+"="+mode), env...)
	cmd.SysProcAttr = attr
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var r report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	if r.PID != cmd.Process.Pid || len(r.Args) != 3 || r.Args[2] != "argument" || r.Mark != "" || r.Own != mode {
		t.Errorf("process %d came back as %+v", cmd.Process.Pid, r)
	}
	return r
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONCENTRATOR_REAL") == "1" {
		t.Fatal("CONCENTRATOR_REAL=1, but not root: there is nothing to give up")
	}
	t.Skip("needs root to have something to give up")
}

// check holds a report against what should have been kept.
func (r report) check(t *testing.T, kept Set) {
	t.Helper()
	if r.State.Capabilities != kept || r.State.Unfiltered != "" {
		t.Errorf("kept %v, want %v; filter: %q", r.State.Capabilities, kept, r.State.Unfiltered)
	}
	if len(r.Threads) < 5 {
		t.Errorf("%d threads seen", len(r.Threads))
	}
	for _, one := range r.Threads {
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			got, err := strconv.ParseUint(one[set], 16, 64)
			more := Set(got) &^ kept
			less := kept &^ Set(got)
			if err != nil || more != 0 || less != 0 && (set == "CapPrm" || set == "CapEff") {
				t.Errorf("thread %s: %s is %v, want %v", one["Pid"], set, Set(got), kept)
			}
		}
		if one["NoNewPrivs"] != "1" || one["Seccomp"] != "2" {
			t.Errorf("thread %s: NoNewPrivs %s, Seccomp %s", one["Pid"], one["NoNewPrivs"], one["Seccomp"])
		}
	}
	for what, why := range r.Works {
		t.Errorf("%s: %s", what, why)
	}
	for what, errno := range r.Refused {
		want := unix.EPERM
		switch {
		case what == "system call of tomorrow":
			want = unix.ENOSYS
		case what == "network namespace" && kept&namespaces != 0:
			want = 0
		}
		if errno != want {
			t.Errorf("%s: %v, want %v", what, errno, want)
		}
	}
}

func TestConfine(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		mode   string
		kept   Set
		hidden bool
	}{
		{"plain", always, true},
		{"namespaces", always | namespaces, true},
		{"debug", always, false},
	} {
		t.Run(c.mode, func(t *testing.T) {
			r := confine(t, c.mode, os.Args[0], nil)
			r.check(t, c.kept)
			if hidden := r.Dumpable == 0 && r.Core == 0; hidden != c.hidden {
				t.Errorf("dumpable %d, core limit %d", r.Dumpable, r.Core)
			}
			if r.Asked != 0 {
				t.Error("the new image asked for namespaces again")
			}
		})
	}
}

// A user who is not root gives up nothing, as systemd starts it, and has the rest done.
func TestConfineAsUser(t *testing.T) {
	needRoot(t)
	const nobody = 65534
	program := readable(t)
	attr := func(caps ...uintptr) *syscall.SysProcAttr {
		return &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: caps,
		}
	}
	few := []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_BPF}
	for name, c := range map[string]struct {
		caps []uintptr
		mode string
		kept Set
	}{
		"what it needs":   {few, "plain", always},
		"more":            {append(few, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_DAC_OVERRIDE), "plain", always},
		"with namespaces": {append(few, unix.CAP_SYS_ADMIN), "namespaces", always | namespaces},
		"less":            {few[1:], "namespaces", always &^ capabilities(unix.CAP_NET_ADMIN)},
	} {
		t.Run(name, func(t *testing.T) {
			r := confine(t, c.mode, program, attr(c.caps...))
			for _, one := range r.Threads {
				one["CapBnd"] = "0" // nobody may lower that without CAP_SETPCAP; with no_new_privs it gives nothing
			}
			r.check(t, c.kept)
			if want := always &^ c.kept; r.State.Lacking != want {
				t.Errorf("lacking %v, want %v", r.State.Lacking, want)
			}
		})
	}
}

// A program in a place that root passes only by a capability that is given up, as a home directory, is executed again all the same.
func TestConfineBehindAClosedDoor(t *testing.T) {
	needRoot(t)
	program := readable(t)
	dir := filepath.Dir(program)
	if err := errors.Join(os.Chown(dir, 65534, 65534), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	confine(t, "plain", program, nil).check(t, always)
}

// readable copies this program to where others may execute it.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "privilege") //nolint:usetesting // its parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(dir, "program")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// A variable that somebody else has set is no way around.
func TestForgedMarker(t *testing.T) {
	needRoot(t)
	for _, word := range []string{"0/0", "x", "ffffffffffffffff/0", ""} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), helper+"=plain", marker+"="+word)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err == nil || stderr.Len() == 0 {
			t.Errorf("%q: %v", word, err)
		}
	}
}

// What ends the process before it has begun anew ends it.
func TestConfineStopped(t *testing.T) {
	needRoot(t)
	why := errors.New("no state")
	if _, err := Confine(t.Context(), Options{Namespaces: func() (bool, error) { return false, why }}); !errors.Is(err, why) {
		t.Errorf("an error of the question: %v", err)
	}
}

func TestSetString(t *testing.T) {
	for set, want := range map[Set]string{
		0: "", always: "NET_BIND_SERVICE NET_ADMIN NET_RAW BPF", namespaces | 1: "0 SYS_ADMIN",
	} {
		if got := set.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint64(set), got, want)
		}
	}
}
