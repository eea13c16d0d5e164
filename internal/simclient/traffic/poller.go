package traffic

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance (epoll(7)), level-triggered. It belongs to one thread.
type poller struct {
	fd     int
	events [batch]unix.EpollEvent
	ready  [batch]int
	limit  unix.Timespec // of the wait
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &poller{fd: fd}, nil
}

// add lets wait return index when fd can be read.
func (p *poller) add(fd, index int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(index)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

// wait returns the indices of what can be read, at the latest after d; borrowed until the next call.
func (p *poller) wait(d time.Duration) ([]int, error) {
	p.limit = unix.NsecToTimespec(int64(d))
	var n uintptr
	var errno unix.Errno
	if d > 0 {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&p.limit)), 0, 0)
	} else { // raw, because a call that can't block need not tell the scheduler
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&p.limit)), 0, 0)
	}
	switch {
	case errors.Is(errno, unix.EINTR):
		return nil, nil
	case errno != 0:
		return nil, fmt.Errorf("wait for sockets: %w", errno)
	}
	for i := range n {
		p.ready[i] = int(p.events[i].Fd)
	}
	return p.ready[:n], nil
}

func (p *poller) close() error { return unix.Close(p.fd) }
