package dataplane

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// moderationWindow is over what time the rate of packets is measured, in nanoseconds.
	moderationWindow = int64(time.Millisecond)
	// pause is how long a moderating shard lets packets come together, in nanoseconds.
	pause = int64(50 * time.Microsecond)
	// From busyPackets packets in a window that came in batches of fewer than smallBatch the shard moderates, and no longer
	// below calmPackets: an idle shard answers at once, and one whose batches are large gains nothing.
	busyPackets = 24
	calmPackets = 12
	smallBatch  = 16
)

// moderation lets packets of a stream that come one by one, faster than 20 000 a second, come together for a moment, as the
// interrupt moderation of network cards does: most of what such a packet costs is waking up for it. It never holds up what
// has been read.
type moderation struct {
	on      bool
	began   int64  // of the window
	packets uint64 // that the shard had read when it began
	rounds  int    // that have read something, since then
}

// due notes a round that ended now, when the shard had read so many packets since it began, and says whether to pause.
func (m *moderation) due(now int64, read uint64) bool {
	m.rounds++
	took := now - m.began
	if took < moderationWindow {
		return m.on
	}
	n := read - m.packets
	switch {
	case took >= 2*moderationWindow || n < calmPackets: // it has been idle
		m.on = false
	case n >= busyPackets:
		m.on = n < uint64(smallBatch*m.rounds)
	}
	m.began, m.packets, m.rounds = now, read, 0
	return m.on
}

// moderate is called when all that was read is on its way, and sleeps for a moment if that is worth it.
func (s *shard) moderate() {
	due := s.moderation.due(s.now, s.stats.WireInPackets+s.stats.TUNInPackets)
	if !due || s.again > 0 || s.called() {
		return
	}
	t := unix.Timespec{Nsec: pause}
	// Raw: a doze, as in wait.
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// sharpen makes the thread's short sleeps end when they should: by default they may last 50 µs longer.
func sharpen() error { return unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0) }
