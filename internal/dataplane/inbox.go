package dataplane

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// command is something to do on the shard's thread.
type command struct {
	next *command
	of   blame // whose it is
	run  func(*shard)
}

// inbox is a shard's queue of commands: any goroutine pushes, the shard takes. Neither ever waits for the other.
type inbox struct {
	top atomic.Pointer[command] // a stack, newest first
	bell
}

// bell is an eventfd that ends a shard's wait. It is never closed by hand, because a late ring could then write to
// whatever got its number: the File closes it when nobody can ring any more.
type bell struct {
	file *os.File
	fd   int
}

func newBell() (bell, error) {
	// Blocking: nobody reads an eventfd that is not readable, and a write blocks after 2^64 rings.
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return bell{}, fmt.Errorf("make eventfd: %w", err)
	}
	return bell{file: os.NewFile(uintptr(fd), "shard bell"), fd: fd}, nil
}

// stroke is what ringing writes, in the byte order of the machine.
var stroke = binary.NativeEndian.AppendUint64(nil, 1)

// ring wakes the shard. It never blocks, so the scheduler need not be told.
func (b bell) ring() {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(b.fd), uintptr(unsafe.Pointer(&stroke[0])), uintptr(len(stroke)))
		if errno != unix.EINTR {
			break
		}
	}
	runtime.KeepAlive(b.file)
}

// silence hears all rings so far.
func (b bell) silence() {
	var n [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(b.fd), uintptr(unsafe.Pointer(&n[0])), uintptr(len(n)))
}

// push adds a command that is nobody's and wakes the shard if it may be asleep.
func (in *inbox) push(run func(*shard)) { in.pushFor(blame{}, run) }

// pushFor adds a command for a call or a peer of the shard.
func (in *inbox) pushFor(of blame, run func(*shard)) {
	c := &command{of: of, run: run}
	for {
		top := in.top.Load()
		c.next = top
		if in.top.CompareAndSwap(top, c) {
			if top == nil {
				in.ring()
			}
			return
		}
	}
}

// take returns all commands, oldest first.
func (in *inbox) take() *command {
	var first *command
	for c := in.top.Swap(nil); c != nil; {
		c, c.next, first = c.next, first, c
	}
	return first
}
