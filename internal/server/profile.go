package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// maxInform is how many octets routes and DNS suffix may take. A DHCP answer has 576 with its headers (RFC 2131 section
// 2); this leaves room for the servers and for a client's identifier of 26 octets.
const maxInform = 240

type profileService struct {
	concentratorv1.UnimplementedProfileServiceServer
	*backend
}

var profiles = &resource[store.Profile, *concentratorv1.Profile]{
	idField: "profileId",
	meta:    func(r *store.Profile) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.Profile, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:  encodeProfile,
	decode:  decodeProfile,
	check:   checkProfile,
	show:    showProfile,
	lasting: true,
	stored:  func(*backend, string, *store.Profile) {},
	referrers: func(b *backend, name string) ([]string, error) {
		return referrersOf(b, store.TenantOf(name), func(u *store.User) (string, bool) { return u.Name, u.Profile == name })
	},
}

func (s profileService) CreateProfile(ctx context.Context, r *concentratorv1.CreateProfileRequest) (*concentratorv1.Profile, error) {
	return create(ctx, s.backend, profiles, r, r.GetParent(), r.GetProfileId(), r.GetProfile())
}

func (s profileService) GetProfile(_ context.Context, r *concentratorv1.GetProfileRequest) (*concentratorv1.Profile, error) {
	return get(s.backend, profiles, r.GetName())
}

func (s profileService) ListProfiles(ctx context.Context, r *concentratorv1.ListProfilesRequest) (*concentratorv1.ListProfilesResponse, error) {
	page, next, err := list(ctx, s.backend, profiles, r, r.GetParent())
	return &concentratorv1.ListProfilesResponse{Profiles: page, NextPageToken: next}, err
}

