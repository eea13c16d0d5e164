package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/dataplane"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// checkpointEvery is how old a session's counters may be when the daemon dies: what the Stop then says that its next
// start makes up for.
const checkpointEvery = 15 * time.Second

// Ledger is what the conductor needs of accounting. A call returns when what it tells is safe from a crash.
type Ledger interface {
	Run(ctx context.Context) error
	Start(a accounting.Session) error
	Update(a accounting.Session) error
	Interim(id string, c accounting.Counters, at time.Time) error
	Checkpoint(live []accounting.Live) error
	Stop(id string, c accounting.Counters, cause tenant.Reason, detail string, at time.Time) error
	On(tenant string) error
	Off(tenant string) error
	Poke(tenant string)
	Drain(ctx context.Context) error
	Status(tenant string) []accounting.TenantStatus
	Unsent(tenant string, after uint64, limit int) ([]accounting.Record, bool)
}

// beginAccount opens the session's account, or takes into it what another login of the same user has changed.
func (s *session) beginAccount(now time.Time) {
	a := s.verdict.account
	s.mu.Lock()
	first := s.account == nil
	every := a.InterimInterval
	if first {
		a.Started = now
	} else {
		a.Started, every = s.account.Started, s.account.InterimInterval
	}
	s.account = &a
	s.mu.Unlock()
	if first || !s.booked {
		s.book()
	} else {
		s.noteBooks("update", s.m.cfg.Ledger.Update(a))
	}
	due := s.interimAt
	s.scheduleInterim(now)
	// Who is changed, or logs in anew, again and again must not put off its report each time.
	if a.InterimInterval == every && !due.IsZero() && due.Before(s.interimAt) {
		s.interimAt = due
	}
}

// bookAgain is how long a session waits that the ledger could not take.
const bookAgain = 10 * time.Second

// book enters the session into the ledger. Where that fails the session goes on, since a disk that is full must not keep
// everybody out, and it is tried again: what is not in the ledger is never billed.
func (s *session) book() {
	err := s.m.cfg.Ledger.Start(*s.accounted())
	s.booked = err == nil
	s.noteBooks("begin", err)
}

// scheduleInterim sets the time of the next interim record: spread, so that sessions that came at one moment, after an
// outage, do not report at one moment ever after.
func (s *session) scheduleInterim(now time.Time) {
	every := s.verdict.account.InterimInterval
	if !s.booked {
		s.interimAt = now.Add(bookAgain)
		return
	}
	if every <= 0 {
		s.interimAt = time.Time{}
		return
	}
	const spread = 0.1
	s.interimAt = now.Add(every - time.Duration(spread*rand.Float64()*float64(every))) //nolint:gosec // spreads load, protects nothing
}

// interim writes an interim record down, or the beginning where that could not be.
func (s *session) interim(now time.Time, c dataplane.Counters) {
	if s.booked {
		s.noteBooks("interim", s.m.cfg.Ledger.Interim(s.id, counted(c), now))
	} else {
		s.book()
	}
	s.scheduleInterim(now)
}

// endAccount closes the account with the last counters. What the ledger does not take at all is kept, see unbooked.
func (s *session) endAccount(c dataplane.Counters) {
	a := s.accounted()
	if a == nil {
		return
	}
	ended := closedAccount{*a, counted(c), s.end, time.Now()}
	if !s.booked {
		s.book()
	}
	if s.booked {
		s.noteBooks("end", ended.stop(s.m.cfg.Ledger))
	} else if !s.m.unbooked.keep(ended) {
		s.log.Error("accounting record lost", telemetry.Detail, "too many sessions have ended that could not be written down")
	}
	s.mu.Lock()
	s.account = nil
	s.mu.Unlock()
}

// noteBooks logs what the ledger could not keep. The session goes on: the disk that is full must not end it too.
func (s *session) noteBooks(what string, err error) {
	if err != nil {
		s.log.Error("accounting record not kept", telemetry.Detail, what, telemetry.Error, err)
	}
}

// accounted returns the session's open account; nil: none is. It must not be changed.
func (s *session) accounted() *accounting.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

func counted(c dataplane.Counters) accounting.Counters {
	return accounting.Counters{InBytes: c.InBytes, OutBytes: c.OutBytes, InPackets: c.InPackets, OutPackets: c.OutPackets}
}

