package session

import (
	"bytes"
	"errors"
	"slices"

	"concentrator/internal/ike/cert"
	"concentrator/internal/ike/ikev1"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// tenantPolicy is what a tenant's record came to. It is made anew when the record has changed.
type tenantPolicy struct {
	etag   string
	policy *ikev1.TenantPolicy
}

// ownCertificate is what a listener's certificate came to.
type ownCertificate struct {
	etag string
	own  *cert.Own
}

// policyCache keeps what is costly to make. It belongs to the reconciler.
type policyCache struct {
	tenants map[string]tenantPolicy
	owns    map[string]ownCertificate
}

// reconcilePolicies makes the snapshots of what IKE may negotiate on each listener. What is wrong in one tenant's record
// is logged and does not hold up the others.
func (m *Manager) reconcilePolicies() error {
	listeners, err := all(m, "", func(l *store.Listener) string { return l.Name })
	if err != nil {
		return err
	}
	tenants, err := all(m, "", func(t *store.Tenant) string { return t.Name })
	if err != nil {
		return err
	}
	next := policyCache{make(map[string]tenantPolicy), make(map[string]ownCertificate)}
	for _, t := range tenants {
		have, ok := m.policyCache.tenants[t.Name]
		if !ok || have.etag != t.Etag {
			have = tenantPolicy{t.Etag, m.tenantPolicy(t)}
		}
		next.tenants[t.Name] = have
	}
	policies := make(map[string]*ikev1.Policy)
	for _, l := range listeners {
		if !slices.Contains(l.Protocols, tenant.ProtocolL2TPIPsec) {
			continue
		}
		own, ok := m.policyCache.owns[l.Name]
		if !ok || own.etag != l.Etag {
			own = ownCertificate{l.Etag, m.ownCertificate(l)}
		}
		next.owns[l.Name] = own
		policies[l.Name] = m.listenerPolicy(l, own.own, next.tenants)
	}
	m.policyCache = next
	m.pskUses.keep(next.tenants) // before the first client can use a new one
	m.policies.Store(&policies)
	m.peers.dropWhere(func(p *ipsecPeer) bool {
		_, ok := next.tenants[p.tenant]
		return !ok
	}, tenant.ReasonAdminDisconnect, "the tenant was removed")
	return nil
}

// tenantPolicy reads a tenant's record as IKE needs it.
func (m *Manager) tenantPolicy(t *store.Tenant) *ikev1.TenantPolicy {
	p := &ikev1.TenantPolicy{
		Name: t.Name, Legacy: t.IPsec.LegacyClients, Aggressive: t.IPsec.AggressiveMode, GroupName: t.IPsec.GroupName,
		IKELifetime: t.IPsec.IKELifetime, ESPLifetime: t.IPsec.ESPLifetime,
	}
	for _, k := range t.IPsec.PSKs {
		if len(k.Secret) > 0 {
			p.PSKs = append(p.PSKs, ikev1.PSK{ID: k.ID, Secret: k.Secret})
		}
	}
	if len(t.IPsec.CACertificates) > 0 {
		trust, err := cert.ParseTrust(t.IPsec.CACertificates, t.IPsec.CRLs)
		if err != nil {
			m.log.Error("clients with certificates can't connect", telemetry.Tenant, t.Name, telemetry.Error, err)
		} else {
			p.Trust = trust
		}
	}
	return p
}

// ownCertificate reads a listener's certificate; nil if it has none that can be used.
func (m *Manager) ownCertificate(l *store.Listener) *cert.Own {
	if l.CertificateChain == "" {
		return nil
	}
	own, err := cert.ParseOwn(l.CertificateChain, l.CertificateKey)
	if err != nil {
		m.log.Error("clients with certificates can't connect", telemetry.Listener, l.Name, telemetry.Error, err)
		return nil
	}
	return own
}

// listenerPolicy joins what the listener's tenants allow. A key that two of them have would let the users of one in as
// the other's; the API refuses it, and here the later one does without.
func (m *Manager) listenerPolicy(l *store.Listener, own *cert.Own, tenants map[string]tenantPolicy) *ikev1.Policy {
	out := &ikev1.Policy{Certificate: own}
	var taken []ikev1.PSK
	for _, name := range l.Tenants {
		t, ok := tenants[name]
		if !ok {
			continue
		}
		equal := func(k ikev1.PSK) bool {
			return slices.ContainsFunc(taken, func(o ikev1.PSK) bool { return bytes.Equal(o.Secret, k.Secret) })
		}
		p := t.policy
		if slices.ContainsFunc(p.PSKs, equal) {
			alone := *p
			alone.PSKs = slices.DeleteFunc(slices.Clone(p.PSKs), equal)
			p = &alone
			if m.once(l.Name + " " + name + " PSK " + t.etag) {
				m.log.Error("pre-shared key not used", telemetry.Listener, l.Name, telemetry.Tenant, name,
					telemetry.Error, errors.New("another tenant of the listener has the same one"))
			}
		}
		taken = append(taken, p.PSKs...)
		out.Tenants = append(out.Tenants, p)
	}
	return out
}
