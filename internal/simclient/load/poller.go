package load

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// poller waits for all sockets of a load on one goroutine and calls who reads them.
type poller struct {
	epoll, wake int
	done        chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	readers map[int32]func(events uint32) // by descriptor
}

// pollBatch is how many descriptors are reported at a time.
const pollBatch = 256

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll group: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	}
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("make an epoll group: %w", err)
	}
	p := &poller{epoll: epoll, wake: wake, done: make(chan struct{}), readers: map[int32]func(uint32){}}
	go p.run()
	return p, nil
}

// add calls read, on the poller's goroutine, whenever one of events has come for fd. read must not block.
func (p *poller) add(fd int, events uint32, read func(events uint32)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	p.readers[int32(fd)] = read
	return nil
}

// change changes the events that fd is watched for.
func (p *poller) change(fd int, events uint32) {
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}) // it is there
}

// remove ends the watch. The reader may be under way for the last time when it returns.
func (p *poller) remove(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers[int32(fd)] != nil {
		delete(p.readers, int32(fd))
		_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it is there
	}
}

// close ends the goroutine and waits for it.
func (p *poller) close() {
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // never full
	<-p.done
	_ = unix.Close(p.wake)
	_ = unix.Close(p.epoll)
}

func (p *poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, pollBatch)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == int32(p.wake) {
				return
			}
			p.mu.Lock()
			read := p.readers[e.Fd]
			p.mu.Unlock()
			if read != nil {
				read(e.Events)
			}
		}
	}
}