func (s profileService) UpdateProfile(ctx context.Context, r *concentratorv1.UpdateProfileRequest) (*concentratorv1.Profile, error) {
	return update(ctx, s.backend, profiles, r.GetProfile(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s profileService) DeleteProfile(ctx context.Context, r *concentratorv1.DeleteProfileRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, profiles, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func encodeProfile(r *store.Profile) *concentratorv1.Profile {
	m := &concentratorv1.Profile{
		AllowPlaintext: r.AllowPlaintext,
		Mppe: &concentratorv1.Profile_Mppe{
			Policy:        toEnum[concentratorv1.Profile_Mppe_Policy](r.MPPE.Policy),
			AllowStateful: r.MPPE.AllowStateful,
		},
		Pool:                r.Pool,
		DnsServers:          texts(r.DNSServers),
		WinsServers:         texts(r.WINSServers),
		ClientRoutes:        texts(r.ClientRoutes),
		Mtu:                 int32(r.MTU),
		Echo:                &concentratorv1.Profile_Echo{Interval: toDuration(r.Echo.Interval), Failures: int32(r.Echo.Failures)},
		IdleTimeout:         toDuration(r.IdleTimeout),
		SessionTimeout:      toDuration(r.SessionTimeout),
		AcctInterimInterval: toDuration(r.AcctInterimInterval),
		RateLimit:           encodeRateLimit(r.RateLimit),
		Dscp:                toEnum[concentratorv1.Profile_Dscp](r.DSCP),
		Acl:                 r.ACL,
		DnsSuffix:           r.DNSSuffix,
		AllowedHours:        texts(r.AllowedHours),
		TimeZone:            r.TimeZone,
	}
	for _, a := range r.AuthMethods {
		m.AuthMethods = append(m.AuthMethods, toEnum[concentratorv1.Profile_AuthMethod](a))
	}
	for _, n := range r.MPPE.KeyBits {
		m.Mppe.KeyBits = append(m.Mppe.KeyBits, int32(n))
	}
	return m
}

func decodeProfile(m *concentratorv1.Profile, _ *store.Profile, bad *fieldErrors) *store.Profile {
	return &store.Profile{
		AuthMethods:    decodeAuthMethods(m.GetAuthMethods(), bad),
		AllowPlaintext: m.GetAllowPlaintext(),
		MPPE: tenant.MPPE{
			Policy:        tenant.MPPEPolicy(word(m.GetMppe().GetPolicy())),
			KeyBits:       decodeKeyBits(m.GetMppe().GetKeyBits(), bad),
			AllowStateful: m.GetMppe().GetAllowStateful(),
		},
		Pool:         bad.reference("pool", m.GetPool(), store.KindPool),
		DNSServers:   bad.hosts("dnsServers", m.GetDnsServers()),
		WINSServers:  bad.hosts("winsServers", m.GetWinsServers()),
		ClientRoutes: bad.prefixes("clientRoutes", m.GetClientRoutes()),
		MTU:          int(m.GetMtu()),
		Echo: tenant.Echo{
			Interval: m.GetEcho().GetInterval().AsDuration(),
			Failures: int(m.GetEcho().GetFailures()),
		},
		IdleTimeout:         m.GetIdleTimeout().AsDuration(),
		SessionTimeout:      m.GetSessionTimeout().AsDuration(),
		AcctInterimInterval: m.GetAcctInterimInterval().AsDuration(),
		RateLimit: tenant.RateLimit{
			UpBps:   uint64(m.GetRateLimit().GetUpBps()),
			DownBps: uint64(m.GetRateLimit().GetDownBps()),
		},
		DSCP: tenant.DSCP(word(m.GetDscp())),
		ACL:  bad.reference("acl", m.GetAcl(), store.KindACL),

		DNSSuffix:    decodeSuffix(m.GetDnsSuffix(), m.GetClientRoutes(), bad),
		AllowedHours: decodeHours(m.GetAllowedHours(), bad),
		TimeZone:     decodeZone(m.GetTimeZone(), bad),
	}
}

func decodeHours(list []string, bad *fieldErrors) (all []tenant.HourWindow) {
	const path = "allowedHours"
	for i, text := range list {
		w, err := tenant.ParseHourWindow(text)
		if err != nil {
			bad.add(at(path, i), "%s", err)
			continue
		}
		all = append(all, w)
	}
	return all
}

func decodeZone(name string, bad *fieldErrors) string {
	if _, err := tenant.Zone(name); err != nil {
		bad.add("timeZone", "%s", err)
	}
	return name
}

// decodeSuffix checks a DNS suffix, and that it fits the DHCP answer together with the routes.
func decodeSuffix(suffix string, routes []string, bad *fieldErrors) string {
	if suffix != "" && (!isHostName(suffix) || strings.HasSuffix(suffix, ".")) {
		bad.add("dnsSuffix", "%q is not a DNS name such as corp.example", suffix)
	}
	need := len(suffix)
	for _, text := range routes {
		if p, err := netip.ParsePrefix(text); err == nil {
			need += 1 + (p.Bits()+7)/8 + 4 // RFC 3442: length, octets of the prefix, router
		}
	}
	if need > maxInform {
		bad.add("clientRoutes", "take %d octets with dnsSuffix, at most %d fit a DHCP answer", need, maxInform)
	}
	return suffix
}

func encodeRateLimit(r tenant.RateLimit) *concentratorv1.Profile_RateLimit {
	return &concentratorv1.Profile_RateLimit{UpBps: int64(r.UpBps), DownBps: int64(r.DownBps)}
}

func decodeAuthMethods(list []concentratorv1.Profile_AuthMethod, bad *fieldErrors) []tenant.AuthMethod {
	const path = "authMethods"
	var all []tenant.AuthMethod
	for i, e := range list {
		a := tenant.AuthMethod(word(e))
		switch {
		case e == 0:
			bad.add(at(path, i), "is unset, must be one of %s", query.Words(e.Descriptor().Values()))
		case slices.Contains(all, a):
			bad.add(at(path, i), "%s stands in the list twice", a)
		}
		all = append(all, a)
	}
	return all
}

func decodeKeyBits(list []int32, bad *fieldErrors) []int {
	const path = "mppe.keyBits"
	var all []int
	for i, n := range list {
		if slices.Contains(all, int(n)) {
			bad.add(at(path, i), "%d stands in the list twice", n)
		}
		all = append(all, int(n))
	}
	return all
}

// showProfile fills in the defaults of store.Profile.WithDefaults.
func showProfile(_ *backend, m *concentratorv1.Profile) {
	d := encodeProfile(new(store.Profile{}.WithDefaults()))
	if len(m.GetAuthMethods()) == 0 {
		m.AuthMethods = d.GetAuthMethods()
	}
	if m.GetMppe().GetPolicy() == 0 {
		m.Mppe.Policy = d.GetMppe().GetPolicy()
	}
	if len(m.GetMppe().GetKeyBits()) == 0 {
		m.Mppe.KeyBits = d.GetMppe().GetKeyBits()
	}
	if m.GetMtu() == 0 {
		m.Mtu = d.GetMtu()
	}
	if m.GetEcho().GetInterval() == nil {
		m.Echo.Interval = d.GetEcho().GetInterval()
	}
	if m.GetEcho().GetFailures() == 0 {
		m.Echo.Failures = d.GetEcho().GetFailures()
	}
	if m.GetDscp() == 0 {
		m.Dscp = d.GetDscp()
	}
	for _, t := range []**durationpb.Duration{&m.IdleTimeout, &m.SessionTimeout, &m.AcctInterimInterval} {
		if *t == nil {
			*t = &durationpb.Duration{}
		}
	}
}

func checkProfile(b *backend, r *store.Profile, bad *fieldErrors) error {
	if err := checkOwn[store.Pool](b, "pool", store.TenantOf(r.Name), r.Pool, bad); err != nil {
		return err
	}
	return checkOwn[store.ACL](b, "acl", store.TenantOf(r.Name), r.ACL, bad)
}

// checkOwn wants ref, unless empty, to be a resource of kind T of the tenant called owner, and to exist.
func checkOwn[T store.Record](b *backend, path, owner, ref string, bad *fieldErrors) error {
	if ref == "" {
		return nil
	}
	if store.TenantOf(ref) != owner {
		bad.addUnmet(path, "%s is not of %s", ref, owner)
		return nil
	}
	_, err := store.Get[T](b.store, ref)
	if isNotFound(err) {
		bad.addUnmet(path, "%s does not exist", ref)
		return nil
	}
	return err
}
