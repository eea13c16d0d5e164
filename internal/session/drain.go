package session

import (
	"cmp"
	"context"
	"slices"
	"time"

	"concentrator/internal/tenant"
)

// drainLook is how often a drain looks how many sessions there still are.
const drainLook = 250 * time.Millisecond

// drained is what a call is told that comes while the instance is out of service.
const drained = "the instance is being taken out of service"

// SetDraining says whether new calls are refused with DRAINING. The sessions that there are go on, and may bring their
// tunnels and keys up to date.
func (m *Manager) SetDraining(draining bool) {
	m.mu.Lock() // so that a Drain that begins after it sees every session that was let in before it
	defer m.mu.Unlock()
	m.draining.Store(draining)
}

// Draining says whether new calls are refused.
func (m *Manager) Draining() bool { return m.draining.Load() }

// Drain ends all sessions and returns when there is none left, or with ctx's error. They end politely, so that their number
// goes down evenly until end: those that end by themselves count, and those without traffic go first. With an end that has
// passed they end at once; with none (zero) Drain only waits. note, which must not block, is told how many are left.
func (m *Manager) Drain(ctx context.Context, end time.Time, note func(left int)) error {
	begin := time.Now()
	total := m.count()
	told := make(map[*session]bool)
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		left := m.count()
		note(left)
		if left == 0 {
			return nil
		}
		if !end.IsZero() {
			m.sendAway(told, allowed(total, begin, end, time.Now()))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// allowed says how many of total sessions may still be there at a time between begin and end.
func allowed(total int, begin, end, now time.Time) int {
	if !now.Before(end) {
		return 0
	}
	return int(float64(total) * float64(end.Sub(now)) / float64(end.Sub(begin)))
}

// sendAway tells so many sessions to end that at most keep are left that were not told.
func (m *Manager) sendAway(told map[*session]bool, keep int) {
	var list []*session
	var calls []Call
	m.mu.Lock()
	for _, s := range m.sessions {
		if !told[s] {
			list, calls = append(list, s), append(calls, s.call)
		}
	}
	m.mu.Unlock()
	if len(list) <= keep {
		return
	}
	counters := m.cfg.Plane.Counters(calls)
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(counters[b].LastActivity, counters[a].LastActivity) })
	for _, i := range order[:len(list)-keep] {
		told[list[i]] = true
		list[i].force(forcedEnd{reason: tenant.ReasonAdminDisconnect, detail: drained, polite: true})
	}
}

// count says how many sessions there are, those included whose user is not known yet.
func (m *Manager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}
