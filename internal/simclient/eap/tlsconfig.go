package eap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS is how EAP-TLS and PEAP make sure of each other.
type TLS struct {
	// Certificate is ours, with its key; nil: none. EAP-TLS needs one.
	Certificate *tls.Certificate
	// Roots are whom the server's certificate must come from. nil: any certificate is believed, and so any server; a test
	// or a load may do that.
	Roots *x509.CertPool
	// ServerName must be in the server's certificate. Empty: any name; with EAP there is no address to compare it with.
	ServerName string
	// MinVersion and MaxVersion are those of crypto/tls; 0: TLS 1.2 to 1.3.
	MinVersion, MaxVersion uint16
}

// config is the same for crypto/tls. No server name is sent, and no session resumed, as most peers do.
func (c TLS) config() *tls.Config {
	out := &tls.Config{
		MinVersion: max(c.MinVersion, tls.VersionTLS12), MaxVersion: c.MaxVersion,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it: crypto/tls would insist on a name
		VerifyConnection:   c.verify,
	}
	if c.Certificate != nil {
		// Not by Certificates: those are left out where the server's list of authorities does not name theirs, and then
		// nobody says what was wrong.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.Certificate, nil }
	}
	return out
}

// verify checks the server's certificate.
func (c TLS) verify(st tls.ConnectionState) error {
	if c.Roots == nil {
		return nil
	}
	if len(st.PeerCertificates) == 0 {
		return errors.New("eap: the server has no certificate")
	}
	opts := x509.VerifyOptions{
		Roots: c.Roots, DNSName: c.ServerName, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, cert := range st.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := st.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("eap: the server's certificate: %w", err)
	}
	return nil
}
