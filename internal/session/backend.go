package session

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"concentrator/internal/authz/local"
	"concentrator/internal/authz/radius"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// users is the store as the local backend's user table.
type users struct{ store *store.Store }

// User implements local.UserSource.
func (u users) User(tenantID, user string) (local.User, bool, error) {
	r, err := store.Get[store.User](u.store, "tenants/"+tenantID+"/users/"+tenant.EncodeUser(user))
	if errors.Is(err, store.ErrNotFound) {
		return local.User{}, false, nil
	}
	if err != nil {
		return local.User{}, false, fmt.Errorf("read user: %w", err)
	}
	return local.User{
		Password: r.Password, Profile: r.Profile, Address: r.StaticAddress, Routes: r.FramedRoutes,
		Disabled: r.Disabled, Expire: r.ExpireTime, MaxSessions: r.MaxSessions,
	}, true, nil
}

// backend is who decides a tenant's logins.
func (m *Manager) backend(t *store.Tenant) (Authenticator, error) {
	if t.Backend != tenant.BackendRADIUS {
		return m.local, nil
	}
	servers, _, err := store.List[store.RadiusServer](m.cfg.Store, t.Name, "", 1000)
	if err != nil {
		return nil, fmt.Errorf("read RADIUS servers of %s: %w", t.Name, err)
	}
	if len(servers) == 0 {
		return nil, &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonRadiusTimeout,
			detail:  t.Name + " is to ask RADIUS but has no RADIUS server; create one below " + t.Name + "/radiusServers",
			message: "The authentication service is not available",
		}
	}
	first := slices.MinFunc(servers, func(a, b *store.RadiusServer) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name))
	})
	return m.radiusClient(first)
}

// radiusClient returns the client of a server, made anew when the server's settings have changed.
func (m *Manager) radiusClient(r *store.RadiusServer) (*radius.Client, error) {
	m.radiusMu.Lock()
	defer m.radiusMu.Unlock()
	old := m.radius[r.Name]
	if old != nil && old.etag == r.Etag {
		return old.client, nil
	}
	cfg := radius.ServerConfig{
		Name: r.Name, Address: r.Address, AuthPort: r.AuthPort, Secrets: r.Secrets, Timeout: r.Timeout, Tries: r.Tries,
		MessageAuthenticator: r.MessageAuthenticator, NASIdentifier: m.cfg.Instance,
	}
	if r.SourceAddress != "" {
		a, err := netip.ParseAddr(r.SourceAddress)
		if err != nil {
			return nil, fmt.Errorf("%s: sourceAddress: %w", r.Name, err)
		}
		cfg.SourceAddress = a
	}
	c, err := radius.New(radius.Config{Servers: []radius.ServerConfig{cfg}, Log: m.log})
	if err != nil {
		return nil, fmt.Errorf("RADIUS client of %s: %w", r.Name, err)
	}
	if old != nil {
		m.retire(old.client)
	}
	m.radius[r.Name] = &radiusClient{etag: r.Etag, client: c}
	return c, nil
}

// retire closes a client once the logins under way have finished with it. radiusMu must be held.
func (m *Manager) retire(c *radius.Client) {
	m.retired[c] = struct{}{}
	time.AfterFunc(decideTimeout, func() {
		c.Close()
		m.radiusMu.Lock()
		defer m.radiusMu.Unlock()
		delete(m.retired, c)
	})
}
