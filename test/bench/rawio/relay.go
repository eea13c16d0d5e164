package rawio

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relay carries packets as they come, those by wire with Up and those from the device with Down, and waits in ppoll(2) when
// there are none.
type Relay struct {
	Stop  atomic.Bool   // ends it, if need be after a nap
	Moved atomic.Uint64 // packets so far
}

// nap is how long a relay waits before it looks whether it shall end, in nanoseconds.
const nap = 20_000_000

// Run is the relay's work, without a look at the clock.
func (r *Relay) Run(l *Loop, u Up, d Down) error {
	l.meter.off = true
	defer func() { l.meter.off = false }()
	fds := [2]unix.PollFd{{Fd: int32(l.wire), Events: unix.POLLIN}, {Fd: int32(l.tun), Events: unix.POLLIN}}
	for !r.Stop.Load() {
		timeout := unix.Timespec{Nsec: nap}
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
			uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("wait: %w", errno)
		}
		if errno != 0 || n == 0 {
			continue
		}
		if fds[0].Revents != 0 {
			c, err := l.Up(Batch, u)
			if err != nil {
				return err
			}
			r.Moved.Add(uint64(c.Packets))
		}
		if fds[1].Revents != 0 {
			c, err := l.Down(Batch, d)
			if err != nil {
				return err
			}
			r.Moved.Add(uint64(c.Packets))
		}
	}
	return nil
}
