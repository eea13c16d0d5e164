package server

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"concentrator/internal/store"
)

// identity is a certificate and its private key, both in PEM.
type identity struct {
	certificate, privateKey string

	cert *x509.Certificate
	key  crypto.Signer
}

func pemOf(blockType string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
}

// jsonOf spells texts as a list in JSON.
func jsonOf(t *testing.T, texts ...string) string {
	t.Helper()
	b, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// newKey makes an ECDSA key, which is quick to make.
func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newIdentity signs a certificate by a parent, or by itself when that is nil.
func newIdentity(t *testing.T, c *x509.Certificate, key crypto.Signer, parent *identity) *identity {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	issuer, signer := c, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{pemOf(pemCertificate, der), pemOf(pemKey, private), made, key}
}

func authorityOf(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func newAuthority(t *testing.T, name string) *identity {
	t.Helper()
	return newIdentity(t, authorityOf(name), newKey(t), nil)
}

// issue signs a certificate for a host, with a new key or the one given.
func (a *identity) issue(t *testing.T, host string, key crypto.Signer) *identity {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	return newIdentity(t, &x509.Certificate{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}, key, a)
}

// crl signs an empty revocation list.
func (a *identity) crl(t *testing.T) string {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
	}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(pemCRL, der)
}

// certificateJSON is the body of an update of a listener's certificate; a text that is "-" is left out.
func certificateJSON(t *testing.T, chain, key string) string {
	t.Helper()
	c := map[string]string{}
	if chain != "-" {
		c["chainPem"] = chain
	}
	if key != "-" {
		c["privateKeyPem"] = key
	}
	b, err := json.Marshal(map[string]any{"certificate": c})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestListenerCertificate(t *testing.T) {
	f := start(t)
	f.seed(t)
	root, stranger := newAuthority(t, "root"), newAuthority(t, "stranger")
	middle := newIdentity(t, authorityOf("middle"), newKey(t), root)
	leaf, other := middle.issue(t, "vpn.example", nil), middle.issue(t, "other.example", nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	byRSA := root.issue(t, "rsa.example", rsaKey)
	shortKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short := root.issue(t, "short.example", shortKey)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := root.issue(t, "ed.example", edKey)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := root.issue(t, "p224.example", p224)
	expired := newIdentity(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}, newKey(t), root)
	early := newIdentity(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "new"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour),
	}, newKey(t), root)
	sec1, err := x509.MarshalECPrivateKey(leaf.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	parameters := pemOf(pemECParameter, []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	broken := strings.Replace(middle.certificate, "-----END", "----END", 1)
	encrypted := strings.Replace(pemOf(pemECKey, sec1), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1)
	const chain, key = "certificate.chainPem", "certificate.privateKeyPem"

	for _, c := range []struct{ name, chain, key, field, text string }{
		{"a key without a chain", "-", leaf.privateKey, chain, "missing"},
		{"no key", leaf.certificate, "-", key, "missing"},
		{"no PEM", "certificate", leaf.privateKey, chain, "no PEM block"},
		{"a broken block", leaf.certificate + broken + root.certificate, leaf.privateKey, chain, "block 2"},
		{"no certificate inside", leaf.certificate + pemOf(pemCertificate, []byte("nothing")), leaf.privateKey, chain, "block 2"},
		{"the key in the chain", leaf.certificate + leaf.privateKey, leaf.privateKey, chain, "block 2"},
		{"an authority left out", leaf.certificate + root.certificate, leaf.privateKey, chain, "block 2"},
		{"a wrong authority", leaf.certificate + middle.certificate + stranger.certificate, leaf.privateKey, chain, "block 3"},
		{"the wrong order", middle.certificate + leaf.certificate, middle.privateKey, chain, "block 2"},
		{"too many", strings.Repeat(root.certificate, 11), root.privateKey, chain, "at most 10"},
		{"too long", leaf.certificate + strings.Repeat("\n", maxPEM), leaf.privateKey, chain, "at most"},
		{"expired", expired.certificate, expired.privateKey, chain, "expired at"},
		{"not valid yet", early.certificate, early.privateKey, chain, "not valid before"},
		{"another's key", leaf.certificate, other.privateKey, key, "not the key"},
		{"another kind of key", leaf.certificate, byRSA.privateKey, key, "not the key"},
		{"no key inside", leaf.certificate, pemOf(pemKey, []byte("nothing")), key, "no private key"},
		{"a certificate for a key", leaf.certificate, leaf.certificate, key, "must be"},
		{"two keys", leaf.certificate, leaf.privateKey + other.privateKey, key, "2 blocks"},
		{"an encrypted key", leaf.certificate, encrypted, key, "not encrypted"},
		{"a short key", short.certificate, short.privateKey, key, "1024 bits"},
		{"a key that IKE has no signature for", ed.certificate, ed.privateKey, key, "neither"},
		{"a curve that IKE has no signature for", curve.certificate, curve.privateKey, key, "curve"},

		{"one certificate", leaf.certificate, leaf.privateKey, "", ""},
		{"the key stays", leaf.certificate + middle.certificate, "-", "", ""},
		{"the key stays and does not fit", other.certificate, "-", key, "missing"},
		{"the key alone", "-", pemOf(pemECKey, sec1), "", ""},
		{"the key alone, of another", "-", other.privateKey, key, "not the key"},
		{"the key with its parameters", "-", parameters + pemOf(pemECKey, sec1), "", ""},
		{"the whole chain, with words between", "leaf\n" + leaf.certificate + "middle\n" + middle.certificate + root.certificate, leaf.privateKey, "", ""},
		{"RSA", byRSA.certificate, byRSA.privateKey, "", ""},
		{"RSA in its own form", byRSA.certificate, pemOf(pemRSAKey, x509.MarshalPKCS1PrivateKey(rsaKey)), "", ""},
		{"none", "", "-", "", ""},
	} {
		code, body := f.rest(t, "PATCH", "/v1/listeners/main", certificateJSON(t, c.chain, c.key))
		if c.field == "" && code != 200 || c.field != "" && (code != 400 || strings.Join(fieldsOfJSON(t, body), " ") != c.field || !strings.Contains(body, c.text)) {
			t.Errorf("%s: %d %s\nwant %s %q", c.name, code, body, c.field, c.text)
		}
		if strings.Contains(body, pemKey+"-") || strings.Contains(body, pemECKey+"-") || strings.Contains(body, "privateKeyPem\"") && code == 200 {
			t.Errorf("%s: a key came back: %s", c.name, body)
		}
	}
	if l, err := store.Get[store.Listener](f.store, "listeners/main"); err != nil || l.CertificateChain != "" || len(l.CertificateKey) != 0 {
		t.Errorf("a chain that is taken away leaves %q and a key of %d octets: %v", l.CertificateChain, len(l.CertificateKey), err)
	}
}

// A certificate that has expired since must not stand in the way of another change.
func TestExpiredSince(t *testing.T) {
	f := start(t)
	f.seed(t)
	root := newAuthority(t, "root")
	past := func() (time.Time, time.Time) { return time.Now().Add(-2 * time.Hour), time.Now().Add(-time.Hour) }
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "vpn"}}
	leaf.NotBefore, leaf.NotAfter = past()
	own := newIdentity(t, leaf, newKey(t), root)
	l, err := store.Get[store.Listener](f.store, "listeners/main")
	must(t)(l, err)
	l.CertificateChain, l.CertificateKey = own.certificate, []byte(own.privateKey)
	must(t)(nil, store.Update(f.store, l))
	if code, body := f.rest(t, "PATCH", "/v1/listeners/main", `{"maxL2tpSessions":7}`); code != 200 {
		t.Errorf("another field of a listener whose certificate expired: %d %s", code, body)
	}

	ca := authorityOf("old root")
	ca.NotBefore, ca.NotAfter = past()
	old := newIdentity(t, ca, newKey(t), nil)
	tn, err := store.Get[store.Tenant](f.store, "tenants/acme")
	must(t)(tn, err)
	tn.IPsec.CACertificates = []string{old.certificate}
	must(t)(nil, store.Update(f.store, tn))
	if code, body := f.rest(t, "PATCH", "/v1/tenants/acme", `{"displayName":"other"}`); code != 200 {
		t.Errorf("another field of a tenant whose authority expired: %d %s", code, body)
	}
}

