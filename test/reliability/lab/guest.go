package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// GuestTime is how long a guest may take from its start to its end.
const GuestTime = 4 * time.Minute

// guestDone is what a guest's first process writes when it has come to its end.
const guestDone = "the guest has done its work"

// Guest runs a guest kernel with so many MiB of memory (User-Mode Linux), whose root is the host's own, read-only, and returns what it
// has logged and how it failed. The script init is its first process; words are the rest of its command line, of which the script
// has those that the kernel does not know as variables. The script finds in $lab the host's path of the folder dir, logs to
// guest.log in it, ends with the line "the guest has done its work" and halts.
func Guest(t testing.TB, dir string, init []byte, mib int, words ...string) (string, error) {
	t.Helper()
	script, log := filepath.Join(dir, "init"), filepath.Join(dir, "guest.log")
	if err := os.WriteFile(script, init, 0o700); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), GuestTime)
	defer cancel()
	guest := exec.CommandContext(ctx, "linux.uml", append([]string{
		fmt.Sprintf("mem=%dM", mib), "quiet", "con=null", "con0=null,fd:1",
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + script,
		fmt.Sprintf("umid=lab-%d", os.Getpid()), "uml_dir=" + dir + "/", "lab=" + dir,
	}, words...)...)
	// A session of its own, so that its helper processes go with it.
	guest.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	guest.Cancel = func() error { return syscall.Kill(-guest.Process.Pid, syscall.SIGKILL) }
	console, err := guest.CombinedOutput()
	said, _ := os.ReadFile(log) // there is none if it did not get that far
	if err == nil && !strings.Contains(string(said), guestDone) {
		err = errors.New("it did not come to its end")
	}
	if err != nil {
		err = fmt.Errorf("guest: %w\n%s\n%s", err, console, said)
	}
	return string(said), err
}
