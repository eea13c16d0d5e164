package server

import (
	"context"
	"crypto/subtle"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"concentrator/internal/store"
)

// checkReserved refuses a caller that is bound to a tenant what only the instance's operators may decide: the kind's reserved
// fields, and what its guard says. old is nil for a new record.
func (k *resource[T, M]) checkReserved(ctx context.Context, b *backend, old, r *T) error {
	if callerOf(ctx).tenant == "" {
		return nil
	}
	if old == nil {
		old = new(T)
	}
	bad := fieldErrors{denied: true}
	// As callers see them: a default that is spelled out is no change.
	before, after := k.message(b, old).ProtoReflect(), k.message(b, r).ProtoReflect()
	for _, path := range k.reserved {
		fd := before.Descriptor().Fields().ByName(protoreflect.Name(path))
		if !before.Get(fd).Equal(after.Get(fd)) {
			bad.add(fd.JSONName(), "is for callers that are bound to no tenant to change")
		}
	}
	if k.guard != nil {
		if err := k.guard(b, old, r, &bad); err != nil {
			return err
		}
	}
	return bad.err()
}

// guardTenant keeps a tenant that shares a listener from choosing what tells its tenants apart there: whether a choice is
// taken would say what the others have. What it has already may stay or go.
func guardTenant(b *backend, old, r *store.Tenant, bad *fieldErrors) error {
	shared, err := sharesListener(b, r.Name)
	if err != nil || !shared {
		return err
	}
	const why = "is for callers that are bound to no tenant to set: a listener of the tenant leads to other tenants too"
	for i, k := range r.IPsec.PSKs {
		if !slices.ContainsFunc(old.IPsec.PSKs, func(o store.PSK) bool {
			return o.ID == k.ID && subtle.ConstantTimeCompare(o.Secret, k.Secret) == 1
		}) {
			bad.add(at("ipsec.psks", i)+".secret", why)
		}
	}
	for i, ca := range r.IPsec.CACertificates {
		if !slices.Contains(old.IPsec.CACertificates, ca) {
			bad.add(at("ipsec.caCertificates", i), why)
		}
	}
	if r.IPsec.GroupName != old.IPsec.GroupName {
		bad.add("ipsec.groupName", why)
	}
	if r.IPsec.AggressiveMode && !old.IPsec.AggressiveMode {
		bad.add("ipsec.aggressiveMode", why)
	}
	return nil
}

// sharesListener says whether a listener leads to the tenant called name and to others.
func sharesListener(b *backend, name string) (bool, error) {
	all, _, err := store.List[store.Listener](b.store, "", "", 0)
	return slices.ContainsFunc(all, func(l *store.Listener) bool {
		return len(l.Tenants) > 1 && slices.Contains(l.Tenants, name)
	}), err
}

// guardRadiusServer keeps a tenant's packets out of every namespace but its own and the daemon's, and in the daemon's from
// choosing their way.
func guardRadiusServer(b *backend, old, r *store.RadiusServer, bad *fieldErrors) error {
	t, err := store.Get[store.Tenant](b.store, store.TenantOf(r.Name))
	if err != nil {
		return err
	}
	if r.Namespace != "" && r.Namespace == t.Network.Namespace {
		return nil
	}
	for _, f := range []struct{ path, before, after string }{
		{"namespace", old.Namespace, r.Namespace},
		{"sourceAddress", old.SourceAddress, r.SourceAddress},
		{"sourceInterface", old.SourceInterface, r.SourceInterface},
	} {
		if f.after != "" && f.after != f.before {
			bad.add(f.path, "is for callers that are bound to no tenant to set, outside the tenant's own namespace")
		}
	}
	return nil
}
