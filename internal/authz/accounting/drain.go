package accounting

import (
	"context"
	"fmt"
	"time"
)

// Drain waits until all records are sent, at shutdown: after the last Stop and Off, and while Run runs. It pokes all
// tenants first, gives up those whose Sink fails then or that have none, and ends with ctx at the latest. An error says how
// many records are left; they are sent after the next start.
func (l *Ledger) Drain(ctx context.Context) error {
	stored := l.retryStops()
	l.Poke("")
	for {
		left, settled, changed := l.settled(ctx)
		switch {
		case settled && stored != nil:
			return stored
		case settled && left == 0:
			return nil
		case settled || ctx.Err() != nil:
			return fmt.Errorf("accounting: %d records are kept for the next start", left)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// settled says how many records are left, and whether waiting until ctx ends will make them fewer; and, if so, gives a
// channel that is closed when something has changed.
func (l *Ledger) settled(ctx context.Context) (left int, settled bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	settled = true
	deadline, bounded := ctx.Deadline()
	now := l.now()
	for _, q := range l.queues {
		left += q.unsent
		settled = settled && !q.moves(now, deadline, bounded)
	}
	return left, settled, l.changed
}

// moves says whether a record of q may go before the deadline. The caller holds the Ledger's mu.
func (q *queue) moves(now, deadline time.Time, bounded bool) bool {
	s := q.sched
	switch {
	case s.empty():
		return false
	case s.busy > 0:
		return true
	case q.nobody || s.failing:
		return false
	}
	s.wakeUp(now)
	c, again := s.next(now)
	return c != nil || !again.IsZero() && (!bounded || again.Before(deadline))
}
