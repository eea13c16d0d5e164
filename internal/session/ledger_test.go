package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"concentrator/internal/authz/accounting"
	"concentrator/internal/tenant"
)

// fakeLedger writes down what it is told, and objects to what makes no sense: a begin that was there already, an end of
// what never began.
type fakeLedger struct {
	mu   sync.Mutex
	open map[string]accounting.Session
	log  []string
	bad  []string
	full bool // no Start is taken
}

func newFakeLedger() *fakeLedger { return &fakeLedger{open: map[string]accounting.Session{}} }

func (l *fakeLedger) note(format string, args ...any) {
	l.log = append(l.log, fmt.Sprintf(format, args...))
}

// of returns the log's lines that contain text.
func (l *fakeLedger) of(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.log), func(s string) bool { return !strings.Contains(s, text) })
}

var (
	errLedger = errors.New("no such account")
	errFull   = errors.New("no space left on device")
)

// fill makes the disk full, or not.
func (l *fakeLedger) fill(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
}

func (l *fakeLedger) Run(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (l *fakeLedger) Start(a accounting.Session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return errFull
	}
	if _, ok := l.open[a.SessionID]; ok {
		l.bad = append(l.bad, "a second Start of "+a.SessionID)
	}
	l.open[a.SessionID] = a
	l.note("start %s/%s %s %s", a.Tenant, a.User, a.Address, a.Method)
	return nil
}

func (l *fakeLedger) known(id, what string) error {
	if _, ok := l.open[id]; !ok {
		l.bad = append(l.bad, what+" of "+id+", which has not begun")
		return errLedger
	}
	return nil
}

func (l *fakeLedger) Update(a accounting.Session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("update %s class %q interim %s", a.User, a.Class, a.InterimInterval)
	err := l.known(a.SessionID, "update")
	l.open[a.SessionID] = a
	return err
}

func (l *fakeLedger) Interim(id string, c accounting.Counters, _ time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("interim %s %d", l.open[id].User, c.InBytes)
	return l.known(id, "interim")
}

func (l *fakeLedger) Checkpoint(live []accounting.Live) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("checkpoint of %d", len(live))
	return nil
}

func (l *fakeLedger) Stop(id string, c accounting.Counters, cause tenant.Reason, _ string, _ time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("stop %s %d %s", l.open[id].User, c.InBytes, cause)
	err := l.known(id, "stop")
	delete(l.open, id)
	return err
}

func (l *fakeLedger) On(t string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("on %s", t)
	return nil
}

func (l *fakeLedger) Off(t string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("off %s", t)
	if n := len(l.open); n > 0 {
		l.bad = append(l.bad, fmt.Sprintf("off while %d accounts are open", n))
	}
	return nil
}

func (l *fakeLedger) Poke(string)                                            {}
func (l *fakeLedger) Drain(context.Context) error                            { return nil }
func (l *fakeLedger) Status(string) []accounting.TenantStatus                { return nil }
func (l *fakeLedger) Unsent(string, uint64, int) ([]accounting.Record, bool) { return nil, false }
