package cert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"concentrator/internal/tenant"
	wireike "concentrator/internal/wire/ike"
)

func TestParseOwn(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	sub := issue(t, root, "Sub", ca)
	for _, tt := range []struct {
		key    crypto.Signer
		method wireike.AuthMethod
	}{
		{rsa2048(), wireike.AuthRSASignature}, {p256(), wireike.AuthECDSA256}, {p384(), wireike.AuthECDSA384}, {p521(), wireike.AuthECDSA521},
	} {
		server := issue(t, sub, "vpn.example.net", withKey(tt.key))
		for _, chain := range [][]*node{{server, sub, root}, {server, sub}} {
			o, err := ParseOwn("a comment\n"+pemOf(chain...)+"\n", keyPEM(t, tt.key))
			if err != nil {
				t.Fatal(err)
			}
			if c := o.Chain(); len(c) != 2 || !bytes.Equal(c[0], server.Raw) || !bytes.Equal(c[1], sub.Raw) {
				t.Errorf("%v: a chain of %d", tt.method, len(c))
			}
			if o.Method() != tt.method || !bytes.Equal(o.Subject(), server.RawSubject) || !o.NotAfter().Equal(server.NotAfter) {
				t.Errorf("%v: %v, %x, %v", tt.method, o.Method(), o.Subject(), o.NotAfter())
			}
			// What we present is what a client with the root accepts.
			p, err := ParsePeer(o.Chain())
			if err != nil {
				t.Fatal(err)
			}
			if err := trustIn(t, nil, root).Verify(p, now); err != nil {
				t.Error(err)
			}
		}
	}
	lone := issue(t, nil, "self-signed", nil)
	if o, err := ParseOwn(pemOf(lone), keyPEM(t, lone.key)); err != nil || len(o.Chain()) != 1 {
		t.Errorf("self-signed: %v", err)
	}
}

// TestKeyForms: PKCS #8, PKCS #1 and SEC 1, the latter also as openssl ecparam -genkey writes it.
func TestKeyForms(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	sec1, err := x509.MarshalECPrivateKey(p256().(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ec := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	for _, text := range []string{string(ec), parameters + string(ec), string(keyPEM(t, p256()))} {
		if _, err := ParseOwn(pemOf(issue(t, root, "server", nil)), tenant.Secret(text)); err != nil {
			t.Error(err)
		}
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaPrivate(t))})
	if _, err := ParseOwn(pemOf(issue(t, root, "server", withKey(rsa2048()))), pkcs1); err != nil {
		t.Error(err)
	}
}

func TestParseOwnErrors(t *testing.T) {
	root := issue(t, nil, "Root", ca)
	sub := issue(t, root, "Sub", ca)
	server := issue(t, sub, "server", nil)
	key := keyPEM(t, p256())
	good := pemOf(server)
	block := func(kind string, b []byte, headers map[string]string) tenant.Secret {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b, Headers: headers})
	}
	for _, tt := range []struct {
		name  string
		chain string
		key   tenant.Secret
		want  string
	}{
		{"no chain", "", key, "chainPem: it holds no PEM block"},
		{"key in the chain", good + string(key), key, `chainPem, PEM block 2: it is a "PRIVATE KEY" block`},
		{"wrong order", pemOf(sub, server), key, `chainPem, PEM block 2: "CN=server,O=Example" did not issue the certificate before it`},
		{"gap", pemOf(server, root), key, `chainPem, PEM block 2: "CN=Root,O=Example" did not issue`},
		{"CA", pemOf(root), keyPEM(t, root.key), "is a CA's certificate"},
		{"too long", strings.Repeat(good, MaxChain+1), key, "chainPem: it holds 9 certificates; at most 8"},
		{"weak", pemOf(issue(t, root, "s", withKey(rsa1024()))), key, "chainPem, PEM block 1: its RSA key has 1024 bits"},
		{
			"usage", pemOf(issue(t, root, "s", func(c *template) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), key,
			"chainPem, PEM block 1: its key usage",
		},
		{"no key", good, nil, "privateKeyPem: it holds no PEM block"},
		{"a certificate for a key", good, tenant.Secret(good), `privateKeyPem: it is a "CERTIFICATE" block; it must be a "PRIVATE KEY" block`},
		{"another key", good, keyPEM(t, p384()), `privateKeyPem: it does not belong to the first certificate of the chain, "CN=server,O=Example"`},
		{"another kind of key", good, keyPEM(t, rsa2048()), "privateKeyPem: it does not belong"},
		{"encrypted PKCS #8", good, block("ENCRYPTED PRIVATE KEY", []byte{1}, nil), "privateKeyPem: it is encrypted"},
		{"encrypted PKCS #1", good, block("RSA PRIVATE KEY", []byte{1}, map[string]string{"DEK-Info": "AES-128-CBC,00"}), "it is encrypted"},
		{"damaged key", good, block("PRIVATE KEY", []byte{0x30, 3, 2, 1, 0}, nil), "privateKeyPem: it is damaged or of an unknown kind"},
		{"Ed25519", good, keyPEM(t, edwards()), "it must be an RSA or ECDSA key"},
		{"P-224", good, keyPEM(t, p224()), "on the curve P-224"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseOwn(tt.chain, tt.key)
			var in *InputError
			if !errors.As(err, &in) || !strings.Contains(err.Error(), tt.want) || o != nil {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestOwnDoesNotPrint: errors and values show no key.
func TestOwnDoesNotPrint(t *testing.T) {
	secret := "MC4CAQAwBQYDK2VwBCIEI"
	_, err := ParseOwn(pemOf(issue(t, nil, "s", nil)), tenant.Secret("-----BEGIN PRIVATE KEY-----\n"+secret+"\n-----END PRIVATE KEY-----\n"))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	lone := issue(t, nil, "self-signed", nil)
	o, err := ParseOwn(pemOf(lone), keyPEM(t, lone.key))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, o); !strings.Contains(got, "self-signed") || len(got) > 100 {
			t.Errorf("%s shows %.200s", format, got)
		}
	}
}
