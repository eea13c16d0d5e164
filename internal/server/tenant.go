package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Defaults of a tenant's fields, as the API shows them.
const (
	defaultNetworkMTU = 1500 // octets
	defaultHalfOpen   = 8
)

type tenantService struct {
	concentratorv1.UnimplementedTenantServiceServer
	*backend
}

var tenants = &resource[store.Tenant, *concentratorv1.Tenant]{
	idField: "tenantId",
	meta:    func(r *store.Tenant) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Tenant, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeTenant,
	decode:    decodeTenant,
	check:     checkTenant,
	show:      showTenant,
	stored:    func(b *backend, name string, r *store.Tenant) { b.claims.setTenant(name, r) },
	referrers: tenantReferrers,
	// What a tenant may use of the instance, and who is led to it.
	reserved: []string{"realms", "suspended", "limits", "network"},
	guard:    guardTenant,
}

func (s tenantService) CreateTenant(ctx context.Context, r *concentratorv1.CreateTenantRequest) (*concentratorv1.Tenant, error) {
	return create(ctx, s.backend, tenants, r, "", r.GetTenantId(), r.GetTenant())
}

func (s tenantService) GetTenant(_ context.Context, r *concentratorv1.GetTenantRequest) (*concentratorv1.Tenant, error) {
	return get(s.backend, tenants, r.GetName())
}

func (s tenantService) ListTenants(ctx context.Context, r *concentratorv1.ListTenantsRequest) (*concentratorv1.ListTenantsResponse, error) {
	if own := callerOf(ctx).tenant; own != "" {
		return s.listOwn(ctx, own, r)
	}
	page, next, err := list(ctx, s.backend, tenants, r, "")
	return &concentratorv1.ListTenantsResponse{Tenants: page, NextPageToken: next}, err
}

// listOwn is ListTenants for a caller that is bound to a tenant.
func (s tenantService) listOwn(
	ctx context.Context, own string, r *concentratorv1.ListTenantsRequest,
) (*concentratorv1.ListTenantsResponse, error) {
	l, err := newListing(r, (*concentratorv1.Tenant)(nil).ProtoReflect().Descriptor())
	if err != nil {
		return nil, err
	}
	m, err := get(s.backend, tenants, own)
	if err != nil {
		return nil, err
	}
	page, next, err := pageOf(ctx, l, one(m), (*concentratorv1.Tenant).GetName)
	return &concentratorv1.ListTenantsResponse{Tenants: page, NextPageToken: next}, err
}