// keepBooks runs the ledger, and writes the counters of all sessions down again and again, until ctx ends. After closeBooks
// it does nothing.
func (m *Manager) keepBooks(ctx context.Context) {
	m.passing.Lock()
	defer m.passing.Unlock()
	if m.over { // nobody would wait for it, and its file may be closed
		return
	}
	m.wg.Go(func() {
		if err := m.cfg.Ledger.Run(ctx); err != nil && ctx.Err() == nil {
			m.log.Error("accounting stopped", telemetry.Error, err)
		}
	})
	m.wg.Go(func() {
		every := time.NewTicker(checkpointEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				m.checkpoint()
				m.bookLate()
			}
		}
	})
}

// checkpoint writes the counters of all sessions down.
func (m *Manager) checkpoint() {
	var live []accounting.Live
	var calls []Call
	m.mu.Lock()
	for _, s := range m.sessions {
		if s.accounted() != nil {
			live = append(live, accounting.Live{ID: s.id})
			calls = append(calls, s.call)
		}
	}
	m.mu.Unlock()
	for i, c := range m.cfg.Plane.Counters(calls) {
		live[i].Counters = counted(c)
	}
	if err := m.cfg.Ledger.Checkpoint(live); err != nil {
		m.log.Error("accounting record not kept", telemetry.Detail, "checkpoint", telemetry.Error, err)
	}
}

// bookLate writes down the sessions that have ended while the ledger took nothing.
func (m *Manager) bookLate() {
	if err := m.unbooked.settle(m.cfg.Ledger); err != nil {
		m.log.Error("accounting record not kept", telemetry.Detail, "late", telemetry.Error, err)
	}
}

// reconcileBooks says Accounting-On for the tenants that there are at the start: none of their sessions is left. One that
// comes later has had none, and its On would be heard by the servers that it shares with others as the end of theirs: so
// there is one only while nobody is in.
func (m *Manager) reconcileBooks() error {
	tenants, err := all(m, "", func(t *store.Tenant) string { return t.Name })
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(tenants))
	for _, t := range tenants {
		id := tenantID(t.Name)
		there[id] = true
		if m.announced[id] {
			continue
		}
		if !m.allAnnounced || !m.anyAccount() {
			if err := m.cfg.Ledger.On(id); err != nil {
				return err
			}
		}
		m.announced[id] = true
	}
	m.allAnnounced = true
	for id := range m.announced {
		if !there[id] {
			delete(m.announced, id)
		}
	}
	return nil
}

// anyAccount says whether the account of any session is open.
func (m *Manager) anyAccount() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.accounted() != nil {
			return true
		}
	}
	return false
}

// closeBooks says Accounting-Off, when the last session has ended, and lets the ledger tell what it can within ctx. No pass
// comes after it: it would say Accounting-On once more.
func (m *Manager) closeBooks(ctx context.Context) {
	m.passing.Lock()
	m.over = true
	m.bookLate()
	for id := range m.announced {
		if err := m.cfg.Ledger.Off(id); err != nil {
			m.log.Error("accounting record not kept", telemetry.Detail, "off", telemetry.Error, err)
		}
	}
	clear(m.announced)
	m.passing.Unlock()
	if err := m.cfg.Ledger.Drain(ctx); err != nil {
		m.log.Info("accounting records left for the next start", telemetry.Error, err)
	}
}

// AccountingSink is who takes a tenant's accounting records: its RADIUS servers for accounting, where it has any, else
// Config.LocalAccounting. false: nobody does now, and they wait, as those of a tenant do that is to ask RADIUS and has no
// server at all: one is being replaced.
func (m *Manager) AccountingSink(id string) (accounting.Sink, bool) {
	m.radiusMu.Lock()
	r, known := m.radius[tenantPrefix+id], m.radiusRev >= 0 && !m.radiusOver
	m.radiusMu.Unlock()
	switch {
	case !known, r != nil && r.accounts && r.client == nil: // its servers are misconfigured
		return nil, false
	case r != nil && r.accounts:
		return r.client, true
	case r == nil:
		t, err := store.Shared[store.Tenant](m.cfg.Store, tenantPrefix+id)
		if err != nil && !errors.Is(err, store.ErrNotFound) || err == nil && t.Backend == tenant.BackendRADIUS {
			return nil, false
		}
	}
	return m.cfg.LocalAccounting, m.cfg.LocalAccounting != nil
}
