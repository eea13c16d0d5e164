package session

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"concentrator/internal/authz"
	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// replaceTimeout is how long a login waits for the session whose place it takes.
const replaceTimeout = 5 * time.Second

// dummyLocal is our end's address where no pool gives one: the IPv4 dummy address, RFC 7600 section 4.8.
var dummyLocal = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// takePlace marks the session's slot as authenticated and ends the sessions of the same user that must go for it.
func (m *Manager) takePlace(ctx context.Context, s *session, t *store.Tenant, user string, v authz.Verdict) error {
	limit := t.Limits.MaxSessionsPerUser
	if v.MaxSessions > 0 {
		limit = v.MaxSessions
	}
	replaced, refused := m.slots.authenticate(s.ticket, t.Name, user, userBounds{
		tenant: t.Limits.MaxSessions, user: limit, duplicate: t.Limits.DuplicatePolicy,
	})
	if refused != "" {
		text := map[tenant.Reason]string{
			tenant.ReasonUserLimit:     "You are already connected the allowed number of times",
			tenant.ReasonTenantLimit:   "The service has no free session, try again later",
			tenant.ReasonInstanceLimit: "The server has no free session, try again later",
		}
		return &refusal{
			stage: tenant.StageAuthentication, reason: refused, message: text[refused],
			detail: fmt.Sprintf("user %s of %s", printable(user), t.Name),
		}
	}
	for _, o := range replaced {
		o.replace()
	}
	for _, o := range replaced {
		await(ctx, o.done)
	}
	return nil
}

// await waits for a session that was told to end; its end takes milliseconds, and nothing depends on it but order.
func await(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(replaceTimeout):
	}
}

// address finds the inner address: the verdict's, else one of the pool.
func (m *Manager) address(ctx context.Context, s *session, t *store.Tenant, user string, p *store.Profile, v authz.Verdict) (local, addr netip.Addr, release func(), err error) {
	pool := p.Pool
	if v.Pool != "" {
		pool = t.Name + "/pools/" + strings.TrimPrefix(v.Pool, t.Name+"/pools/")
	}
	if pool == "" {
		pool = m.onlyPool(t.Name)
	}
	local = dummyLocal
	if pool != "" {
		if g, ok := m.cfg.Pools.Gateway(pool); ok {
			local = g
		} else if !v.Address.IsValid() {
			return local, addr, nil, noAddress(fmt.Sprintf("%s does not exist", pool))
		}
	}
	if v.Address.IsValid() {
		release, err = m.claim(ctx, s, t, user, v.Address)
		return local, v.Address, release, err
	}
	if pool == "" {
		return local, addr, nil, noAddress(fmt.Sprintf("%s names no pool, and user %s has no static address", p.Name, printable(user)))
	}
	addr, release, err = s.leases.dynamic(pool, user)
	var full *ippool.ExhaustedError
	if errors.As(err, &full) {
		return local, addr, nil, noAddress(pool + " has no free address: " + full.Counts())
	}
	if err != nil {
		return local, addr, nil, fmt.Errorf("lease from %s: %w", pool, err)
	}
	return local, addr, release, nil
}

func noAddress(detail string) error {
	return &refusal{
		stage: tenant.StageAddress, reason: tenant.ReasonPoolExhausted, detail: detail,
		message: "The server has no free address, try again later",
	}
}

// claim takes a fixed address; the session that holds it is replaced.
func (m *Manager) claim(ctx context.Context, s *session, t *store.Tenant, user string, addr netip.Addr) (func(), error) {
	for range 3 {
		release, err := s.leases.fixed(t.Name, addr, user)
		if err == nil {
			return release, nil
		}
		var used *ippool.InUseError
		if !errors.As(err, &used) {
			return nil, fmt.Errorf("take the fixed address %s: %w", addr, err)
		}
		m.mu.Lock()
		holder := m.sessions[used.Owner]
		m.mu.Unlock()
		if used.Owner == "" { // our own address in one of the pools
			return nil, noAddress(fmt.Sprintf("the fixed address %s of %s is a pool's gateway", addr, printable(user)))
		}
		if holder != nil {
			holder.force(forcedEnd{reason: tenant.ReasonReplaced, detail: "another session has the fixed address " + addr.String()})
			await(ctx, holder.done)
		}
	}
	return nil, noAddress(fmt.Sprintf("%s is held by a session that does not end", addr))
}