func (s tenantService) UpdateTenant(ctx context.Context, r *concentratorv1.UpdateTenantRequest) (*concentratorv1.Tenant, error) {
	return update(ctx, s.backend, tenants, r.GetTenant(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s tenantService) DeleteTenant(ctx context.Context, r *concentratorv1.DeleteTenantRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, tenants, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeTenant(r *store.Tenant) *concentratorv1.Tenant {
	m := &concentratorv1.Tenant{
		DisplayName:    r.DisplayName,
		Realms:         r.Realms,
		RealmStripping: r.RealmStripping,
		Suspended:      r.Suspended,
		Limits: &concentratorv1.Tenant_Limits{
			MaxSessions:        int32(r.Limits.MaxSessions),
			MaxSessionsPerUser: int32(r.Limits.MaxSessionsPerUser),
			DuplicatePolicy:    toEnum[concentratorv1.Tenant_Limits_DuplicatePolicy](r.Limits.DuplicatePolicy),
			LoginsPerSecond:    int32(r.Limits.LoginsPerSecond),
			HalfOpenPerSource:  optional32(r.Limits.HalfOpenPerSource),
		},
		Network: &concentratorv1.Tenant_Network{
			Namespace:      r.Network.Namespace,
			Device:         r.Network.Device,
			Mtu:            int32(r.Network.MTU),
			Masquerade:     r.Network.Masquerade,
			ProxyArp:       r.Network.ProxyArp,
			ClientToClient: r.Network.ClientToClient,
		},
		Ipsec: encodeIPsec(r.IPsec),
		Authentication: &concentratorv1.Tenant_Authentication{
			Backend: toEnum[concentratorv1.Tenant_Authentication_Backend](r.Backend),
		},
	}
	if r.Network.Uplink != (store.Uplink{}) {
		m.Network.Uplink = &concentratorv1.Tenant_Network_Uplink{Address: r.Network.Uplink.Address, Gateway: r.Network.Uplink.Gateway}
	}
	return m
}

func decodeTenant(m *concentratorv1.Tenant, old *store.Tenant, bad *fieldErrors) *store.Tenant {
	if old == nil {
		old = &store.Tenant{}
	}
	r := &store.Tenant{
		DisplayName:      m.GetDisplayName(),
		Realms:           decodeRealms(m.GetRealms(), bad),
		RealmStripping:   m.GetRealmStripping(),
		Suspended:        m.GetSuspended(),
		L2TPTunnelSecret: old.L2TPTunnelSecret,
		Backend:          tenant.Backend(word(m.GetAuthentication().GetBackend())),
	}
	l := m.GetLimits()
	r.Limits = tenant.Limits{
		MaxSessions:        int(l.GetMaxSessions()),
		MaxSessionsPerUser: int(l.GetMaxSessionsPerUser()),
		DuplicatePolicy:    tenant.DuplicatePolicy(word(l.GetDuplicatePolicy())),
		LoginsPerSecond:    int(l.GetLoginsPerSecond()),
	}
	if l != nil {
		r.Limits.HalfOpenPerSource = optionalInt(l.HalfOpenPerSource)
	}
	n := m.GetNetwork()
	r.Network = store.Network{
		Namespace:      n.GetNamespace(),
		Device:         n.GetDevice(),
		MTU:            int(n.GetMtu()),
		Masquerade:     n.GetMasquerade(),
		ProxyArp:       n.GetProxyArp(),
		ClientToClient: n.GetClientToClient(),
	}
	if u := n.GetUplink(); u != nil {
		r.Network.Uplink = decodeUplink(u, r.Network.Namespace, bad)
	}
	if s := m.GetL2Tp(); s != nil && s.TunnelSecret != nil {
		r.L2TPTunnelSecret = nil
		if s.GetTunnelSecret() != "" {
			r.L2TPTunnelSecret = tenant.Secret(s.GetTunnelSecret())
		}
	}
	r.IPsec = decodeIPsec(m.GetIpsec(), old.IPsec, bad)
	return r
}

// maxRealm is the longest realm, that of a DNS name.
const maxRealm = 253

func decodeRealms(realms []string, bad *fieldErrors) []string {
	seen := map[string]bool{}
	for i, realm := range realms {
		switch {
		case realm == "" || len(realm) > maxRealm || strings.ContainsFunc(realm, notInName):
			bad.add(at("realms", i), "%q is no realm: 1 to %d of letters, digits, '.', '_' and '-'", realm, maxRealm)
		case seen[strings.ToLower(realm)]:
			bad.add(at("realms", i), "%q stands in the list twice", realm)
		}
		seen[strings.ToLower(realm)] = true
	}
	return realms
}

func decodeUplink(u *concentratorv1.Tenant_Network_Uplink, namespace string, bad *fieldErrors) store.Uplink {
	if namespace == "" {
		bad.add("network.uplink", "needs network.namespace: it is a way out of a namespace of the tenant's own")
	}
	p, err := netip.ParsePrefix(u.GetAddress())
	if err != nil || !p.Addr().Is4() || p.Bits() > 31 {
		bad.add("network.uplink.address", "%q is not an IPv4 address with its prefix length, such as 10.255.0.2/30", u.GetAddress())
		return store.Uplink{}
	}
	gateway := bad.host("network.uplink.gateway", u.GetGateway())
	switch {
	case u.GetGateway() == "":
		bad.add("network.uplink.gateway", "is missing; it is the other end of %s", p)
	case gateway.IsValid() && (!p.Contains(gateway) || gateway == p.Addr()):
		bad.add("network.uplink.gateway", "%s is not another address in %s", gateway, p.Masked())
	}
	return store.Uplink{Address: p.String(), Gateway: u.GetGateway()}
}

func showTenant(b *backend, m *concentratorv1.Tenant) {
	for _, k := range m.GetIpsec().GetPsks() {
		use := b.live.PSKUse(m.GetName(), k.GetId())
		k.UseCount, k.LastUseTime = use.Count, timestamp(use.Last)
	}
	if l := m.GetLimits(); l.GetDuplicatePolicy() == 0 {
		l.DuplicatePolicy = concentratorv1.Tenant_Limits_REPLACE
	}
	if l := m.GetLimits(); l.HalfOpenPerSource == nil {
		n := int32(defaultHalfOpen)
		l.HalfOpenPerSource = &n
	}
	if n := m.GetNetwork(); n.GetMtu() == 0 {
		n.Mtu = defaultNetworkMTU
	}
	if i := m.GetIpsec(); i.GetIkeLifetime() == nil {
		i.IkeLifetime = durationpb.New(store.DefaultIKELifetime)
	}
	if i := m.GetIpsec(); i.GetEspLifetime() == nil {
		i.EspLifetime = durationpb.New(store.DefaultESPLifetime)
	}
	if a := m.GetAuthentication(); a.GetBackend() == 0 {
		a.Backend = concentratorv1.Tenant_Authentication_LOCAL
	}
}

func checkTenant(b *backend, r *store.Tenant, bad *fieldErrors) error {
	b.claims.checkTenant(r, bad)
	return checkNeighbours(b, r, bad)
}

// checkNeighbours holds a tenant against those that it shares a listener with: what tells tenants apart there must differ.
func checkNeighbours(b *backend, r *store.Tenant, bad *fieldErrors) error {
	if len(r.Realms) == 0 && len(r.IPsec.PSKs) == 0 && !r.IPsec.AggressiveMode {
		return nil
	}
	all, _, err := store.List[store.Listener](b.store, "", "", 0)
	if err != nil {
		return err
	}
	realms, ipsec := map[string]bool{r.Name: true}, map[string]bool{r.Name: true} // who was compared
	for _, l := range all {
		if !slices.Contains(l.Tenants, r.Name) {
			continue
		}
		keys := len(r.IPsec.PSKs)
		for _, name := range l.Tenants {
			if realms[name] && !servesIPsec(l) {
				continue
			}
			o, err := store.Get[store.Tenant](b.store, name)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if !realms[name] {
				if i, realm := sharedRealm(r.Realms, o.Realms); i >= 0 {
					bad.addUnmet(at("realms", i), "%q is a realm of %s, and %s leads to both", realm, name, l.Name)
				}
			}
			if servesIPsec(l) && name != r.Name {
				keys += len(o.IPsec.PSKs)
				if !ipsec[name] {
					checkIPsecNeighbour(r, o, l, bad)
				}
				ipsec[name] = true
			}
			realms[name] = true
		}
		if servesIPsec(l) && keys > maxListenerPSKs {
			if bad.tenant != "" {
				bad.addUnmet("ipsec.psks", "are too many for a listener of the tenant")
				continue
			}
			bad.addUnmet("ipsec.psks", "are too many: the tenants of %s would have %d keys in all, at most %d are allowed", l.Name, keys, maxListenerPSKs)
		}
	}
	return nil
}

// sharedRealm returns the first of a that is also in b, and its index; -1 if there is none.
func sharedRealm(a, b []string) (int, string) {
	for i, x := range a {
		if slices.ContainsFunc(b, func(y string) bool { return strings.EqualFold(x, y) }) {
			return i, x
		}
	}
	return -1, ""
}

func tenantReferrers(b *backend, name string) ([]string, error) {
	by, err := referrersOf(b, "", func(l *store.Listener) (string, bool) {
		return l.Name, slices.Contains(l.Tenants, name)
	})
	if err != nil {
		return nil, err
	}
	users, err := referrersOf(b, name, func(u *store.User) (string, bool) { return u.Name, true })
	if err != nil {
		return nil, err
	}
	profiles, err := referrersOf(b, name, func(p *store.Profile) (string, bool) { return p.Name, true })
	if err != nil {
		return nil, err
	}
	pools, err := referrersOf(b, name, func(p *store.Pool) (string, bool) { return p.Name, true })
	if err != nil {
		return nil, err
	}
	acls, err := referrersOf(b, name, func(a *store.ACL) (string, bool) { return a.Name, true })
	if err != nil {
		return nil, err
	}
	servers, err := referrersOf(b, name, func(r *store.RadiusServer) (string, bool) { return r.Name, true })
	if err != nil {
		return nil, err
	}
	tokens, err := referrersOf(b, name, func(r *store.APIToken) (string, bool) { return r.Name, true })
	if err != nil {
		return nil, err
	}
	// Those that ended go with the tenant.
	operations, err := referrersOf(b, name, func(r *store.Operation) (string, bool) {
		return r.Name, r.State == store.OperationRunning
	})
	return slices.Concat(by, users, profiles, pools, acls, servers, tokens, operations), err
}

// optional32 is n in the API's size, nil as nil.
func optional32(n *int) *int32 {
	if n == nil {
		return nil
	}
	v := int32(*n)
	return &v
}