func TestTenantCertificates(t *testing.T) {
	f := start(t)
	f.seed(t)
	root, other := newAuthority(t, "root"), newAuthority(t, "other")
	namesake := newAuthority(t, "root")
	leaf := root.issue(t, "vpn.example", nil)
	noSign := authorityOf("no sign")
	noSign.KeyUsage = x509.KeyUsageCRLSign
	noList := authorityOf("no list")
	noList.KeyUsage = x509.KeyUsageCertSign
	mute := newIdentity(t, noList, newKey(t), nil)
	old := authorityOf("old")
	old.NotBefore, old.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired := newIdentity(t, old, newKey(t), nil)
	const cas, crls = "ipsec.caCertificates", "ipsec.crls"
	list := func(texts ...string) []string { return texts }
	for _, c := range []struct {
		name        string
		cas, crls   []string
		field, text string
	}{
		{"no PEM", list(root.certificate, "x"), nil, cas + "[1]", "no PEM block"},
		{"a bundle", list(root.certificate + other.certificate), nil, cas + "[0]", "2 certificates"},
		{"a key", list(root.privateKey), nil, cas + "[0]", "block 1"},
		{"no authority", list(leaf.certificate), nil, cas + "[0]", "CA"},
		{"may not sign", list(newIdentity(t, noSign, newKey(t), nil).certificate), nil, cas + "[0]", "keyCertSign"},
		{"twice", list(root.certificate, "again\n"+root.certificate), nil, cas + "[1]", "twice"},
		{"expired", list(root.certificate, expired.certificate), nil, cas + "[1]", "expired at"},
		{"too many", make([]string, 17), nil, cas, "at most 16"},
		{"a list for no authority", nil, list(root.crl(t)), crls + "[0]", "none of caCertificates"},
		{"a list of another authority", list(root.certificate), list(root.crl(t), other.crl(t)), crls + "[1]", "none of caCertificates"},
		{"a list of a namesake", list(root.certificate), list(namesake.crl(t)), crls + "[0]", "not signed by the authority of that name"},
		{"a certificate for a list", list(root.certificate), list(root.certificate), crls + "[0]", "CERTIFICATE"},
		{"no list", list(root.certificate), list("x"), crls + "[0]", "no PEM block"},
		{"no list inside", list(root.certificate), list(pemOf(pemCRL, []byte("x"))), crls + "[0]", "no revocation list"},
		{"too many lists", list(root.certificate), make([]string, 17), crls, "at most 16"},

		{"two authorities and a list", list(root.certificate, other.certificate), list(other.crl(t)), "", ""},
		{"two of one name", list(namesake.certificate, root.certificate), list(root.crl(t), namesake.crl(t)), "", ""},
		{"the authority goes, its list stays", list(namesake.certificate), list(root.crl(t)), crls + "[0]", "not signed"},
		{"an authority that may sign no list", list(mute.certificate), nil, "", ""},
	} {
		body := `{"ipsec":{"caCertificates":` + jsonOf(t, c.cas...) + `,"crls":` + jsonOf(t, c.crls...) + `}}`
		body = strings.ReplaceAll(body, "null", "[]")
		code, answer := f.rest(t, "PATCH", "/v1/tenants/acme?updateMask=ipsec.caCertificates,ipsec.crls", body)
		if c.field == "" && code != 200 || c.field != "" && (code != 400 || strings.Join(fieldsOfJSON(t, answer), " ") != c.field || !strings.Contains(answer, c.text)) {
			t.Errorf("%s: %d %s\nwant %s %q", c.name, code, answer, cmp.Or(c.field, "success"), c.text)
		}
	}
}

