package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

type listenerService struct {
	concentratorv1.UnimplementedListenerServiceServer
	*backend
}

var listeners = &resource[store.Listener, *concentratorv1.Listener]{
	idField: "listenerId",
	meta:    func(r *store.Listener) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Listener, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeListener,
	decode:    decodeListener,
	check:     checkListener,
	show:      func(*backend, *concentratorv1.Listener) {},
	lasting:   true,
	stored:    func(*backend, string, *store.Listener) {},
	referrers: noReferrers,
}

func (s listenerService) CreateListener(ctx context.Context, r *concentratorv1.CreateListenerRequest) (*concentratorv1.Listener, error) {
	return create(ctx, s.backend, listeners, r, "", r.GetListenerId(), r.GetListener())
}

func (s listenerService) GetListener(_ context.Context, r *concentratorv1.GetListenerRequest) (*concentratorv1.Listener, error) {
	return get(s.backend, listeners, r.GetName())
}

func (s listenerService) ListListeners(ctx context.Context, r *concentratorv1.ListListenersRequest) (*concentratorv1.ListListenersResponse, error) {
	page, next, err := list(ctx, s.backend, listeners, r, "")
	return &concentratorv1.ListListenersResponse{Listeners: page, NextPageToken: next}, err
}

func (s listenerService) UpdateListener(ctx context.Context, r *concentratorv1.UpdateListenerRequest) (*concentratorv1.Listener, error) {
	return update(ctx, s.backend, listeners, r.GetListener(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s listenerService) DeleteListener(ctx context.Context, r *concentratorv1.DeleteListenerRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, listeners, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeListener(r *store.Listener) *concentratorv1.Listener {
	m := &concentratorv1.Listener{
		Address:         r.Address,
		Tenants:         r.Tenants,
		DefaultTenant:   r.DefaultTenant,
		Namespace:       r.Namespace,
		MaxPptpSessions: optional32(r.MaxPPTPSessions),
		MaxL2TpSessions: optional32(r.MaxL2TPSessions),
	}
	for _, p := range r.Protocols {
		m.Protocols = append(m.Protocols, toEnum[concentratorv1.Listener_Protocol](p))
	}
	if r.CertificateChain != "" {
		m.Certificate = &concentratorv1.Listener_Certificate{ChainPem: r.CertificateChain}
	}
	return m
}

func decodeListener(m *concentratorv1.Listener, old *store.Listener, bad *fieldErrors) *store.Listener {
	r := &store.Listener{
		Tenants:         m.GetTenants(),
		DefaultTenant:   bad.reference("defaultTenant", m.GetDefaultTenant(), store.KindTenant),
		Namespace:       m.GetNamespace(),
		MaxPPTPSessions: optionalInt(m.MaxPptpSessions),
		MaxL2TPSessions: optionalInt(m.MaxL2TpSessions),
	}
	switch a := bad.ipv4("address", m.GetAddress()); {
	case m.GetAddress() == "":
		bad.add("address", "is missing, must be an IPv4 address of this machine, or 0.0.0.0 for all")
	case a.IsValid() && (a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		bad.add("address", "%s is not an address that a host can have", a)
	case a.IsValid():
		r.Address = a.String()
	}
	if len(m.GetProtocols()) == 0 {
		bad.add("protocols", "is empty, must hold at least one of %s", query.Words(concentratorv1.Listener_Protocol(0).Descriptor().Values()))
	}
	for i, e := range m.GetProtocols() {
		p := tenant.Protocol(word(e))
		switch {
		case e == 0:
			bad.add(at("protocols", i), "is unset, must be one of %s", query.Words(e.Descriptor().Values()))
		case slices.Contains(r.Protocols, p):
			bad.add(at("protocols", i), "%s stands in the list twice", p)
		}
		r.Protocols = append(r.Protocols, p)
	}
	if len(r.Tenants) == 0 {
		bad.add("tenants", "is empty, must hold at least one tenants/{tenant}")
	}
	for i, name := range r.Tenants {
		switch {
		case name == "":
			bad.add(at("tenants", i), "is empty, must be tenants/{tenant}")
		case slices.Contains(r.Tenants[:i], name):
			bad.add(at("tenants", i), "%s stands in the list twice", name)
		default:
			bad.reference(at("tenants", i), name, store.KindTenant)
		}
	}
	if r.DefaultTenant != "" && !slices.Contains(r.Tenants, r.DefaultTenant) {
		bad.add("defaultTenant", "%s is not one of tenants", r.DefaultTenant)
	}
	r.CertificateChain, r.CertificateKey = decodeCertificate(m.GetCertificate(), old, bad)
	return r
}

func checkListener(b *backend, r *store.Listener, bad *fieldErrors) error {
	if err := checkSockets(b, r, bad); err != nil {
		return err
	}
	found := make([]*store.Tenant, 0, len(r.Tenants))
	keys := 0
	for i, name := range r.Tenants {
		t, err := store.Get[store.Tenant](b.store, name)
		switch {
		case isNotFound(err):
			bad.addUnmet(at("tenants", i), "%s does not exist", name)
			continue
		case err != nil:
			return fmt.Errorf("tenant of %s: %w", r.Name, err)
		}
		for _, o := range found {
			if k, realm := sharedRealm(t.Realms, o.Realms); k >= 0 {
				bad.addUnmet(at("tenants", i), "%q is a realm of both %s and %s", realm, o.Name, name)
			}
			if !servesIPsec(r) {
				continue
			}
			if sharedPSK(t, o) >= 0 {
				bad.addUnmet(at("tenants", i), "%s and %s have an equal pre-shared key; %s", o.Name, name, ruleOfPSKs)
			}
			if sharedCA(t, o) >= 0 {
				bad.addUnmet(at("tenants", i), "%s and %s have an authority in common, or one that has certified the other's; %s", o.Name, name, ruleOfCAs)
			}
			if sharedGroup(t, o) {
				bad.addUnmet(at("tenants", i), "%s and %s both have the aggressive-mode groupName %q; %s", o.Name, name, t.IPsec.GroupName, ruleOfGroups)
			}
		}
		found = append(found, t)
		keys += len(t.IPsec.PSKs)
	}
	if servesIPsec(r) && keys > maxListenerPSKs {
		bad.addUnmet("tenants", "have %d pre-shared keys in all, an L2TP_IPSEC listener may lead to at most %d", keys, maxListenerPSKs)
	}
	return nil
}

// checkSockets wants each address and protocol to belong to one listener. 0.0.0.0 takes all addresses.
func checkSockets(b *backend, r *store.Listener, bad *fieldErrors) error {
	all, _, err := store.List[store.Listener](b.store, "", "", 0)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Name == r.Name || o.Namespace != r.Namespace || o.Address != r.Address && !anyAddress(o.Address) && !anyAddress(r.Address) {
			continue
		}
		for i, p := range r.Protocols {
			if slices.Contains(o.Protocols, p) {
				bad.addUnmet(at("protocols", i), "%s at %s is taken by %s, which listens at %s", p, r.Address, o.Name, o.Address)
			}
		}
	}
	return nil
}

func anyAddress(s string) bool { return s == "0.0.0.0" }
