package accounting

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"concentrator/internal/tenant"
)

// maxValue is the longest value that a Storage takes.
const maxValue = 512 << 10

// Start says that a session has begun, at s.Started: it writes the session's Start, and from now on the session gets a
// Stop whatever happens. The ledger keeps a copy of s.
func (l *Ledger) Start(s Session) error {
	if err := checkNames(s.Tenant, s.SessionID, false); err != nil {
		return err
	}
	s = clone(s)
	return l.commit(&request{key: livePrefix + s.SessionID, cost: 2, prepare: func(b *batch) (func(), error) {
		if l.live[s.SessionID] != nil {
			return nil, fmt.Errorf("%w: %s", ErrKnownSession, s.SessionID)
		}
		live := &liveSession{session: s, at: s.Started}
		item, err := live.item()
		if err != nil {
			return nil, err
		}
		add, err := b.put(Record{Status: Start, Tenant: s.Tenant, Time: s.Started, Session: &s})
		if err != nil {
			return nil, err
		}
		b.puts = append(b.puts, item)
		return func() {
			l.live[s.SessionID] = live
			l.tenantQueue(s.Tenant).live++
			add()
		}, nil
	}})
}

// Update replaces what the session's next records say of it, for example its Class after a CoA-Request. Its tenant and
// its begin stay as they are. It writes no record.
func (l *Ledger) Update(s Session) error {
	s = clone(s)
	return l.commit(&request{key: livePrefix + s.SessionID, cost: 1, prepare: func(b *batch) (func(), error) {
		live, err := l.alive(s.SessionID)
		if err != nil {
			return nil, err
		}
		s.Tenant, s.Started = live.session.Tenant, live.session.Started
		item, err := (&liveSession{session: s, counters: live.counters, at: live.at, age: live.age}).item()
		if err != nil {
			return nil, err
		}
		b.puts = append(b.puts, item)
		return func() { live.session = s }, nil
	}})
}

// Interim writes an Interim-Update of a session with what it has carried at the time at. When the storage takes none, there
// is none: the next one says more than this.
func (l *Ledger) Interim(id string, c Counters, at time.Time) error {
	return l.commit(&request{key: livePrefix + id, cost: 2, prepare: func(b *batch) (func(), error) {
		live, err := l.alive(id)
		if err != nil {
			return nil, err
		}
		age := live.session.age(at)
		item, err := (&liveSession{session: live.session, counters: c, at: at, age: age}).item()
		if err != nil {
			return nil, err
		}
		add, err := b.put(live.record(Interim, c, at, age))
		if err != nil {
			return nil, err
		}
		b.puts = append(b.puts, item)
		return func() {
			live.counters, live.at, live.age = c, at, age
			add()
		}, nil
	}})
}

// stopArgs are the arguments of a Stop.
type stopArgs struct {
	id       string
	counters Counters
	cause    tenant.Reason
	detail   string
	at       time.Time
	age      time.Duration // of a session that a crash has ended
	crash    bool
}

// Stop writes the Stop of a session, which has carried c and has ended at the time at. With an error other than
// ErrUnknownSession the storage did not take it: the ledger keeps it and tries again, so the caller need not. The session
// is not known any more in either case.
func (l *Ledger) Stop(id string, c Counters, cause tenant.Reason, detail string, at time.Time) error {
	args := stopArgs{id: id, counters: c, cause: cause, detail: detail, at: at}
	known := true
	err := l.commit(l.stop(args, func() bool {
		_, err := l.alive(id)
		known = err == nil
		return known
	}))
	if err != nil && known {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopping[id] = args
	}
	return err
}

