package load

import (
	"context"
	"sync"
	"time"
)

const (
	// look is how often sessions are looked at that should stand.
	look = 200 * time.Millisecond
	// retry is how long a client that could not log in again waits.
	retry = 5 * time.Second
)

// Hold keeps the sessions until d is over or ctx ends. One that has ended by itself is counted as lost and logged in again.
// churn is how many are hung up and logged in again each second, one after the other.
func (l *Load) Hold(ctx context.Context, d time.Duration, churn float64) {
	l.Phase("holding")
	// Who was hung up is logged in again also when the time is over meanwhile.
	h := holder{Load: l, ctx: ctx, room: make(chan struct{}, l.plan.Parallel)}
	defer h.wg.Wait()
	end := time.NewTimer(d)
	defer end.Stop()
	every := look
	if churn > 0 {
		every = min(look, time.Duration(float64(time.Second)/churn))
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began, turned, looked := time.Now(), 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-ticker.C:
		}
		if time.Since(looked) >= look {
			looked = time.Now()
			h.look()
		}
		for ; float64(turned) < time.Since(began).Seconds()*churn; turned++ {
			h.turn()
		}
	}
}

// Watch lets the sessions stand until d is over or ctx ends; HangUp counts who was lost.
func (l *Load) Watch(ctx context.Context, d time.Duration) {
	l.Phase("waiting")
	_ = sleep(ctx, d) // either way it is over
}

// holder is one Hold.
type holder struct {
	*Load
	ctx  context.Context //nolint:containedctx // it is Hold's own, and ends with it
	room chan struct{}   // has one for each goroutine
	wg   sync.WaitGroup
	next int // slot whose turn it is to be hung up
}

// look logs in again who was lost, or has failed before.
func (h *holder) look() {
	for i := range h.slots {
		h.renew(i, func(s *slot) bool {
			if s.session != nil {
				return s.session.Err() != nil
			}
			return !s.again.IsZero() && time.Now().After(s.again)
		})
	}
}

// turn hangs the next session up and logs it in again.
func (h *holder) turn() {
	for range h.slots {
		i := h.next
		h.next = (h.next + 1) % len(h.slots)
		if h.renew(i, func(s *slot) bool { return s.session != nil && s.session.Err() == nil }) {
			return
		}
	}
}

// renew hangs client i up if it is in, and logs it in, in a goroutine of its own, if want says so and there is room for one.
// It returns whether it does.
func (h *holder) renew(i int, want func(s *slot) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := &h.slots[i]
	if at.busy || !want(at) {
		return false
	}
	select {
	case h.room <- struct{}{}:
	default:
		return false
	}
	s, dead := at.session, false
	if s != nil {
		if err := s.Err(); err != nil {
			h.lost(err)
			dead = true
		}
	}
	at.session, at.busy = nil, true
	h.wg.Go(func() {
		defer func() { <-h.room }()
		if s != nil {
			h.hangUp(s, dead)
		}
		h.login(h.ctx, i)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.slots[i].busy = false
		if h.slots[i].again = (time.Time{}); h.slots[i].session == nil {
			h.slots[i].again = time.Now().Add(retry)
		}
	})
	return true
}
