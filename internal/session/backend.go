package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"concentrator/internal/authz/local"
	"concentrator/internal/authz/radius"
	"concentrator/internal/authz/radius/coa"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/dataplane/netio"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
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

// radiusTenant is a tenant's RADIUS servers in use.
type radiusTenant struct {
	records  []*store.RadiusServer
	client   *radius.Client // nil: the servers' settings can't be used
	err      error          // why not
	accounts bool           // one of them takes accounting
}

// tenantPrefix is what makes a tenant's ID its resource name.
const tenantPrefix = "tenants/"

func tenantID(name string) string { return strings.TrimPrefix(name, tenantPrefix) }

// backend is who decides a tenant's logins.
func (m *Manager) backend(t *store.Tenant) (Authenticator, error) {
	if t.Backend != tenant.BackendRADIUS {
		return m.local, nil
	}
	if err := m.syncRadius(); err != nil {
		return nil, err
	}
	m.radiusMu.Lock()
	r := m.radius[t.Name]
	m.radiusMu.Unlock()
	unavailable := func(detail string) error {
		return &refusal{
			stage: tenant.StageAuthentication, reason: tenant.ReasonRadiusTimeout, detail: detail,
			message: "The authentication service is not available",
		}
	}
	switch {
	case r == nil || !slices.ContainsFunc(r.records, func(s *store.RadiusServer) bool { return s.For(store.RadiusAuthentication) }):
		return nil, unavailable(t.Name + " is to ask RADIUS but has no RADIUS server for it; create one below " + t.Name + "/radiusServers")
	case r.client == nil:
		return nil, unavailable(r.err.Error())
	}
	return r.client, nil
}

// errOver is why nobody is asked any more.
var errOver = errors.New("the server shuts down")

// syncRadius brings the RADIUS clients to what the store says now, if it has changed: a server that was created a moment ago
// can be asked by the next login.
func (m *Manager) syncRadius() error {
	rev, err := m.cfg.Store.Revision()
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	m.radiusMu.Lock()
	defer m.radiusMu.Unlock()
	if m.radiusOver {
		return errOver // the API answers for a while longer
	}
	if m.radiusRev == rev {
		return nil
	}
	records, err := all(m, "tenants/-", func(r *store.RadiusServer) string { return r.Name })
	if err != nil {
		return err
	}
	byTenant := make(map[string][]*store.RadiusServer)
	for _, r := range records {
		name := store.TenantOf(r.Name)
		byTenant[name] = append(byTenant[name], r)
	}
	for name, t := range m.radius {
		if byTenant[name] == nil {
			m.retire(t.client)
			delete(m.radius, name)
			m.cfg.Ledger.Poke(tenantID(name))
		}
	}
	for name, servers := range byTenant {
		old := m.radius[name]
		if old != nil && slices.EqualFunc(old.records, servers, func(a, b *store.RadiusServer) bool { return a.Etag == b.Etag }) {
			continue
		}
		m.radius[name] = m.radiusTenant(name, servers, old)
		m.cfg.Ledger.Poke(tenantID(name))
	}
	m.coa.SetSources(coaSources(records))
	m.radiusRev = rev
	return nil
}

// maxRadiusServers is how many servers of one tenant the transport takes: one more would leave it without any.
const maxRadiusServers = 32

// radiusTenant makes what a tenant's servers ask for out of what there was. radiusMu must be held.
func (m *Manager) radiusTenant(name string, servers []*store.RadiusServer, old *radiusTenant) *radiusTenant {
	t := &radiusTenant{records: servers}
	cfg := radius.Config{Tenant: tenantID(name), Config: transport.Config{Dial: m.dial, Log: m.log, Incoming: m.coa.Handle}}
	first := slices.SortedStableFunc(slices.Values(servers), func(a, b *store.RadiusServer) int {
		return cmp.Compare(a.Priority, b.Priority)
	})
	for i, r := range first {
		t.accounts = t.accounts || r.For(store.RadiusAccounting)
		sc, err := m.radiusServer(r)
		if err == nil {
			err = sc.Check()
		}
		if err == nil && i >= maxRadiusServers {
			err = fmt.Errorf("a tenant can have %d in use, those with the lowest priority", maxRadiusServers)
		}
		if err != nil { // the others go on
			t.err = fmt.Errorf("%s: %w", r.Name, err)
			m.log.Error("RADIUS server can't be used", telemetry.Server, r.Name, telemetry.Error, err)
			continue
		}
		cfg.Servers = append(cfg.Servers, sc)
	}
	if old != nil {
		t.client = old.client
	}
	if len(cfg.Servers) > 0 {
		if t.client != nil {
			t.err = t.client.Update(cfg)
		} else {
			t.client, t.err = radius.New(cfg)
		}
	}
	if t.err != nil {
		m.log.Error("RADIUS servers can't be used", telemetry.Tenant, name, telemetry.Error, t.err)
		m.retire(t.client)
		t.client = nil
	}
	return t
}

