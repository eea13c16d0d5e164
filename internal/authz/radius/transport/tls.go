package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

func (c TLSConfig) equal(o TLSConfig) bool {
	return slices.Equal(c.CACertificates, o.CACertificates) && c.CertificateChain == o.CertificateChain &&
		bytes.Equal(c.CertificateKey, o.CertificateKey) && c.ServerName == o.ServerName
}

// build makes what crypto/tls wants, for a server at address. Errors name the field as the API spells it, and show nothing
// of the key.
func (c TLSConfig) build(address string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if t.ServerName == "" {
		t.ServerName = address
	}
	if len(c.CACertificates) > 0 { // never the system's as well
		t.RootCAs = x509.NewCertPool()
	}
	for i, pem := range c.CACertificates {
		if !t.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, fmt.Errorf("tls.caCertificates[%d] has no certificate in PEM", i)
		}
	}
	switch {
	case c.CertificateChain == "" && len(c.CertificateKey) == 0:
		return t, nil
	case c.CertificateChain == "":
		return nil, errors.New("tls.certificateChain is empty, but there is a tls.privateKey")
	case len(c.CertificateKey) == 0:
		return nil, errors.New("tls.privateKey is empty, but there is a tls.certificateChain")
	}
	pair, err := tls.X509KeyPair([]byte(c.CertificateChain), c.CertificateKey)
	if err != nil {
		return nil, fmt.Errorf("tls.certificateChain and tls.privateKey: %w", err)
	}
	// Always this one, whatever authorities the server names: it has its own way to say that it does not like it.
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return t, nil
}
