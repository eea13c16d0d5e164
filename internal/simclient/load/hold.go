package load

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// look is how often sessions are looked at that should stand.
	look = 200 * time.Millisecond
	// retry is how long a client that could not log in again waits.
	retry = 5 * time.Second
)

// Standing is what happens to sessions while they are held.
type Standing struct {
	Duration time.Duration
	Churn    float64 // sessions a second that hang up and log in again, in turn
	Rebind   float64 // sessions a second that get another port of their NAT, in turn; of those that are behind one
	Rekey    float64 // sessions a second that make new SAs of IPsec, of ESP and of IKE in turn
	Ping     float64 // echo requests a second through each session
	// PingTo is where these go; invalid: to the server's inner address.
	PingTo netip.Addr
}

// Hold keeps the sessions until the time is over or ctx ends. One that has ended by itself is counted as lost and logged in
// again.
func (l *Load) Hold(ctx context.Context, st Standing) {
	l.Phase("holding")
	// Who was hung up is logged in again also when the time is over meanwhile.
	// New SAs are half a round away from new ports, or both would always come to one client at once.
	h := holder{Load: l, ctx: ctx, room: make(chan struct{}, l.plan.Parallel), keys: len(l.slots) / 2}
	defer h.wg.Wait()
	var over context.CancelFunc
	h.while, over = context.WithCancel(ctx)
	defer over()
	if st.Ping > 0 {
		l.mu.Lock()
		l.report.Pings = &Pings{}
		l.mu.Unlock()
		quit := make(chan struct{})
		h.wg.Go(func() { l.ping(quit, st) })
		defer close(quit)
	}
	end := time.NewTimer(st.Duration)
	defer end.Stop()
	every := look
	for _, rate := range []float64{st.Churn, st.Rebind, st.Rekey} {
		if rate > 0 {
			every = min(every, time.Duration(float64(time.Second)/rate))
		}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	began, turned, rebound, rekeyed, looked := time.Now(), 0, 0, 0, time.Now()
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
		for ; float64(turned) < time.Since(began).Seconds()*st.Churn; turned++ {
			h.turn()
		}
		for ; float64(rebound) < time.Since(began).Seconds()*st.Rebind; rebound++ {
			h.rebind()
		}
		for ; float64(rekeyed) < time.Since(began).Seconds()*st.Rekey; rekeyed++ {
			h.rekey()
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
	port int // slot whose turn it is to get another port
	keys int // slot whose turn it is to make new SAs

	while context.Context //nolint:containedctx // ends when sessions are held no more
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

// rebind gives the next session that is behind a NAT another port.
func (h *holder) rebind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range h.slots {
		i := h.port
		h.port = (h.port + 1) % len(h.slots)
		at := &h.slots[i]
		if at.busy || at.session == nil || at.session.Err() != nil {
			continue
		}
		if r, ok := at.session.(Rebinder); ok && r.Rebind() == nil {
			h.report.Rebound++
			return
		}
	}
}

// rekey lets the next session that has SAs make new ones, in a goroutine of its own.
func (h *holder) rekey() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range h.slots {
		at := &h.slots[h.keys]
		h.keys = (h.keys + 1) % len(h.slots)
		r, ok := at.session.(Rekeyer)
		if !ok || at.busy || at.session.Err() != nil {
			continue
		}
		at.busy = true
		h.wg.Go(func() {
			ctx, cancel := context.WithTimeout(h.while, h.plan.Timeout)
			defer cancel()
			err := r.Rekey(ctx)
			h.mu.Lock()
			defer h.mu.Unlock()
			at.busy = false
			h.rekeyed(err)
		})
		return
	}
}

// rekeyed counts a Rekey, unless it was broken off. mu is held.
func (h *holder) rekeyed(err error) {
	if h.report.Rekeys == nil {
		h.report.Rekeys = &Rekeys{}
	}
	switch {
	case err == nil:
		h.report.Rekeys.OK++
	case h.while.Err() == nil:
		h.report.Rekeys.Failed++
		h.example(ReasonRekey, err)
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
