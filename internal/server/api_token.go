package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/server/query"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

type apiTokenService struct {
	concentratorv1.UnimplementedApiTokenServiceServer
	*backend
}

var apiTokens = &resource[store.APIToken, *concentratorv1.ApiToken]{
	idField: "apiTokenId",
	meta:    func(r *store.APIToken) *store.Meta { return &r.Meta },
	stamp: func(m *concentratorv1.ApiToken, s stamp) {
		m.Name, m.CreateTime, m.UpdateTime, m.Etag = s.name, s.create, s.update, s.etag
	},
	encode:    encodeAPIToken,
	decode:    decodeAPIToken,
	check:     checkAPIToken,
	show:      func(b *backend, m *concentratorv1.ApiToken) { m.LastUseTime = timestamp(b.keys.lastUse(m.GetName())) },
	stored:    func(b *backend, name string, r *store.APIToken) { b.keys.set(name, r) },
	referrers: noReferrers,
	// The authority that signs certificates is the instance's: a tenant must not say whose another's is.
	reserved: []string{"certificate_fingerprints"},
}

func (s apiTokenService) CreateApiToken(
	ctx context.Context, r *concentratorv1.CreateApiTokenRequest,
) (*concentratorv1.ApiToken, error) {
	m := &concentratorv1.ApiToken{}
	if r.GetApiToken() != nil {
		m = proto.CloneOf(r.GetApiToken())
	}
	m.Token = nil
	if len(m.GetCertificateFingerprints()) == 0 && !r.GetValidateOnly() {
		m.Token = new(newToken())
	}
	made, again, err := createOnce(ctx, s.backend, apiTokens, r, r.GetParent(), r.GetApiTokenId(), m)
	if err != nil {
		return nil, err
	}
	if !again { // a token is shown once
		made.Token = m.Token
	}
	return made, nil
}

func (s apiTokenService) GetApiToken(_ context.Context, r *concentratorv1.GetApiTokenRequest) (*concentratorv1.ApiToken, error) {
	return get(s.backend, apiTokens, r.GetName())
}

func (s apiTokenService) ListApiTokens(
	ctx context.Context, r *concentratorv1.ListApiTokensRequest,
) (*concentratorv1.ListApiTokensResponse, error) {
	page, next, err := list(ctx, s.backend, apiTokens, r, r.GetParent())
	return &concentratorv1.ListApiTokensResponse{ApiTokens: page, NextPageToken: next}, err
}

func (s apiTokenService) UpdateApiToken(
	ctx context.Context, r *concentratorv1.UpdateApiTokenRequest,
) (*concentratorv1.ApiToken, error) {
	return update(ctx, s.backend, apiTokens, r.GetApiToken(), r.GetUpdateMask(), r.GetValidateOnly())
}

func (s apiTokenService) DeleteApiToken(ctx context.Context, r *concentratorv1.DeleteApiTokenRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, remove(ctx, s.backend, apiTokens, r.GetName(), r.GetEtag(), r.GetValidateOnly())
}

func (s apiTokenService) RotateApiToken(ctx context.Context, r *concentratorv1.RotateApiTokenRequest) (*concentratorv1.ApiToken, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	old, err := find[store.APIToken](s.backend, r.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetEtag() != "" && r.GetEtag() != old.Etag {
		return nil, &resourceError{old.Name, fmt.Errorf("rotate %s: %w since etag %s", old.Name, store.ErrConflict, r.GetEtag())}
	}
	token := newToken()
	before := *old
	old.Hash = hashOf(token)
	if err := store.Update(s.store, old, audited(ctx, apiTokens, &before, old)); err != nil {
		return nil, &resourceError{old.Name, err}
	}
	s.keys.set(old.Name, old)
	m := apiTokens.message(s.backend, old)
	m.Token = &token
	return m, nil
}

func encodeAPIToken(r *store.APIToken) *concentratorv1.ApiToken {
	m := &concentratorv1.ApiToken{
		DisplayName: r.DisplayName,
		Role:        toEnum[concentratorv1.ApiToken_Role](r.Role),
		ExpireTime:  timestamp(r.ExpireTime),
	}
	for _, c := range r.Certificates {
		m.CertificateFingerprints = append(m.CertificateFingerprints, hex.EncodeToString(c[:]))
	}
	return m
}

func decodeAPIToken(m *concentratorv1.ApiToken, old *store.APIToken, bad *fieldErrors) *store.APIToken {
	r := &store.APIToken{
		DisplayName:  m.GetDisplayName(),
		Role:         tenant.Role(word(m.GetRole())),
		ExpireTime:   bad.time("expireTime", m.GetExpireTime()),
		Certificates: decodeFingerprints(m.GetCertificateFingerprints(), bad),
	}
	if m.GetRole() == 0 {
		bad.add("role", "is missing, must be one of %s", query.Words(m.GetRole().Descriptor().Values()))
	}
	switch {
	case old != nil:
		r.Hash = old.Hash
	case m.Token != nil:
		r.Hash = hashOf(m.GetToken())
	}
	return r
}

func decodeFingerprints(list []string, bad *fieldErrors) []store.Fingerprint {
	const path = "certificateFingerprints"
	var all []store.Fingerprint
	for i, s := range list {
		var f store.Fingerprint
		if err := f.UnmarshalText([]byte(strings.ReplaceAll(s, ":", ""))); err != nil {
			bad.add(at(path, i), "%q is not a SHA-256 fingerprint: %d hexadecimal digits", s, 2*len(f))
			continue
		}
		if slices.Contains(all, f) {
			bad.add(at(path, i), "stands in the list twice")
		}
		all = append(all, f)
	}
	return all
}

func checkAPIToken(b *backend, r *store.APIToken, bad *fieldErrors) error {
	for i, c := range r.Certificates {
		if other := b.keys.whose(c); other != "" && other != r.Name {
			bad.addUnmet(at("certificateFingerprints", i), "names %s already", other)
		}
	}
	return nil
}
