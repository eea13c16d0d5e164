package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/session"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Defaults of a RADIUS server's fields, as the API shows them; package authz/radius has the same.
const (
	defaultAuthPort      = 1812 // RFC 2865 section 3
	defaultAcctPort      = 1813 // RFC 2866 section 3
	defaultTLSPort       = 2083 // RFC 6614 section 2.1
	defaultRadiusTimeout = 3 * time.Second
	defaultRadiusTries   = 3
	defaultRadiusWeight  = 1
)

// maxHost is the longest name of a host, in octets.
const maxHost = 253

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
	guard:     guardRadiusServer,
}

func (s radiusServerService) CreateRadiusServer(ctx context.Context, r *concentratorv1.CreateRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return create(ctx, s.backend, radiusServers, r, r.GetParent(), r.GetRadiusServerId(), r.GetRadiusServer())
}

func (s radiusServerService) GetRadiusServer(_ context.Context, r *concentratorv1.GetRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return get(s.backend, radiusServers, r.GetName())
}

func (s radiusServerService) ListRadiusServers(ctx context.Context, r *concentratorv1.ListRadiusServersRequest) (*concentratorv1.ListRadiusServersResponse, error) {
	page, next, err := list(ctx, s.backend, radiusServers, r, r.GetParent())
	return &concentratorv1.ListRadiusServersResponse{RadiusServers: page, NextPageToken: next}, err
}

