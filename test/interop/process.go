//go:build interop

package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// errEnded is returned when a process that should run is gone.
var errEnded = errors.New("it has ended")

// process is a server that a test run starts: its output goes to a file, and it dies with the run.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it is gone
}

// startProcess starts the command line args; both its outputs are appended to the file log.
func startProcess(log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState keeps what it says
		close(p.ended)
	}()
	return p, nil
}

// wait asks ready until it says yes. The end of the process, or of the limit, is an error with the end of its log.
func (p *process) wait(ready func() bool, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for !ready() {
		select {
		case <-p.ended:
			return fmt.Errorf("%w: %v\n%s", errEnded, p.cmd.ProcessState, tail(p.log, 20))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v\n%s", limit, tail(p.log, 20))
		}
	}
	return nil
}

// stop sends the signal and waits for the end. After the limit the process is killed, and that is an error; a Go program
// leaves in its log where it was stuck.
func (p *process) stop(sig syscall.Signal, limit time.Duration) (*os.ProcessState, error) {
	_ = p.cmd.Process.Signal(sig) // it may be gone already
	select {
	case <-p.ended:
		return p.cmd.ProcessState, nil
	case <-time.After(limit):
	}
	last := tail(p.log, 20)
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return p.cmd.ProcessState, fmt.Errorf("did not end within %v of %v\n%s", limit, sig, last)
}
