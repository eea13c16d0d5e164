package load

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"concentrator/internal/simclient/eap"
	"concentrator/internal/tenant"
)

const nameEAPTLS = "EAP_TLS"

// authMethod is a method and, with EAP, which one of EAP's.
type authMethod struct {
	method tenant.AuthMethod
	eap    eap.Config
}

var auths = []named[authMethod]{
	{"MSCHAPV2", authMethod{method: tenant.AuthMSCHAPv2}},
	{"CHAP", authMethod{method: tenant.AuthCHAP}},
	{"PAP", authMethod{method: tenant.AuthPAP}},
	{"EAP_MSCHAPV2", authMethod{tenant.AuthEAP, eap.MSCHAPv2()}},
	{nameEAPTLS, authMethod{tenant.AuthEAP, eap.EAPTLS(eap.TLS{})}},
	{"PEAP", authMethod{tenant.AuthEAP, eap.PEAP(eap.TLS{}, "")}},
}

// Auths are the names that Auth knows.
func Auths() []string { return names(auths) }

// Auth is the authentication method by its name, with what Config.EAP must be.
func Auth(name string) (tenant.AuthMethod, eap.Config, error) {
	a, err := byName("authentication method", name, auths)
	return a.method, a.eap, err
}

// Certificates reads certificates and their keys from PEM files. A %d in the file names is a client's number, from first
// on: then there is one for each of count clients, else the same for all. key may be the same file as certificate.
func Certificates(certificate, key string, first, count int) ([]*tls.Certificate, error) {
	if !strings.Contains(certificate, "%d") {
		count = 1
	}
	var out []*tls.Certificate
	for n := first; n < first+count; n++ {
		c, err := tls.LoadX509KeyPair(numbered(certificate, n), numbered(key, n))
		if err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", ErrConfig, err)
		}
		out = append(out, &c)
	}
	return out, nil
}

// Roots reads the certificates of authorities from a PEM file.
func Roots(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%w: %s: no PEM certificate in it", ErrConfig, file)
	}
	return pool, nil
}
