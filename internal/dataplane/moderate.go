package dataplane

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// moderationWindow is over what time the rate of packets is measured, in nanoseconds.
	moderationWindow = int64(time.Millisecond)
	// maxPause is how long a moderating shard lets packets come together at most, in nanoseconds. Network cards that adapt
	// do it for as long.
	maxPause = int64(200 * time.Microsecond)
	// wantBatch is for how many packets it waits, if they come so fast. More make none of them much cheaper.
	wantBatch = 32
	// From busyPackets packets in a window that came in batches of fewer than fullBatch the shard moderates, and no longer
	// below calmPackets: an idle shard answers at once, and one whose batches are large gains nothing.
	busyPackets = 12
	calmPackets = 6
	fullBatch   = 40
)

// moderation lets packets of a stream that come one by one, faster than 12 000 a second, come together for a moment, as the
// interrupt moderation of network cards does: most of what such a packet costs is waking up for it. It never holds up what
// has been read.
type moderation struct {
	pause   int64  // nanoseconds; 0: none
	began   int64  // of the window
	packets uint64 // that the shard had read when it began
	rounds  int    // that have read something, since then
}

// due notes a round that ended now, when the shard had read so many packets since it began, and says how long to pause.
func (m *moderation) due(now int64, read uint64) (pause int64) {
	m.rounds++
	took := now - m.began
	if took < moderationWindow {
		return m.pause
	}
	n := read - m.packets
	switch {
	case took >= 2*moderationWindow || n < calmPackets: // it has been idle
		m.pause = 0
	case n >= uint64(fullBatch*m.rounds):
		m.pause = 0
	case n >= busyPackets:
		m.pause = min(maxPause, wantBatch*took/int64(n))
	}
	m.began, m.packets, m.rounds = now, read, 0
	return m.pause
}

// moderate is called when all that was read is on its way, and sleeps for a moment if that is worth it.
func (s *shard) moderate() {
	pause := s.moderation.due(s.now, s.stats.WireInPackets+s.stats.TUNInPackets)
	if pause == 0 || s.again > 0 || s.called() {
		return
	}
	t := unix.Timespec{Nsec: pause}
	// Raw: a doze, as in wait.
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// sharpen makes the thread's short sleeps end when they should: by default they may last 50 µs longer.
func sharpen() error { return unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0) }
