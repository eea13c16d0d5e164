package dataplane

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"concentrator/internal/telemetry"
)

const (
	// sendingInterval is how often it is looked whether the kernel takes what is sent.
	sendingInterval = 2 * time.Second
	// sendingCalm is for how many of them nothing must go wrong until a fault is over.
	sendingCalm = 2
)

// noteUnsent counts a message that the kernel did not take, where that is not the peer's matter.
func (s *shard) noteUnsent(errno unix.Errno) {
	switch errno {
	case unix.ENOBUFS, unix.EAGAIN, unix.ENOMEM:
		s.stats.SendBuffers++
	case unix.EPERM, unix.EACCES, unix.ENETDOWN:
		s.stats.SendRefused++
		s.refusal = errno
	default:
	}
}

// unsent is what a shard could not send so far.
type unsent struct {
	buffers, refused uint64
	refusal          unix.Errno // the last
}

// watchSending tells of what shards can't send, as long as they can't.
func (d *Dataplane) watchSending(ctx context.Context) {
	tick := time.NewTicker(sendingInterval)
	defer tick.Stop()
	last := make([]unsent, len(d.shards))
	quiet := make([][2]int, len(d.shards)) // intervals without, of each fault
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := make([]unsent, len(d.shards))
		if d.onAll(func(s *shard) { now[s.id] = unsent{s.stats.SendBuffers, s.stats.SendRefused, s.refusal} }) != nil {
			continue
		}
		for i := range now {
			d.tellUnsent(i, telemetry.FaultSendBuffers, now[i].buffers-last[i].buffers, "no buffers", &quiet[i][0])
			d.tellUnsent(i, telemetry.FaultListener, now[i].refused-last[i].refused, now[i].refusal.Error(), &quiet[i][1])
		}
		last = now
	}
}

// tellUnsent raises a shard's fault while there is more to tell of it, and clears it after a calm.
func (d *Dataplane) tellUnsent(shard int, fault telemetry.Fault, more uint64, why string, quiet *int) {
	switch {
	case more > 0:
		*quiet = 0
		d.faults.Raise(fault, shardName(shard), fmt.Sprintf("%d packets not sent in %v: %s", more, sendingInterval, why))
	case *quiet < sendingCalm:
		if *quiet++; *quiet == sendingCalm {
			d.faults.Clear(fault, shardName(shard))
		}
	}
}