// radiusServer is a server's record in the client's words.
func (m *Manager) radiusServer(r *store.RadiusServer) (transport.ServerConfig, error) {
	sc := transport.ServerConfig{
		Name: r.Name, Address: r.Address, AuthPort: r.AuthPort, AcctPort: r.AcctPort,
		Transport: r.Transport, Secrets: r.Secrets, Timeout: r.Timeout, Tries: r.Tries, Priority: r.Priority, Weight: r.Weight,
		MaxOutstanding: r.MaxOutstanding, DeadTime: r.DeadTime,
		MessageAuthenticator: r.MessageAuthenticator, SourceInterface: r.SourceInterface, Namespace: r.Namespace,
		NASIdentifier: m.cfg.Instance,
		TLS: transport.TLSConfig{
			CACertificates: r.TLS.CACertificates, CertificateChain: r.TLS.CertificateChain,
			CertificateKey: r.TLS.CertificateKey, ServerName: r.TLS.ServerName,
		},
	}
	for purpose, is := range map[store.RadiusPurpose]transport.Purpose{
		store.RadiusAuthentication: transport.Access, store.RadiusAccounting: transport.Accounting,
	} {
		if r.For(purpose) {
			sc.Purposes = append(sc.Purposes, is)
		}
	}
	if r.SourceAddress != "" {
		a, err := netip.ParseAddr(r.SourceAddress)
		if err != nil {
			return sc, fmt.Errorf("%s: sourceAddress: %w", r.Name, err)
		}
		sc.SourceAddress = a
	}
	return sc, nil
}

// dial implements transport.Dialer with the plane, which knows namespaces.
func (m *Manager) dial(ctx context.Context, d transport.Dial) (net.Conn, error) {
	return m.cfg.Plane.Dial(ctx, netio.DialSpec{
		Network: d.Network, Namespace: d.Namespace, Remote: d.Remote, Source: d.Source, Interface: d.Interface,
	})
}

// coaSources are those who may send CoA- and Disconnect-Requests, and for which tenant.
func coaSources(servers []*store.RadiusServer) []coa.Source {
	var out []coa.Source
	for _, r := range servers {
		if r.CoADisabled {
			continue
		}
		s := coa.Source{Tenant: tenantID(store.TenantOf(r.Name)), Server: r.Name, Secrets: r.Secrets}
		if r.Transport == store.TransportTLS { // over its own connections only: its secret may be the one that all know
			out = append(out, s)
			continue
		}
		s.Prefixes = r.CoASources
		if a, err := netip.ParseAddr(r.Address); err == nil && len(s.Prefixes) == 0 {
			a = a.Unmap()
			s.Prefixes = []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
		}
		out = append(out, s)
	}
	return out
}

// retire closes a client once the logins under way have finished with it. radiusMu must be held.
func (m *Manager) retire(c *radius.Client) {
	if c == nil {
		return
	}
	m.retired[c] = struct{}{}
	time.AfterFunc(decideTimeout, func() {
		c.Close()
		m.radiusMu.Lock()
		defer m.radiusMu.Unlock()
		delete(m.retired, c)
	})
}

// reconcileRadius brings the RADIUS clients and the sockets for CoA to what the store says.
func (m *Manager) reconcileRadius() error {
	if err := m.syncRadius(); err != nil {
		return err
	}
	return m.reconcileCoA()
}
