package server

import (
	"bytes"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/corpus"
	"concentrator/internal/tenant"
)

// FuzzParsePEM: what is read as certificates is the same when it is written anew; a key is of a kind that there is, or the
// error shows none of it.
func FuzzParsePEM(f *testing.F) {
	corpus.Add(f)
	for _, name := range []string{"ca.pem", "carol.pem"} {
		b, err := os.ReadFile("../ike/cert/testdata/openssl-3.0.19/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Add("x\n-----BEGIN PRIVATE KEY-----\nDEK-Info: a\n\nMAAA\n-----END PRIVATE KEY-----\n")
	f.Add("-----BEGIN -----BEGIN ")
	f.Fuzz(func(t *testing.T, text string) {
		if certs, err := parseCertificates(text); err == nil {
			var again strings.Builder
			for _, c := range certs {
				_ = pem.Encode(&again, &pem.Block{Type: pemCertificate, Bytes: c.Raw}) // it never fails here
			}
			twice, err := parseCertificates(again.String())
			if err != nil || len(certs) == 0 || len(twice) != len(certs) {
				t.Fatalf("%d certificates became %d, %v", len(certs), len(twice), err)
			}
			for i := range certs {
				if !bytes.Equal(certs[i].Raw, twice[i].Raw) {
					t.Errorf("certificate %d has changed", i)
				}
			}
		}
		key, err := parseKey(tenant.Secret(text))
		if err == nil {
			_, err = publicOf(key)
		}
		if err != nil && len(err.Error()) > 300+len(text) {
			t.Errorf("%d octets of error", len(err.Error()))
		}
		if _, err := parseKey(tenant.Secret("-----BEGIN " + pemKey + "-----\n" + text + "\n-----END " + pemKey + "-----\n")); err != nil {
			for _, word := range strings.Fields(text) {
				if len(word) > 24 && strings.Contains(err.Error(), word) {
					t.Errorf("%v shows what was in it", err)
				}
			}
		}
	})
}

// FuzzPageToken: a token that is taken is the one that a list of this request gives, and no other request takes it.
func FuzzPageToken(f *testing.F) {
	corpus.Add(f)
	ask := func(parent, token string) (*listing, error) {
		r := &concentratorv1.ListUsersRequest{Parent: parent, PageToken: token}
		return newListing(r, (&concentratorv1.User{}).ProtoReflect().Descriptor())
	}
	l, err := ask("tenants/acme", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(l.token("tenants/acme/users/alice"), "x")
	f.Add(l.token(""), "")
	f.Add("AgAAAAAAAAAAeA", "\xff")
	f.Fuzz(func(t *testing.T, token, place string) {
		if at, err := ask("tenants/acme", token); err == nil && at.after != "" {
			if again, err := ask("tenants/acme", at.token(at.after)); err != nil || again.after != at.after {
				t.Errorf("%q is behind %q, which is behind %q, %v", token, at.after, again.after, err)
			}
			if _, err := ask("tenants/other", token); err == nil {
				t.Error("another list takes it")
			}
		}
		if place == "" {
			return
		}
		if at, err := ask("tenants/acme", l.token(place)); err != nil || at.after != place || !slices.Equal(at.hash, l.hash) {
			t.Errorf("%q became %q, %v", place, at.after, err)
		}
	})
}
