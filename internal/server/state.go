package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of the state directory that this room owns.
const (
	tokenFile = "admin.token"
	certFile  = "tls.crt"
	keyFile   = "tls.key"
)

// certLife is how long a certificate that we make is valid. It is pinned by whoever trusts it, and not renewed.
const certLife = 10 * 365 * 24 * time.Hour

// tokenLen is the admin token's randomness in octets.
const tokenLen = 32

// adminToken reads the admin token of a state directory, or makes one at first start.
func adminToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw := make([]byte, tokenLen)
		_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
		token := "conc_admin_" + base64.RawURLEncoding.EncodeToString(raw)
		return token, writeFile(path, []byte(token+"\n"), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("admin token: others may read %s (mode %o): chmod 600 it, or remove it to get a new one", path, info.Mode().Perm())
	}
	token := strings.TrimSpace(string(b))
	if len(token) < tokenLen {
		return "", fmt.Errorf("admin token: %s holds no token: remove it to get a new one", path)
	}
	return token, nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone already when all went well
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// certificate loads the API's certificate: the configured one, or else the one of the state directory, which is made at
// first start for names and addresses that callers may use.
func certificate(dir string, c TLS, hosts []string) (tls.Certificate, error) {
	if c.Cert != "" || c.Key != "" {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("api.tls: %w", err)
		}
		return cert, nil
	}
	cert, key := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	if _, err := os.Stat(cert); errors.Is(err, fs.ErrNotExist) {
		if err := makeCertificate(cert, key, hosts); err != nil {
			return tls.Certificate{}, err
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate of the API: %w; remove %s and %s to get new ones", err, cert, key)
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return tls.Certificate{}, fmt.Errorf("certificate of the API expired %s: remove %s to get a new one", pair.Leaf.NotAfter, cert)
	}
	return pair, nil
}

// makeCertificate writes a self-signed certificate. The key goes first, so that a certificate always has one.
func makeCertificate(certPath, keyPath string, hosts []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("key of the API: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("certificate of the API: %w", err)
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "concentrator API"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that a client can take it as its CA file
		MaxPathLenZero:        true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("certificate of the API: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("key of the API: %w", err)
	}
	if err := writeFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return writeFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644)
}

// certHosts lists the names and addresses that our own certificate is for: this machine's name, and where it listens.
func certHosts(addresses ...string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err == nil && host != "" && !net.ParseIP(host).IsUnspecified() && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// fingerprint is the SHA-256 of a certificate in hexadecimal, as `openssl x509 -fingerprint -sha256` prints it.
func fingerprint(cert tls.Certificate) string {
	sum := sha256.Sum256(cert.Certificate[0])
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	var b strings.Builder
	for i := 0; i < len(text); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(text[i : i+2])
	}
	return b.String()
}

// tlsConfig is what both TCP listeners use. A client certificate is not asked for unless there is a CA to check it.
func tlsConfig(cert tls.Certificate, clientCA string) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if clientCA == "" {
		return c, nil
	}
	b, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("api.tls.client_ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("api.tls.client_ca: %s holds no certificate in PEM form", clientCA)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven // a token is as good
	return c, nil
}
