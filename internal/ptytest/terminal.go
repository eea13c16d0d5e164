// Package ptytest runs a program on a pseudo-terminal and keeps what stands on its screen, for tests of what draws on one. Its
// goroutines are one that reads what the program writes and one that waits for its end; both end with it. Only tests use it.
package ptytest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal with a program on it. It is safe for concurrent use.
type Terminal struct {
	cmd    *exec.Cmd
	master *os.File

	mu      sync.Mutex
	screen  *Screen
	changed chan struct{} // closed when more was drawn
	done    chan struct{} // closed when nobody draws any more

	exited chan struct{} // closed when the program has ended
	err    error         // how it ended, from then on
}

// Start starts a program with a terminal of so many columns and rows as its input, output and error output, and as the terminal
// that controls it. The program's environment should say TERM=xterm-256color. Close must be called.
func Start(cmd *exec.Cmd, columns, rows int) (*Terminal, error) {
	master, slave, err := open(columns, rows)
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		master.Close()
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	t := &Terminal{
		cmd: cmd, master: master, screen: NewScreen(columns, rows),
		changed: make(chan struct{}), done: make(chan struct{}), exited: make(chan struct{}),
	}
	go t.read()
	go func() {
		t.err = cmd.Wait()
		close(t.exited)
	}()
	return t, nil
}

// open makes a pseudo-terminal.
func open(columns, rows int) (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	return master, slave, nil
}

// read draws what the program writes, until it is gone: the kernel then says EIO.
func (t *Terminal) read() {
	defer close(t.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.screen.Write(buf[:n])
		close(t.changed)
		t.changed = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Screen is what stands on the screen: its rows without spaces at their ends.
func (t *Terminal) Screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.String()
}

// Colors is how often something was drawn in a colour.
func (t *Terminal) Colors() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.Colors()
}

// Type types keys: "q", "\r", "\x1b[B" for down.
func (t *Terminal) Type(keys string) error {
	_, err := t.master.WriteString(keys)
	return err
}

// Resize makes the terminal another size, and tells the program.
func (t *Terminal) Resize(columns, rows int) error {
	t.mu.Lock()
	t.screen.resize(columns, rows)
	t.mu.Unlock()
	return unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)})
}

// Wait waits until the screen is as it should be. Its error shows the screen.
func (t *Terminal) Wait(timeout time.Duration, good func(screen string) bool) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		t.mu.Lock()
		now, changed := t.screen.String(), t.changed
		t.mu.Unlock()
		if good(now) {
			return nil
		}
		select {
		case <-changed:
		case <-t.done:
			if now = t.Screen(); good(now) {
				return nil
			}
			return fmt.Errorf("the program is gone; the screen:\n%s", now)
		case <-deadline.C:
			return fmt.Errorf("not within %s; the screen:\n%s", timeout, now)
		}
	}
}

// End waits for the program's end, and returns its exit code; it is an error if it is not gone in time.
func (t *Terminal) End(timeout time.Duration) (code int, err error) {
	select {
	case <-t.exited:
		var exit *exec.ExitError
		if t.err != nil && !errors.As(t.err, &exit) {
			return 0, fmt.Errorf("wait for the program: %w", t.err)
		}
		return t.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		return 0, fmt.Errorf("the program had not ended after %s; the screen:\n%s", timeout, t.Screen())
	}
}

// Close kills the program if it is still there, and lets the terminal go.
func (t *Terminal) Close() {
	_ = t.cmd.Process.Kill() // it may have ended
	<-t.exited
	t.master.Close()
	<-t.done
}
