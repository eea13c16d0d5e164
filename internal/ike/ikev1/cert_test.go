package ikev1

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"concentrator/internal/ike/cert"
	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

// certTime lies within a bubble's time.
var certTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, key, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: certTime.Add(-time.Hour),
		NotAfter: certTime.Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, der, err)
	c, err := x509.ParseCertificate(der)
	return &authority{must(t, c, err), key, pemOf("CERTIFICATE", der)}
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// issue makes a certificate and key.
func (a *authority) issue(t *testing.T, name string, serial int64, until time.Time, key crypto.Signer) *cert.Own {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		NotBefore: certTime.Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	must(t, der, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, pkcs8, err)
	own, err := cert.ParseOwn(pemOf("CERTIFICATE", der), tenant.Secret(pemOf("PRIVATE KEY", pkcs8)))
	return must(t, own, err)
}

func (a *authority) trust(t *testing.T, revoked ...int64) *cert.Trust {
	t.Helper()
	var crls []string
	if revoked != nil {
		list := &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: certTime.Add(-time.Hour), NextUpdate: certTime.Add(500 * time.Hour),
		}
		for _, s := range revoked {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: big.NewInt(s), RevocationTime: certTime,
			})
		}
		der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
		must(t, der, err)
		crls = append(crls, pemOf("X509 CRL", der))
	}
	tr, err := cert.ParseTrust([]string{a.pem}, crls)
	return must(t, tr, err)
}

func ecKey(t *testing.T, c elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	return must(t, k, err)
}

func TestCertificates(t *testing.T) {
	ours, other := newAuthority(t, "Acme CA"), newAuthority(t, "Other CA")
	for _, tc := range []struct {
		name   string
		method wireike.AuthMethod
		key    crypto.Signer
		client func(t *testing.T, key crypto.Signer) *cert.Own
		revoke []int64
		id     wireike.ID // zero: the subject
		reason tenant.Reason

		stranger bool // of no tenant's authority
	}{
		{name: "rsa", method: wireike.AuthRSASignature, key: rsaKey()},
		{name: "ecdsa 256", method: wireike.AuthECDSA256, key: ecKey(t, elliptic.P256())},
		{name: "ecdsa 384", method: wireike.AuthECDSA384, key: ecKey(t, elliptic.P384())},
		{name: "ecdsa 521", method: wireike.AuthECDSA521, key: ecKey(t, elliptic.P521())},
		{
			name: "another authority", method: wireike.AuthRSASignature, key: rsaKey(),
			client: func(t *testing.T, key crypto.Signer) *cert.Own {
				return other.issue(t, "ann", 7, certTime.Add(time.Hour), key)
			},
			reason: tenant.ReasonCertificateUntrusted, stranger: true,
		},
		{
			name: "expired", method: wireike.AuthRSASignature, key: rsaKey(),
			client: func(t *testing.T, key crypto.Signer) *cert.Own {
				return ours.issue(t, "ann", 7, certTime.Add(-time.Minute), key)
			},
			reason: tenant.ReasonCertificateExpired,
		},
		{name: "revoked", method: wireike.AuthRSASignature, key: rsaKey(), revoke: []int64{7}, reason: tenant.ReasonCertificateRevoked},
		{
			name: "an address as identity", method: wireike.AuthRSASignature, key: rsaKey(),
			id: wireike.ID{Type: wireike.IDIPv4Addr, Data: []byte{192, 168, 0, 5}},
		},
		{
			name: "a name that is not in the certificate", method: wireike.AuthRSASignature, key: rsaKey(),
			id: wireike.ID{Type: wireike.IDFQDN, Data: []byte("bob.example")}, reason: tenant.ReasonCertificateUntrusted,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				until := certTime.Add(100 * time.Hour)
				p := pskPolicy("tenants/a", "secret") // both at once is fine
				p.Trust = ours.trust(t, tc.revoke...)
				b := &TenantPolicy{Name: "tenants/b", Trust: newAuthority(t, "Third CA").trust(t)}
				s := w.host(serverAddr, &Policy{
					Tenants: []*TenantPolicy{b, p}, Certificate: ours.issue(t, "vpn", 2, until, tc.key),
				}, Config{})
				client := pskPolicy("tenants/client", "")
				client.PSKs, client.Trust = nil, ours.trust(t)
				own := ours.issue(t, "ann", 7, until, tc.key)
				if tc.client != nil {
					own = tc.client(t, tc.key)
				}
				cl := w.behind("203.0.113.9", "10.0.0.2", &Policy{Tenants: []*TenantPolicy{client}, Certificate: own}, Config{})
				c := linux("10.0.0.2", "")
				c.PSK, c.Certificate, c.Trust = nil, own, ours.trust(t)
				c.Proposals[0].Auth = tc.method
				if c.Identity = tc.id; c.Identity.Type == 0 {
					c.Identity = wireike.ID{Type: wireike.IDDERASN1DN, Data: own.Subject()}
				}
				cl.initiate(c)
				settle(time.Second)
				if tc.reason != "" {
					of, who := "tenants/a", "dn:CN=ann"
					if tc.stranger {
						of, who = "", ""
					}
					wantRefusal(t, s, tenant.StageIKEMainMode, tc.reason, of, "")
					if r := s.refused()[0]; r.Identity != who {
						t.Errorf("refused %q, want %q", r.Identity, who)
					}
					settle(time.Second)
					if r := cl.refused(); len(r) != 1 {
						t.Errorf("the client reports %+v", r)
					}
					return
				}
				sa := s.only().sa
				if sa.Tenant != "tenants/a" || sa.Identity.String() != "dn:CN=ann" || sa.Authentication != tc.method || sa.PSK != "" {
					t.Errorf("%+v", sa)
				}
				mustCarry(t, s.only(), cl.only())
				// Both phases, begun by the server.
				old := s.only().sa.ID
				s.e.postPeer(s.only(), func(m *peer, now time.Time) { m.rekeySA(now, m.newest()) })
				settle(time.Second)
				if len(s.sas) != 2 || s.sas[1].ID == old || !s.sas[1].Initiated {
					t.Errorf("%+v; %+v %+v", s.sas, s.refused(), cl.refused())
				}
				mustCarry(t, s.only(), cl.only())
				w.shutdown(cl, s)
			})
		})
	}
}

// Without a certificate of our own, or without an authority, signatures are not agreed to.
func TestCertificatesNotConfigured(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := newAuthority(t, "Acme CA")
		p := pskPolicy("tenants/a", "secret")
		p.Trust = a.trust(t)
		s := w.host(serverAddr, policyOf(p), Config{})
		own := a.issue(t, "ann", 7, certTime.Add(time.Hour), rsaKey())
		cl := w.host("192.0.2.7", policyOf(), Config{})
		c := linux("192.0.2.7", "")
		c.Certificate, c.Trust, c.Proposals[0].Auth = own, a.trust(t), wireike.AuthRSASignature
		cl.initiate(c)
		settle(time.Second)
		wantRefusal(t, s, tenant.StageIKEMainMode, tenant.ReasonNoCommonProposal, "", "RSA")
	})
}
