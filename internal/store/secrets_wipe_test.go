package store

import (
	"bytes"
	"testing"

	"concentrator/internal/tenant"
)

func TestWipe(t *testing.T) {
	full := func() []byte { return bytes.Clone([]byte("secret")) }
	u := &User{Password: full()}
	acme := &Tenant{
		Meta: Meta{Name: "tenants/acme"}, L2TPTunnelSecret: full(), IPsec: IPsec{PSKs: []PSK{{ID: "a", Secret: full()}, {ID: "b", Secret: full()}}},
	}
	server := &RadiusServer{Secrets: []tenant.Secret{full(), full()}, TLS: RadiusTLS{CertificateKey: full()}}
	l := &Listener{CertificateKey: full()}
	Wipe(u, nil)
	Wipe(acme)
	Wipe(server)
	Wipe(l)
	for i, s := range []tenant.Secret{
		u.Password, acme.L2TPTunnelSecret, acme.IPsec.PSKs[0].Secret, acme.IPsec.PSKs[1].Secret, server.Secrets[0], server.Secrets[1],
		server.TLS.CertificateKey, l.CertificateKey,
	} {
		if !bytes.Equal(s, make([]byte, 6)) {
			t.Errorf("secret %d is %q", i, string(s))
		}
	}
}