// stop is the request that ends a session, if alive, which is called under mu, says that it may.
func (l *Ledger) stop(a stopArgs, alive func() bool) *request {
	return &request{key: livePrefix + a.id, cost: 2, prepare: func(b *batch) (func(), error) {
		live := l.live[a.id]
		if !alive() || live == nil {
			return nil, fmt.Errorf("%w: %s", ErrUnknownSession, a.id)
		}
		if !a.crash {
			a.age = live.session.age(a.at)
		}
		r := live.record(Stop, a.counters, a.at, a.age)
		r.Cause, r.Detail, r.Crash = a.cause, a.detail, a.crash
		add, err := b.put(r)
		if err != nil {
			return nil, err
		}
		b.deletes = append(b.deletes, liveKey(a.id))
		return func() {
			delete(l.live, a.id)
			delete(l.stopping, a.id)
			l.tenantQueue(live.session.Tenant).live--
			add()
		}, nil
	}}
}

// retryStops tries again what Stop has failed to store. It returns the first error.
func (l *Ledger) retryStops() error {
	l.mu.Lock()
	again := make([]stopArgs, 0, len(l.stopping))
	for _, a := range l.stopping {
		again = append(again, a)
	}
	l.mu.Unlock()
	slices.SortFunc(again, func(a, b stopArgs) int { return a.at.Compare(b.at) })
	for _, a := range again {
		if err := l.commit(l.stop(a, func() bool { return true })); err != nil && !errors.Is(err, ErrUnknownSession) {
			return err
		}
	}
	return nil
}

// On writes an Accounting-On: the tenant's servers learn that no session from before lives. It is to be called when the
// Ledger has been opened and before the first Start. It is sent after everything older and before everything younger. If
// the last record of the tenant is an On that waits, there is no other.
func (l *Ledger) On(tenant string) error { return l.tenantRecord(tenant, On) }

// Off writes an Accounting-Off, as On does. It is to be called after the last Stop.
func (l *Ledger) Off(tenant string) error { return l.tenantRecord(tenant, Off) }

func (l *Ledger) tenantRecord(tenant string, status Status) error {
	if err := checkNames(tenant, "", true); err != nil {
		return err
	}
	at := l.now()
	return l.commit(&request{key: "tenant/" + tenant, cost: 1, prepare: func(b *batch) (func(), error) {
		if q := l.queues[tenant]; q != nil && q.unsent > 0 && q.newest.status == status {
			if last := q.sched.barriers; len(last) > 0 && last[len(last)-1].head().id == q.newest.id {
				return func() {}, nil
			}
		}
		return b.put(Record{Status: status, Tenant: tenant, Time: at})
	}})
}

// alive returns a session that has begun and not ended. The caller holds mu.
func (l *Ledger) alive(id string) (*liveSession, error) {
	live := l.live[id]
	if _, ends := l.stopping[id]; live == nil || ends {
		return nil, fmt.Errorf("%w: %s", ErrUnknownSession, id)
	}
	return live, nil
}

// age is how long ago the session began at the time at. As long as the process lives it does not matter how the clock was set:
// at and Started have what the other clock said. What is read from the storage has not.
func (s *Session) age(at time.Time) time.Duration { return max(at.Sub(s.Started), 0) }

// record is a record of the session, which has that age.
func (s *liveSession) record(status Status, c Counters, at time.Time, age time.Duration) Record {
	session := s.session
	return Record{
		Status: status, Tenant: session.Tenant, Time: at, Session: &session, Counters: c,
		Duration: age,
	}
}

// item is what is stored of the session while it lives.
func (s *liveSession) item() (Item, error) {
	value, err := seal(&liveForm{Session: formOf(&s.session), Counters: countersForm(s.counters), Time: s.at, Age: s.age})
	if err == nil && len(value) > maxValue/2 { // a record says a little more
		err = fmt.Errorf("accounting: session %s says too much of itself", s.session.SessionID)
	}
	return Item{Key: liveKey(s.session.SessionID), Value: value}, err
}

// clone copies what s shares with its caller.
func clone(s Session) Session {
	s.Routes = slices.Clone(s.Routes)
	s.Class = slices.Clone(s.Class)
	for i, c := range s.Class {
		s.Class[i] = slices.Clone(c)
	}
	return s
}
