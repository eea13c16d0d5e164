package dataplane

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxBlind is how often a shard goes back at once to sources that gave a full batch, before it looks for others too.
const maxBlind = 2

// doze is for how many milliseconds a shard waits without telling the scheduler.
const doze = 1

// wait returns how many events there are. It blocks until one comes or the next timer is due, but first it dozes: a call that
// may block tells the scheduler, which takes the P away, wakes another thread with it and watches over that every 20 µs. A
// shard that waits thousands of times a second, each time for less than the doze, made that a quarter of what a login costs.
// Start counts one P for each shard, so nobody misses the one that dozes; who stops the world ends the doze by a signal.
func (s *shard) wait() int {
	if s.again > 0 && s.blind < maxBlind {
		s.blind++
		return s.again
	}
	s.blind = 0
	if s.called() {
		return s.poll(0)
	}
	timeout := -1
	if due, any := s.nextTimer(); any {
		s.tick()
		timeout = int(max(0, due-s.now)/int64(time.Millisecond)) + 1
	}
	if timeout < 0 || timeout > doze {
		if n := s.poll(doze); n != 0 {
			return n
		}
		if s.called() {
			return 0
		}
		timeout = max(-1, timeout-doze)
	}
	return s.poll(timeout)
}

// called says whether there are commands, or packets that other shards passed on.
func (s *shard) called() bool { return s.inbox.top.Load() != nil || s.ring.waiting() }

// nextTimer is when there is something to do next without a packet.
func (s *shard) nextTimer() (due int64, any bool) {
	if len(s.timed) > 0 {
		due, any = s.nextDue, true
	}
	if len(s.shaping) > 0 && (!any || s.nextShaped < due) {
		due, any = s.nextShaped, true
	}
	return due, any
}

// poll is epoll_pwait(2) with a timeout in milliseconds; -1 waits for ever. Up to a doze it does not tell the scheduler.
func (s *shard) poll(timeout int) int {
	var n uintptr
	var errno unix.Errno
	if timeout >= 0 && timeout <= doze {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll),
			uintptr(unsafe.Pointer(&s.events[0])), maxEvents, uintptr(timeout), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll),
			uintptr(unsafe.Pointer(&s.events[0])), maxEvents, uintptr(timeout), 0, 0)
	}
	if errno != 0 { // EINTR, by the runtime's preemption signals
		return 0
	}
	return int(n)
}
