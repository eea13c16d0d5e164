package session

import (
	"errors"
	"fmt"
	"strings"

	"concentrator/internal/dataplane/policy"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// acl is a session's filter. The zero acl lets everything pass.
type acl struct {
	name  string      // full resource name
	etag  string      // of the record that rules were compiled from
	rules *policy.ACL // shared by all who use it
}

// aclFor is the ACL that a verdict names, or else the profile's. A login whose ACL does not exist is refused: a filter must
// not fail open.
func (m *Manager) aclFor(tenantName string, p *store.Profile, named string) (acl, error) {
	name, by := p.ACL, p.Name
	if named != "" {
		name, by = aclName(tenantName, named), "the login"
	}
	if name == "" {
		return acl{}, nil
	}
	a, err := m.compiledACL(name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrInvalidName) {
		return acl{}, &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonProtocolError,
			detail:  fmt.Sprintf("%s names the ACL %s, which does not exist", by, printable(name)),
			message: "The server could not apply its rules for you",
		}
	}
	return a, err
}

// aclName is the full name of a tenant's ACL, of which the last part or the whole is given.
func aclName(tenantName, name string) string {
	return tenantName + "/acls/" + strings.TrimPrefix(name, tenantName+"/acls/")
}

// compiledACL returns an ACL as it is stored now.
func (m *Manager) compiledACL(name string) (acl, error) {
	r, err := store.Shared[store.ACL](m.cfg.Store, name)
	if err != nil {
		return acl{}, err
	}
	m.aclMu.Lock()
	defer m.aclMu.Unlock()
	if a, ok := m.acls[name]; ok && a.etag == r.Etag {
		return a, nil
	}
	rules, err := policy.Compile(r.Rules)
	if err != nil {
		return acl{}, fmt.Errorf("%s: %w", name, err)
	}
	a := acl{name, r.Etag, rules}
	m.acls[name] = a
	return a, nil
}

// reconcileACLs gives the live sessions of an ACL that has changed its new rules. Sessions whose ACL is gone keep it.
func (m *Manager) reconcileACLs() error {
	m.mu.Lock()
	users := make(map[string][]*session)
	for _, s := range m.sessions {
		if f := s.filter(); f.name != "" {
			users[f.name] = append(users[f.name], s)
		}
	}
	m.mu.Unlock()
	var errs []error
	for name, sessions := range users {
		a, err := m.compiledACL(name)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, s := range sessions {
			if s.filter().etag != a.etag {
				s.tell(event{rules: &a})
			}
		}
	}
	m.aclMu.Lock()
	for name := range m.acls {
		if len(users[name]) == 0 {
			delete(m.acls, name) // compiled again when it is needed
		}
	}
	m.aclMu.Unlock()
	return errors.Join(errs...)
}

// filter returns the ACL that the session is under.
func (s *session) filter() acl {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.under
}

// setFilter puts the session under another ACL; its shard hears of it by SetPolicy or Attach.
func (s *session) setFilter(a acl) {
	s.putUnder(a)
	// It may have changed since it was read, and reconcileACLs may have been there before this session was under it.
	if now, err := s.m.compiledACL(a.name); err == nil && now.etag != a.etag {
		s.putUnder(now)
	}
}

func (s *session) putUnder(a acl) {
	s.verdict.acl = a
	s.mu.Lock()
	s.under = a
	shown := s.info.ACL == a.name
	s.mu.Unlock()
	if !shown {
		s.update(func(i *Info) { i.ACL = a.name })
	}
}

// rulesChanged takes the new rules of the ACL that the session is under.
func (s *session) rulesChanged(a acl) {
	if s.verdict == nil || s.verdict.acl.name != a.name { // another one by now
		return
	}
	s.setFilter(a)
	s.setPolicy()
}

// setPolicy brings rate and rules as they are now to the shard.
func (s *session) setPolicy() {
	if s.attached != nil {
		s.call.SetPolicy(s.verdict.rate.UpBps, s.verdict.rate.DownBps, s.verdict.acl.rules)
	}
}
