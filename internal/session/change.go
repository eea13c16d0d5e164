package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/authz/radius/coa"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// changing is a change of a live session on its way through the session's goroutine.
type changing struct {
	change authz.Change
	done   chan error // holds one
}

// dynamic is the Manager as the CoA server sees it.
type dynamic struct{ m *Manager }

var _ coa.Host = dynamic{}

// Sessions implements coa.Host.
func (d dynamic) Sessions(tenantID string) []coa.Session {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	var out []coa.Session
	for _, s := range d.m.sessions {
		a := s.accounted()
		if a == nil || a.Tenant != tenantID {
			continue
		}
		out = append(out, coa.Session{
			ID: s.id, User: a.User, Address: a.Address, NASPort: a.NASPort, Class: a.Class,
			CallingStation: a.ClientAddress.String(), CalledStation: a.ListenerAddress.String(),
		})
	}
	return out
}

// Disconnect implements coa.Host.
func (d dynamic) Disconnect(_ context.Context, id string) error {
	s := d.m.live(id)
	if s == nil {
		return coa.ErrNotFound
	}
	s.force(forcedEnd{reason: tenant.ReasonCoADisconnect, detail: "ended by a Disconnect-Request", polite: true})
	return nil
}

// Change implements coa.Host.
func (d dynamic) Change(ctx context.Context, id string, c authz.Change) error {
	s := d.m.live(id)
	if s == nil {
		return coa.ErrNotFound
	}
	order := changing{c, make(chan error, 1)}
	select {
	case s.changes <- order:
	case <-s.done:
		return coa.ErrNotFound
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-order.done:
		return err
	case <-s.done:
		return coa.ErrNotFound
	case <-ctx.Done(): // it may still be done, or not
		return context.Cause(ctx)
	}
}

// live finds a session that has an account.
func (m *Manager) live(id string) *session {
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	if s == nil || s.accounted() == nil {
		return nil
	}
	return s
}

// apply does all of a change, or nothing and says why.
func (s *session) apply(now time.Time, c authz.Change) error {
	if s.verdict == nil || s.attached == nil || s.terminated || s.finished {
		return coa.ErrNotFound
	}
	before := *s.verdict
	if c.ACL != nil {
		rules := acl{}
		if *c.ACL != "" {
			name := aclName(tenantPrefix+before.account.Tenant, *c.ACL)
			var err error
			if rules, err = s.m.compiledACL(name); errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrInvalidName) {
				return &coa.Refusal{Cause: coa.InvalidValue, Detail: fmt.Sprintf("the ACL %s does not exist", printable(name))}
			} else if err != nil {
				return err
			}
		}
		s.verdict.acl = rules
	}
	if c.UpBps != nil {
		s.verdict.rate.UpBps = *c.UpBps
	}
	if c.DownBps != nil {
		s.verdict.rate.DownBps = *c.DownBps
	}
	if c.Routes != nil && !slices.Equal(*c.Routes, before.routes) {
		s.verdict.routes = slices.Clone(*c.Routes)
		s.verdict.account.Routes = s.verdict.routes
		if err := s.install(); err != nil { // the shard has what it had
			*s.verdict = before
			return &coa.Refusal{Cause: coa.InvalidValue, Detail: "the routes can't be installed: " + err.Error()}
		}
	}
	s.setFilter(s.verdict.acl)
	s.setPolicy()
	// Nothing below can fail.
	if c.SessionTimeout != nil {
		s.verdict.sessionTimeout = *c.SessionTimeout
		s.expires = time.Time{}
		if *c.SessionTimeout > 0 {
			s.expires = s.accounted().Started.Add(*c.SessionTimeout)
		}
	}
	if c.IdleTimeout != nil {
		s.verdict.idleTimeout = *c.IdleTimeout
	}
	if c.InterimInterval != nil {
		s.verdict.account.InterimInterval = *c.InterimInterval
	}
	if c.Class != nil {
		s.verdict.account.Class = *c.Class
	}
	s.beginAccount(now)
	s.update(func(i *Info) { i.RateLimit = s.verdict.rate })
	s.log.Info("session changed", telemetry.Detail, "by a CoA-Request")
	return nil
}
