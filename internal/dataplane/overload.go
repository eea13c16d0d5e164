package dataplane

import (
	"context"
	"errors"
	"time"

	"concentrator/internal/dataplane/tun"
	"concentrator/internal/telemetry"
)

const (
	// backlogInterval is how often a socket that gives full batches is asked for its backlog, in nanoseconds.
	backlogInterval = int64(500 * time.Microsecond)
	// overflowInterval is how often a device whose queues give full batches is asked whether they overflow.
	overflowInterval = 20 * time.Millisecond
)

// backlogged says whether more waits in f's socket than the shard keeps up with, so that the kernel will soon drop without
// looking at whose it is. full says that the last read filled its batch, as one of a burst does too.
func (s *shard) backlogged(f *face, full bool) bool {
	if !full {
		f.backlog = false
		return false
	}
	if s.now >= f.askAgain {
		f.backlog, f.askAgain = f.wire().Backlogged(), s.now+backlogInterval
	}
	return f.backlog
}

// overflows is backlogged for a TUN queue, whose length the kernel doesn't tell: only that it has dropped, and not to a
// shard, because asking takes long.
func (n *network) overflows(full bool) bool {
	if !full {
		return false
	}
	if !n.owner.busy.Swap(true) {
		select {
		case n.owner.d.someBusy <- struct{}{}:
		default: // watchOverflows has not come to it yet
		}
	}
	return n.owner.overflowing.Load()
}

// watchOverflows looks at the devices that shards find busy, and sleeps while they find none.
func (d *Dataplane) watchOverflows(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.someBusy:
		}
		for busy := true; busy; busy = d.lookForOverflows() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(overflowInterval):
			}
		}
	}
}

// lookForOverflows looks at the devices that have been busy since the last time, and says whether there was one.
func (d *Dataplane) lookForOverflows() bool {
	var busy []*Network
	d.mu.Lock()
	for n := range d.networks {
		if n.busy.Swap(false) {
			busy = append(busy, n)
		} else {
			n.overflowing.Store(false)
		}
	}
	d.mu.Unlock()
	for _, n := range busy {
		n.lookForOverflow()
	}
	return len(busy) > 0
}

// lookForOverflow notes whether the device has dropped anything since it was last looked at.
func (n *Network) lookForOverflow() {
	dropped, err := n.dev.Dropped()
	if err != nil {
		if !errors.Is(err, tun.ErrClosed) {
			n.d.log.Warn("can't read the counters of a TUN device", telemetry.Tenant, n.spec.Tenant, telemetry.Error, err)
		}
		return
	}
	n.overflowing.Store(dropped > n.dropped)
	n.dropped = dropped
}
