package privilege

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is the variable by which Confine knows that it has executed the program again. It holds what was kept and what had
// been wanted, and is gone before the program's own code can see it.
const marker = "CONCENTRATOR_CONFINED"

// Options say what is kept.
type Options struct {
	// Namespaces says whether network namespaces are to be made and entered. It is asked at most once, and only where the
	// process can say yes.
	Namespaces func() (bool, error)
	// Debug leaves it to the system whether there are core dumps, and who may attach a debugger.
	Debug bool
}

// State is what the process has kept.
type State struct {
	Capabilities Set
	Lacking      Set   // wanted, but not there before Confine
	Namespaces   bool  // network namespaces can be made and entered
	Unfiltered   error // why system calls are not filtered; nil: they are
}

// Confine gives up all capabilities but those that are needed, in all threads and for what they might execute, sees to it
// that no memory of the process gets into a core dump, and then lets only those system calls through that the daemon makes:
// it can't execute anything any more. Unless there is nothing to give up, it executes the program again, and so comes
// back in the new image only; it must be called before the program has done anything but read. A signal that ends ctx
// before that ends Confine with its error.
func Confine(ctx context.Context, o Options) (State, error) {
	kept, want, err := capabilitiesFor(ctx, o)
	if err != nil {
		return State{}, err
	}
	if !o.Debug {
		if err := hideMemory(); err != nil {
			return State{}, err
		}
	}
	s := State{Capabilities: kept, Lacking: want &^ kept, Namespaces: kept&namespaces != 0}
	s.Unfiltered = filterSystemCalls(s.Namespaces)
	return s, nil
}

// capabilitiesFor reduces the process, and returns what it has and what it should have.
func capabilitiesFor(ctx context.Context, o Options) (kept, want Set, err error) {
	runtime.LockOSThread()
	h, err := held()
	runtime.UnlockOSThread()
	if err != nil {
		return 0, 0, err
	}
	if word, again := os.LookupEnv(marker); again {
		if err := os.Unsetenv(marker); err != nil {
			return 0, 0, err
		}
		if _, err := fmt.Sscanf(word, "%x/%x", &kept, &want); err != nil {
			return 0, 0, fmt.Errorf("%s=%s is not of this program: %w", marker, word, err)
		}
		return kept, want, h.check(kept)
	}
	want = always
	if h.known&capabilities(unix.CAP_BPF) == 0 { // before Linux 5.8 it was a part of the other
		want = want&h.known | namespaces
	}
	if h.permitted&namespaces != 0 && want&namespaces == 0 {
		yes, err := o.Namespaces()
		if err != nil {
			return 0, 0, err
		}
		if yes {
			want |= namespaces
		}
	}
	kept = want & h.permitted
	if h.check(kept) == nil {
		return kept, want, nil
	}
	return 0, 0, again(ctx, kept, want)
}

// check says what is wrong with a thread that should have kept and nothing else.
func (h holding) check(kept Set) error {
	switch {
	case !h.noNewPrivs:
		return errors.New("no_new_privs is not set")
	case h.excess(kept) != 0:
		return fmt.Errorf("capabilities %v have not been given up", h.excess(kept))
	case h.effective != kept || h.permitted != kept:
		return fmt.Errorf("capabilities are %v, not %v", h.effective&h.permitted, kept)
	}
	return nil
}

// again reduces this thread and executes the program anew. It returns only if that fails.
func again(ctx context.Context, kept, want Set) error {
	runtime.LockOSThread() // for good: a thread with fewer rights than the others can't go back to them
	h, err := held()
	if err != nil {
		return err
	}
	if err := h.reduce(kept); err != nil {
		return err
	}
	signal.Reset() // from here on a signal ends the process, before, in and after execve
	if err := ctx.Err(); err != nil {
		return err
	}
	path := program()
	mark := fmt.Sprintf("%s=%x/%x", marker, uint64(kept), uint64(want))
	err = syscall.Exec(path, os.Args, append(os.Environ(), mark)) //nolint:gosec // ourselves
	return fmt.Errorf("execute %s again: %w", path, err)
}

// program is where this program is: by its path, from which the process has its name, unless that is another's now.
func program() string {
	const self = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return self
	}
	now, err := os.Stat(path)
	if err != nil {
		return self
	}
	if ours, err := os.Stat(self); err == nil && !os.SameFile(now, ours) {
		return self
	}
	return path
}

// hideMemory sees to it that there are no core dumps, and that nobody but root looks into the process.
func hideMemory() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the memory: %w", err)
	}
	return nil
}
