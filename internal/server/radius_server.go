package server

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Defaults of a RADIUS server's fields, as the API shows them; package authz/radius has the same.
const (
	defaultAuthPort      = 1812 // RFC 2865 section 3
	defaultAcctPort      = 1813 // RFC 2866 section 3
	defaultRadiusTimeout = 3 * time.Second
	defaultRadiusTries   = 3
	defaultRadiusWeight  = 1
)

// Bounds of a RADIUS server's fields.
const (
	minRadiusTimeout = 100 * time.Millisecond
	maxRadiusTimeout = time.Minute
	maxRadiusTries   = 10
	maxRadiusSecrets = 4
	maxPort          = 65535
	maxHost          = 253
	maxWeight        = 1000
)

type radiusServerService struct {
	concentratorv1.UnimplementedRadiusServerServiceServer
	*backend
}

var radiusServers = &resource[store.RadiusServer, *concentratorv1.RadiusServer]{
	idField: "radiusServerId",
	meta:    func(r *store.RadiusServer) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.RadiusServer, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeRadiusServer,
	decode:    decodeRadiusServer,
	check:     func(*backend, *store.RadiusServer, *fieldErrors) error { return nil },
	show:      showRadiusServer,
	stored:    func(*backend, string, *store.RadiusServer) {},
	referrers: noReferrers,
}

func (s radiusServerService) CreateRadiusServer(_ context.Context, r *concentratorv1.CreateRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return create(s.backend, radiusServers, r.GetParent(), r.GetRadiusServerId(), r.GetRadiusServer(), r.GetValidateOnly())
}

func (s radiusServerService) GetRadiusServer(_ context.Context, r *concentratorv1.GetRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return get(s.backend, radiusServers, r.GetName())
}

func (s radiusServerService) ListRadiusServers(_ context.Context, r *concentratorv1.ListRadiusServersRequest) (*concentratorv1.ListRadiusServersResponse, error) {
	page, next, err := list(s.backend, radiusServers, r.GetParent(), r.GetPageSize(), r.GetPageToken())
	return &concentratorv1.ListRadiusServersResponse{RadiusServers: page, NextPageToken: next}, err
}

func (s radiusServerService) UpdateRadiusServer(_ context.Context, r *concentratorv1.UpdateRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return update(s.backend, radiusServers, r.GetRadiusServer(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s radiusServerService) DeleteRadiusServer(_ context.Context, r *concentratorv1.DeleteRadiusServerRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(s.backend, radiusServers, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeRadiusServer(r *store.RadiusServer) *concentratorv1.RadiusServer {
	return &concentratorv1.RadiusServer{
		Address:              r.Address,
		AuthPort:             int32(r.AuthPort),
		AcctPort:             int32(r.AcctPort),
		Transport:            toEnum[concentratorv1.RadiusServer_Transport](r.Transport),
		Timeout:              toDuration(r.Timeout),
		Tries:                int32(r.Tries),
		Priority:             int32(r.Priority),
		Weight:               int32(r.Weight),
		MessageAuthenticator: toEnum[concentratorv1.RadiusServer_MessageAuthenticator](r.MessageAuthenticator),
		SourceAddress:        r.SourceAddress,
		Namespace:            r.Namespace,
	}
}

func decodeRadiusServer(m *concentratorv1.RadiusServer, old *store.RadiusServer, bad *fieldErrors) *store.RadiusServer {
	r := &store.RadiusServer{
		Address:              m.GetAddress(),
		AuthPort:             bad.number("authPort", m.GetAuthPort(), 1, maxPort),
		AcctPort:             bad.number("acctPort", m.GetAcctPort(), 1, maxPort),
		Transport:            word(bad, "transport", m.GetTransport()),
		Timeout:              bad.duration("timeout", m.GetTimeout(), minRadiusTimeout, maxRadiusTimeout),
		Tries:                bad.number("tries", m.GetTries(), 1, maxRadiusTries),
		Priority:             bad.count("priority", m.GetPriority()),
		Weight:               bad.number("weight", m.GetWeight(), 1, maxWeight),
		MessageAuthenticator: word(bad, "messageAuthenticator", m.GetMessageAuthenticator()),
		Namespace:            bad.namespace("namespace", m.GetNamespace()),
	}
	address, err := netip.ParseAddr(m.GetAddress())
	if err != nil && !isHostName(m.GetAddress()) {
		bad.add("address", "%q is neither an IP address nor a host name", m.GetAddress())
	}
	if s := m.GetSourceAddress(); s != "" {
		source, err2 := netip.ParseAddr(s)
		switch {
		case err2 != nil:
			bad.add("sourceAddress", "%q is not an IP address", s)
		case err == nil && source.Unmap().Is4() != address.Unmap().Is4():
			bad.add("sourceAddress", "%s and address %s are of different families", source, address)
		}
		r.SourceAddress = s
	}
	if old != nil {
		r.Secrets = old.Secrets
	}
	if list := m.GetSecrets(); len(list) > 0 && bad.short("secrets", len(list), maxRadiusSecrets) {
		r.Secrets = make([]tenant.Secret, len(list))
		for i, s := range list {
			r.Secrets[i] = bad.secret(at("secrets", i), s)
		}
	}
	if len(r.Secrets) == 0 {
		bad.add("secrets", "is empty, must hold at least one")
	}
	return r
}

// isHostName says whether s can be a DNS name of letters, digits, '_' and '-'. What looks like an IPv4 address is none.
func isHostName(s string) bool {
	if s == "" || len(s) > maxHost || strings.TrimLeft(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInName) {
			return false
		}
	}
	return true
}

func showRadiusServer(_ *backend, m *concentratorv1.RadiusServer) {
	if m.GetAuthPort() == 0 {
		m.AuthPort = defaultAuthPort
	}
	if m.GetAcctPort() == 0 {
		m.AcctPort = defaultAcctPort
	}
	if m.GetTransport() == 0 {
		m.Transport = concentratorv1.RadiusServer_UDP
	}
	if m.GetTimeout() == nil {
		m.Timeout = durationpb.New(defaultRadiusTimeout)
	}
	if m.GetTries() == 0 {
		m.Tries = defaultRadiusTries
	}
	if m.GetWeight() == 0 {
		m.Weight = defaultRadiusWeight
	}
	if m.GetMessageAuthenticator() == 0 {
		m.MessageAuthenticator = concentratorv1.RadiusServer_REQUIRE
	}
}
