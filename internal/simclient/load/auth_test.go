package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/tenant"
	wireeap "concentrator/internal/wire/eap"
)

// writePair puts a certificate with its key into one file.
func writePair(t *testing.T, file, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEAP: each client has its own name, identity and certificate.
func TestEAP(t *testing.T) {
	dir := t.TempDir()
	for n := 7; n < 10; n++ {
		writePair(t, filepath.Join(dir, fmt.Sprintf("u%d.pem", n)), fmt.Sprintf("u%d", n))
	}
	cfg := Config{User: "u%d", NewPassword: "new-%d", First: 7}
	var err error
	if cfg.Auth, cfg.EAP, err = Auth("eap_tls"); err != nil || cfg.Auth != tenant.AuthEAP {
		t.Fatalf("%s %v", cfg.Auth, err)
	}
	cfg.EAP.Identity = "anonymous-%d"
	files := filepath.Join(dir, "u%d.pem")
	if cfg.Certificates, err = Certificates(files, files, 7, 3); err != nil {
		t.Fatal(err)
	}
	for n := 7; n < 10; n++ {
		p := cfg.ppp(n, true)
		cert := p.EAP.TLS.Certificate.Leaf
		if cert.Subject.CommonName != p.Name || p.Name != fmt.Sprintf("u%d", n) ||
			p.EAP.Identity != fmt.Sprintf("anonymous-%d", n) || p.NewPassword != fmt.Sprintf("new-%d", n) {
			t.Errorf("client %d: %s, %s, %s, %s", n, p.Name, p.EAP.Identity, p.NewPassword, cert.Subject)
		}
		if !slices.Equal(p.Methods, []tenant.AuthMethod{tenant.AuthEAP}) ||
			!slices.Equal(p.EAP.Methods, []byte{wireeap.TypeTLS}) || p.CCPMode != simppp.CCPRequire {
			t.Errorf("client %d: %v %v, CCP %d", n, p.Methods, p.EAP.Methods, p.CCPMode)
		}
	}
	one := filepath.Join(dir, "u8.pem")
	if all, err := Certificates(one, one, 7, 3); err != nil || len(all) != 1 {
		t.Errorf("%d certificates, %v", len(all), err)
	}
	if _, err := Certificates(files, files, 7, 4); !errors.Is(err, ErrConfig) {
		t.Errorf("a certificate that is not there: %v", err)
	}
	if _, err := Roots(one); err != nil {
		t.Error(err)
	}
	if cfg.Auth, cfg.EAP, err = Auth("PAP"); err != nil || cfg.ppp(7, true).CCPMode != simppp.CCPNone {
		t.Errorf("PAP with CCP, %v", err)
	}
}
