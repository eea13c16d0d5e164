package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// RotatePsk makes a pre-shared key beside those that the tenant has. It is at random, so that it says nothing of other
// tenants' keys: callers that may not choose one may have one made.
func (s tenantService) RotatePsk(ctx context.Context, r *concentratorv1.RotatePskRequest) (*concentratorv1.RotatePskResponse, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	t, err := find[store.Tenant](s.backend, r.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetEtag() != "" && r.GetEtag() != t.Etag {
		return nil, &resourceError{t.Name, fmt.Errorf("rotate key of %s: %w since etag %s", t.Name, store.ErrConflict, r.GetEtag())}
	}
	bad := fieldErrors{tenant: callerOf(ctx).tenant}
	k := store.PSK{ID: newPSKID(t, r.GetPskId(), &bad), Secret: tenant.Secret(rand.Text())}
	if len(t.IPsec.PSKs) >= maxPSKs {
		bad.addUnmet("name", "%s has %d keys, the most that are allowed; take those that are no longer used out of ipsec.psks", t.Name, maxPSKs)
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	before := *t
	t.IPsec.PSKs = append(t.IPsec.PSKs, k)
	if err := tenants.check(s.backend, t, &bad); err != nil {
		return nil, err
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if err := store.Update(s.store, t, audited(ctx, tenants, &before, t)); err != nil {
		return nil, &resourceError{t.Name, err}
	}
	tenants.stored(s.backend, t.Name, t)
	return &concentratorv1.RotatePskResponse{PskId: k.ID, Key: string(k.Secret), Tenant: tenants.message(s.backend, t)}, nil
}

// newPSKID is the ID of a tenant's new key: the one asked for, or the date.
func newPSKID(t *store.Tenant, asked string, bad *fieldErrors) string {
	taken := func(id string) bool {
		return slices.ContainsFunc(t.IPsec.PSKs, func(k store.PSK) bool { return k.ID == id })
	}
	if asked != "" {
		if err := tenant.CheckID(asked); err != nil {
			bad.add("pskId", "%v", err)
		} else if taken(asked) {
			bad.add("pskId", "%q is the id of a key that %s has", asked, t.Name)
		}
		return asked
	}
	date := time.Now().UTC().Format(time.DateOnly)
	id := date
	for n := 2; taken(id); n++ { // a tenant has few
		id = fmt.Sprintf("%s-%d", date, n)
	}
	return id
}
