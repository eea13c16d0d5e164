package server

import (
	"bytes"
	"crypto/subtle"
	"crypto/x509"
	"slices"
	"strings"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// Bounds of a tenant's pre-shared keys. Each is tried for a client that names no tenant.
const (
	maxPSKs         = 16
	maxListenerPSKs = 256 // of all tenants of a listener
)

// Why tenants of one listener differ in what IKE knows them by.
const (
	ruleOfPSKs   = "the key tells the tenants of an L2TP_IPSEC listener apart"
	ruleOfGroups = "the name tells the tenants of an L2TP_IPSEC listener apart"
	ruleOfCAs    = "the authority tells the tenants of an L2TP_IPSEC listener apart"
)

func encodeIPsec(r store.IPsec) *concentratorv1.Tenant_Ipsec {
	m := &concentratorv1.Tenant_Ipsec{
		LegacyClients:  r.LegacyClients,
		AggressiveMode: r.AggressiveMode,
		GroupName:      r.GroupName,
		CaCertificates: r.CACertificates,
		Crls:           r.CRLs,
		IkeLifetime:    toDuration(r.IKELifetime),
		EspLifetime:    toDuration(r.ESPLifetime),
	}
	for _, k := range r.PSKs {
		m.Psks = append(m.Psks, &concentratorv1.Tenant_Ipsec_Psk{Id: k.ID})
	}
	return m
}

func decodeIPsec(m *concentratorv1.Tenant_Ipsec, old store.IPsec, bad *fieldErrors) store.IPsec {
	r := store.IPsec{
		PSKs:           decodePSKs(m.GetPsks(), old.PSKs, bad),
		LegacyClients:  m.GetLegacyClients(),
		AggressiveMode: m.GetAggressiveMode(),
		GroupName:      m.GetGroupName(),
		IKELifetime:    m.GetIkeLifetime().AsDuration(),
		ESPLifetime:    m.GetEspLifetime().AsDuration(),
	}
	if m.GetAggressiveMode() && m.GetGroupName() == "" {
		bad.add("ipsec.groupName", "is missing; aggressive mode finds the tenant by it")
	}
	cas, parsed := decodeCAs("ipsec.caCertificates", m.GetCaCertificates(), old.CACertificates, bad)
	r.CACertificates, r.CRLs = cas, decodeCRLs(m.GetCrls(), parsed, bad)
	return r
}

// decodePSKs keeps the secret of a key that is named but not given.
func decodePSKs(list []*concentratorv1.Tenant_Ipsec_Psk, old []store.PSK, bad *fieldErrors) []store.PSK {
	const path = "ipsec.psks"
	var all []store.PSK
	for i, m := range list {
		k := store.PSK{ID: m.GetId()}
		if err := tenant.CheckID(k.ID); err != nil {
			bad.add(at(path, i)+".id", "%v", err)
		}
		if slices.ContainsFunc(all, func(o store.PSK) bool { return o.ID == k.ID }) {
			bad.add(at(path, i)+".id", "%q stands in the list twice", k.ID)
		}
		at0 := slices.IndexFunc(old, func(o store.PSK) bool { return o.ID == k.ID })
		switch {
		case m.Secret != nil:
			k.Secret = tenant.Secret(m.GetSecret())
		case at0 >= 0:
			k.Secret = old[at0].Secret
		default:
			bad.add(at(path, i)+".secret", "is missing, and there is no key %q whose secret could stay", k.ID)
		}
		all = append(all, k)
	}
	return all
}

// servesIPsec says whether IKE is spoken at a listener.
func servesIPsec(l *store.Listener) bool {
	return slices.Contains(l.Protocols, tenant.ProtocolL2TPIPsec)
}

// checkIPsecNeighbour holds tenant r, which is to be stored, against o at listener l, which leads to both. Whoever may
// write r may not be allowed to know o's name, so it is not told.
func checkIPsecNeighbour(r, o *store.Tenant, l *store.Listener, bad *fieldErrors) {
	if i := sharedPSK(r, o); i >= 0 {
		bad.addUnmet(at("ipsec.psks", i), "another tenant of %s has an equal key; %s", l.Name, ruleOfPSKs)
	}
	if sharedGroup(r, o) {
		bad.addUnmet("ipsec.groupName", "another tenant of %s has %q too; %s", l.Name, r.IPsec.GroupName, ruleOfGroups)
	}
	if i := sharedCA(r, o); i >= 0 {
		bad.addUnmet(at("ipsec.caCertificates", i), "another tenant of %s has this authority too, or one above or below it; %s", l.Name, ruleOfCAs)
	}
}

// sharedCA returns the index of the first authority of a whose certificates b would accept too, or the other way round:
// the same one, or one that has certified the other. -1 if there is none.
func sharedCA(a, b *store.Tenant) int {
	theirs := authorities(b)
	return slices.IndexFunc(authorities(a), func(x *x509.Certificate) bool {
		return slices.ContainsFunc(theirs, func(y *x509.Certificate) bool {
			return bytes.Equal(x.RawSubjectPublicKeyInfo, y.RawSubjectPublicKeyInfo) ||
				x.CheckSignatureFrom(y) == nil || y.CheckSignatureFrom(x) == nil
		})
	})
}

// authorities reads the authorities of a tenant, which were checked when they came in.
func authorities(t *store.Tenant) []*x509.Certificate {
	var all []*x509.Certificate
	for _, text := range t.IPsec.CACertificates {
		certs, err := parseCertificates(text)
		if err != nil {
			continue
		}
		all = append(all, certs...)
	}
	return all
}

// sharedPSK returns the index of the first key of a that b has too; -1 if there is none.
func sharedPSK(a, b *store.Tenant) int {
	return slices.IndexFunc(a.IPsec.PSKs, func(x store.PSK) bool {
		return slices.ContainsFunc(b.IPsec.PSKs, func(y store.PSK) bool {
			return subtle.ConstantTimeCompare(x.Secret, y.Secret) == 1
		})
	})
}

// sharedGroup says whether aggressive mode could not tell a from b. Letter case does not count: clients send the name
// as a domain name too.
func sharedGroup(a, b *store.Tenant) bool {
	return a.IPsec.AggressiveMode && b.IPsec.AggressiveMode && strings.EqualFold(a.IPsec.GroupName, b.IPsec.GroupName)
}