// What tells the tenants of a listener apart must differ, whichever of them is written last.
func TestNeighboursInIPsec(t *testing.T) {
	f := start(t)
	f.seed(t) // acme's key is hush-psk-1, and listeners/main speaks PPTP
	f.tenant(t, "beta", "beta", "10.2.0.0/16")
	f.tenant(t, "gamma", "gamma", "10.3.0.0/16")
	many := func(from, n int) string {
		var keys []string
		for i := range n {
			id := "k" + string(rune('a'+i))
			keys = append(keys, `{"id":"`+id+`","secret":"hush-`+id+strings.Repeat("x", from)+`"}`)
		}
		return `{"ipsec":{"psks":[` + strings.Join(keys, ",") + `]}}`
	}
	root, other := newAuthority(t, "root"), newAuthority(t, "other")
	below := newIdentity(t, authorityOf("below"), newKey(t), root)
	trusts := func(cas ...*identity) string {
		var texts []string
		for _, c := range cas {
			texts = append(texts, c.certificate)
		}
		return `{"ipsec":{"caCertificates":` + jsonOf(t, texts...) + `}}`
	}
	const both = `"tenants":["tenants/acme","tenants/beta"]`
	for _, c := range []struct {
		method, path, body string
		field, text        string
	}{
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x","secret":"other"},{"id":"y","secret":"hush-psk-1"}]}}`, "", ""},
		{"PATCH", "/v1/listeners/main", `{` + both + `}`, "", ""}, // no IPsec there
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x"},{"id":"y"}]}}`, "", ""},
		{"PATCH", "/v1/listeners/main", `{"protocols":["PPTP","L2TP_IPSEC"]}`, "tenants[1]", "tenants/acme and tenants/beta have an equal pre-shared key"},
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x"}]}}`, "", ""},
		{"PATCH", "/v1/listeners/main", `{"protocols":["PPTP","L2TP_IPSEC"]}`, "", ""},
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x"},{"id":"y","secret":"hush-psk-1"}]}}`, "ipsec.psks[1]", "another tenant of listeners/main"},
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x"},{"id":"y","secret":"hush-psk-2"}]}}`, "", ""},
		{"PATCH", "/v1/tenants/acme", `{"ipsec":{"psks":[{"id":"main","secret":"hush-psk-2"}]}}`, "ipsec.psks[0]", "another tenant of listeners/main"},

		{"PATCH", "/v1/tenants/acme", `{"ipsec":{"aggressiveMode":true,"groupName":"Staff"}}`, "", ""},
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"groupName":"staff"}}`, "", ""}, // which nothing looks at
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"aggressiveMode":true}}`, "ipsec.groupName", "another tenant of listeners/main"},
		{"PATCH", "/v1/tenants/gamma", `{"ipsec":{"aggressiveMode":true,"groupName":"staff"}}`, "", ""},
		{"PATCH", "/v1/listeners/main", `{"tenants":["tenants/acme","tenants/gamma"]}`, "tenants[1]", "groupName"},
		{"PATCH", "/v1/tenants/gamma", `{"ipsec":{"aggressiveMode":false}}`, "", ""},
		{"PATCH", "/v1/listeners/main", `{"tenants":["tenants/acme","tenants/gamma","tenants/beta"]}`, "", ""},
		{"PATCH", "/v1/tenants/gamma", many(1, maxPSKs), "", ""},

		{"PATCH", "/v1/tenants/acme", trusts(root), "", ""},
		{"PATCH", "/v1/tenants/beta", trusts(other, root), "ipsec.caCertificates[1]", "another tenant of listeners/main"},
		{"PATCH", "/v1/tenants/beta", trusts(below), "ipsec.caCertificates[0]", "another tenant of listeners/main"},
		{"PATCH", "/v1/tenants/beta", trusts(other), "", ""},
		{"PATCH", "/v1/listeners/main", `{"tenants":["tenants/acme","tenants/gamma"]}`, "", ""},
		{"PATCH", "/v1/tenants/beta", trusts(below), "", ""},
		{"PATCH", "/v1/listeners/main", `{` + both + `}`, "tenants[1]", "authority"},
		{"PATCH", "/v1/tenants/beta", trusts(other), "", ""},

		// Of two listeners that lead to both, the first does not count, because it has no IPsec; the second does.
		{"PATCH", "/v1/listeners/main", `{` + both + `}`, "", ""},
		{"POST", "/v1/listeners?listenerId=a", `{"address":"192.0.2.1","protocols":["L2TP"],` + both + `}`, "", ""},
		{"PATCH", "/v1/tenants/beta", `{"ipsec":{"psks":[{"id":"x"},{"id":"y","secret":"hush-psk-1"}]}}`, "ipsec.psks[1]", "another tenant of listeners/main"},
	} {
		code, body := f.rest(t, c.method, c.path, c.body)
		if c.field == "" && code != 200 || c.field != "" && (code != 400 || strings.Join(fieldsOfJSON(t, body), " ") != c.field || !strings.Contains(body, c.text)) {
			t.Errorf("%s %s %s: %d %s\nwant %q %q", c.method, c.path, c.body, code, body, c.field, c.text)
		}
		if strings.Contains(body, "hush") || strings.HasPrefix(c.path, "/v1/tenants/beta") && strings.Contains(body, "acme") {
			t.Errorf("%s %s says too much: %s", c.method, c.path, body)
		}
	}

	// 19 keys so far; 15 tenants with 16 each make 259 with them.
	names := []string{"tenants/acme", "tenants/beta", "tenants/gamma"}
	for i := range 15 {
		id := "t" + string(rune('a'+i))
		f.tenant(t, id, id, "10.4.0.0/16")
		if code, body := f.rest(t, "PATCH", "/v1/tenants/"+id, many(2+i, maxPSKs)); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		names = append(names, "tenants/"+id)
	}
	code, body := f.rest(t, "PATCH", "/v1/listeners/main", `{"tenants":`+jsonOf(t, names...)+`}`)
	if code != 400 || !strings.Contains(body, "259 pre-shared keys") {
		t.Errorf("a listener with 259 keys: %d %s", code, body)
	}
	if code, body = f.rest(t, "PATCH", "/v1/listeners/main", `{"tenants":`+jsonOf(t, names[:17]...)+`}`); code != 200 {
		t.Errorf("a listener with 243 keys: %d %s", code, body)
	}
	if code, body = f.rest(t, "PATCH", "/v1/tenants/acme", many(40, 15)); code != 400 || !strings.Contains(body, "257 keys") {
		t.Errorf("a tenant that makes it 257 keys: %d %s", code, body)
	}
}