func (s radiusServerService) UpdateRadiusServer(ctx context.Context, r *concentratorv1.UpdateRadiusServerRequest) (*concentratorv1.RadiusServer, error) {
	return update(ctx, s.backend, radiusServers, r.GetRadiusServer(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s radiusServerService) DeleteRadiusServer(ctx context.Context, r *concentratorv1.DeleteRadiusServerRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, radiusServers, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeRadiusServer(r *store.RadiusServer) *concentratorv1.RadiusServer {
	m := &concentratorv1.RadiusServer{
		Address:              r.Address,
		AuthPort:             int32(r.AuthPort),
		AcctPort:             int32(r.AcctPort),
		Transport:            toEnum[concentratorv1.RadiusServer_Transport](r.Transport),
		Tls:                  encodeRadiusTLS(r.TLS),
		Timeout:              toDuration(r.Timeout),
		Tries:                int32(r.Tries),
		Priority:             int32(r.Priority),
		Weight:               int32(r.Weight),
		MaxOutstanding:       int32(r.MaxOutstanding),
		DeadTime:             toDuration(r.DeadTime),
		MessageAuthenticator: toEnum[concentratorv1.RadiusServer_MessageAuthenticator](r.MessageAuthenticator),
		SourceAddress:        r.SourceAddress,
		SourceInterface:      r.SourceInterface,
		Namespace:            r.Namespace,
		DisableCoa:           r.CoADisabled,
	}
	for _, p := range r.Purposes {
		m.Purposes = append(m.Purposes, toEnum[concentratorv1.RadiusServer_Purpose](p))
	}
	for _, p := range r.CoASources {
		m.CoaSources = append(m.CoaSources, textOfSource(p))
	}
	return m
}

func encodeRadiusTLS(r store.RadiusTLS) *concentratorv1.RadiusServer_Tls {
	if len(r.CACertificates) == 0 && r.CertificateChain == "" && r.ServerName == "" {
		return nil
	}
	return &concentratorv1.RadiusServer_Tls{
		CaCertificates: r.CACertificates, CertificateChain: r.CertificateChain, ServerName: r.ServerName,
	}
}

// textOfSource spells a network of one address as that address.
func textOfSource(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func decodeRadiusServer(m *concentratorv1.RadiusServer, old *store.RadiusServer, bad *fieldErrors) *store.RadiusServer {
	if old == nil {
		old = &store.RadiusServer{}
	}
	r := &store.RadiusServer{
		Address:              m.GetAddress(),
		AuthPort:             int(m.GetAuthPort()),
		AcctPort:             int(m.GetAcctPort()),
		Transport:            word(m.GetTransport()),
		Purposes:             decodePurposes(m.GetPurposes(), bad),
		Timeout:              m.GetTimeout().AsDuration(),
		Tries:                int(m.GetTries()),
		Priority:             int(m.GetPriority()),
		Weight:               int(m.GetWeight()),
		MaxOutstanding:       int(m.GetMaxOutstanding()),
		DeadTime:             m.GetDeadTime().AsDuration(),
		MessageAuthenticator: word(m.GetMessageAuthenticator()),
		SourceInterface:      m.GetSourceInterface(),
		Namespace:            m.GetNamespace(),
		CoASources:           decodeCoASources(m.GetCoaSources(), bad),
		CoADisabled:          m.GetDisableCoa(),
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
	if r.Transport != store.TransportTLS || old.Transport == store.TransportTLS {
		r.Secrets = old.Secrets // those of UDP are not the default of TLS
	}
	if list := m.GetSecrets(); len(list) > 0 {
		r.Secrets = make([]tenant.Secret, len(list))
		for i, s := range list {
			r.Secrets[i] = tenant.Secret(s)
		}
	}
	if r.Transport == store.TransportTLS {
		r.TLS = decodeRadiusTLS(m.GetTls(), old.TLS, bad)
		if len(r.CoASources) > 0 {
			// The secret of TLS need not be one: anybody could sign with it over UDP.
			bad.add("coaSources", "is for transport UDP only; with TLS, orders come over the connection")
		}
		return r
	}
	if m.GetTls() != nil {
		bad.add("tls", "is for transport TLS only")
	}
	if len(r.Secrets) == 0 {
		bad.add("secrets", "is empty, must hold at least one")
	}
	return r
}

func decodeRadiusTLS(m *concentratorv1.RadiusServer_Tls, old store.RadiusTLS, bad *fieldErrors) store.RadiusTLS {
	r := store.RadiusTLS{ServerName: m.GetServerName()}
	r.CACertificates, _ = decodeCAs("tls.caCertificates", m.GetCaCertificates(), old.CACertificates, bad)
	r.CertificateChain, r.CertificateKey = pair{
		chainPath: "tls.certificateChain", keyPath: "tls.privateKey",
		chain: m.GetCertificateChain(), key: m.GetPrivateKey(), keyGiven: m != nil && m.PrivateKey != nil,
		oldChain: old.CertificateChain, oldKey: old.CertificateKey,
	}.decode(bad)
	if _, err := netip.ParseAddr(r.ServerName); err != nil && r.ServerName != "" && !isHostName(r.ServerName) {
		bad.add("tls.serverName", "%q is neither an IP address nor a host name", r.ServerName)
	}
	return r
}

func decodePurposes(list []concentratorv1.RadiusServer_Purpose, bad *fieldErrors) []store.RadiusPurpose {
	const path = "purposes"
	var all []store.RadiusPurpose
	for i, e := range list {
		p := store.RadiusPurpose(word(e))
		switch {
		case e == 0:
			bad.add(at(path, i), "is unset, must be one of %s", query.Words(e.Descriptor().Values()))
		case slices.Contains(all, p):
			bad.add(at(path, i), "%s stands in the list twice", p)
		}
		all = append(all, p)
	}
	return all
}

// decodeCoASources reads IP addresses and networks of both families.
func decodeCoASources(list []string, bad *fieldErrors) []netip.Prefix {
	const path = "coaSources"
	var all []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, err2 := netip.ParseAddr(s); err2 == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		switch {
		case err != nil:
			bad.add(at(path, i), "%q is neither an IP address nor a network such as 192.0.2.0/24", s)
			continue
		case p != p.Masked():
			bad.add(at(path, i), "%q has bits set behind its prefix, write %s", s, p.Masked())
		case slices.Contains(all, p):
			bad.add(at(path, i), "%s stands in the list twice", s)
		}
		all = append(all, p)
	}
	return all
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

func showRadiusServer(b *backend, m *concentratorv1.RadiusServer) {
	byTLS := m.GetTransport() == concentratorv1.RadiusServer_TLS
	if m.GetAuthPort() == 0 {
		m.AuthPort = defaultAuthPort
		if byTLS {
			m.AuthPort = defaultTLSPort
		}
	}
	if m.GetAcctPort() == 0 && !byTLS {
		m.AcctPort = defaultAcctPort
	}
	if m.GetTransport() == 0 {
		m.Transport = concentratorv1.RadiusServer_UDP
	}
	if len(m.GetPurposes()) == 0 {
		m.Purposes = []concentratorv1.RadiusServer_Purpose{
			concentratorv1.RadiusServer_AUTHENTICATION, concentratorv1.RadiusServer_ACCOUNTING,
		}
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
	if m.GetMaxOutstanding() == 0 {
		m.MaxOutstanding = store.DefaultMaxOutstanding
	}
	if m.GetDeadTime() == nil {
		m.DeadTime = durationpb.New(store.DefaultDeadTime)
	}
	if m.GetMessageAuthenticator() == 0 {
		m.MessageAuthenticator = concentratorv1.RadiusServer_REQUIRE
		if byTLS {
			m.MessageAuthenticator = concentratorv1.RadiusServer_AUTO
		}
	}
	if h, ok := b.live.RadiusHealth(m.GetName()); ok {
		m.Health = encodeHealth(h)
	}
}

func encodeHealth(h session.RadiusHealth) *concentratorv1.RadiusServer_Health {
	return &concentratorv1.RadiusServer_Health{
		State:         toEnum[concentratorv1.RadiusServer_Health_State](h.State),
		Since:         timestamp(h.Since),
		RoundTripTime: toDuration(h.RTT),
		Outstanding:   int32(h.Outstanding),
		LastError:     valid(h.LastError),
		Requests:      int64(h.Requests),
		Retries:       int64(h.Retries),
		Timeouts:      int64(h.Timeouts),
		Dropped:       int64(h.Dropped),
	}
}
