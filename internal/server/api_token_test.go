package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/tenant"
)

// knocks asks something as the holder of a token, by gRPC and by REST, which must agree.
func (f *fixture) knocks(t *testing.T, token string) codes.Code {
	t.Helper()
	_, err := concentratorv1.NewUserServiceClient(f.dialTLS(t)).
		ListUsers(withToken(t.Context(), token), &concentratorv1.ListUsersRequest{Parent: "tenants/-"})
	code, body := f.rest(t, "GET", "/v1/tenants/-/users", "", "Authorization", "Bearer "+token)
	want := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401, codes.PermissionDenied: 403}[status.Code(err)]
	if code != want {
		t.Errorf("gRPC says %v, REST %d %s", err, code, body)
	}
	return status.Code(err)
}

func TestTokenLife(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	tokens := concentratorv1.NewApiTokenServiceClient(f.conn)
	for _, c := range []struct{ parent, name string }{
		{"", "apiTokens/ci"},
		{"tenants/acme", "tenants/acme/apiTokens/ci"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dry, err := tokens.CreateApiToken(t.Context(), &concentratorv1.CreateApiTokenRequest{
				Parent: c.parent, ApiTokenId: "ci", ValidateOnly: true, ApiToken: &concentratorv1.ApiToken{Role: concentratorv1.ApiToken_VIEWER},
			})
			if err != nil || dry.Token != nil {
				t.Errorf("validate_only: %v, %v", dry, err)
			}
			made, err := tokens.CreateApiToken(t.Context(), &concentratorv1.CreateApiTokenRequest{
				Parent: c.parent, ApiTokenId: "ci", ApiToken: &concentratorv1.ApiToken{
					Role: concentratorv1.ApiToken_VIEWER, DisplayName: "CI", Token: new("chosen by the caller"),
				},
			})
			must(t)(made, err)
			first := made.GetToken()
			if made.GetName() != c.name || first == "chosen by the caller" || f.knocks(t, "chosen by the caller") != codes.Unauthenticated {
				t.Fatalf("made %v", made)
			}
			if got := f.knocks(t, first); got != codes.OK {
				t.Errorf("the token: %v", got)
			}
			if got := f.knocks(t, first+"x"); got != codes.Unauthenticated {
				t.Errorf("another token: %v", got)
			}
			got, err := tokens.GetApiToken(t.Context(), &concentratorv1.GetApiTokenRequest{Name: c.name})
			if err != nil || got.Token != nil || time.Since(got.GetLastUseTime().AsTime()) > time.Minute {
				t.Errorf("get: %v, %v", got, err)
			}
			r, err := store.Get[store.APIToken](f.store, c.name)
			must(t)(r, err)
			text, err := json.Marshal(r)
			must(t)(text, err)
			if r.Hash != sha256.Sum256([]byte(first)) || bytes.Contains(text, []byte(first[10:])) {
				t.Errorf("stored is %s", text)
			}

			// The name stays, the old token goes.
			_, err = tokens.RotateApiToken(t.Context(), &concentratorv1.RotateApiTokenRequest{Name: c.name, Etag: "old"})
			if status.Code(err) != codes.Aborted || f.knocks(t, first) != codes.OK {
				t.Errorf("stale rotate: %v", err)
			}
			rotated, err := tokens.RotateApiToken(t.Context(), &concentratorv1.RotateApiTokenRequest{Name: c.name, Etag: got.GetEtag()})
			must(t)(rotated, err)
			second := rotated.GetToken()
			if second == first || rotated.GetEtag() == got.GetEtag() || rotated.GetDisplayName() != "CI" {
				t.Errorf("rotated: %v", rotated)
			}
			if a, b := f.knocks(t, first), f.knocks(t, second); a != codes.Unauthenticated || b != codes.OK {
				t.Errorf("after rotation the old one gets %v, the new one %v", a, b)
			}

			// An update does not touch what its holder sends, whatever it is asked.
			_, err = tokens.UpdateApiToken(t.Context(), &concentratorv1.UpdateApiTokenRequest{
				ApiToken:   &concentratorv1.ApiToken{Name: c.name, Role: concentratorv1.ApiToken_OPERATOR, Token: new("chosen by the caller")},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"*"}},
			})
			must(t)(nil, err)
			if a, b := f.knocks(t, "chosen by the caller"), f.knocks(t, second); a != codes.Unauthenticated || b != codes.OK {
				t.Errorf("after an update a chosen token gets %v, the right one %v", a, b)
			}
			for _, expire := range []struct {
				in   time.Duration
				want codes.Code
			}{{-time.Second, codes.Unauthenticated}, {time.Hour, codes.OK}} {
				_, err = tokens.UpdateApiToken(t.Context(), &concentratorv1.UpdateApiTokenRequest{
					ApiToken: &concentratorv1.ApiToken{Name: c.name, ExpireTime: timestamppb.New(time.Now().Add(expire.in))},
				})
				must(t)(nil, err)
				if got := f.knocks(t, second); got != expire.want {
					t.Errorf("expires in %v: %v", expire.in, got)
				}
			}

			// Another daemon over the same store knows it too.
			again := start(t, func(cfg *Config) { cfg.Store = f.store })
			if got := again.knocks(t, second); got != codes.OK {
				t.Errorf("after a restart: %v", got)
			}
			must(t)(tokens.DeleteApiToken(t.Context(), &concentratorv1.DeleteApiTokenRequest{Name: c.name}))
			if got := f.knocks(t, second); got != codes.Unauthenticated {
				t.Errorf("deleted: %v", got)
			}
			if log := f.log.String(); strings.Contains(log, first) || strings.Contains(log, second) || !strings.Contains(log, "caller="+c.name) {
				t.Error("the log shows a token, or not who called")
			}
		})
	}
}

func TestTokenFields(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	long := strings.Repeat("ab", 32)
	for _, c := range []struct{ path, body, want string }{
		{"/v1/apiTokens?apiTokenId=x", `{}`, `"role"`},
		{"/v1/apiTokens?apiTokenId=x", `{"role":"ROOT"}`, "is not one of VIEWER, OPERATOR, ADMIN"},
		{"/v1/apiTokens?apiTokenId=X", `{"role":"ADMIN"}`, "apiTokenId"},
		{"/v1/apiTokens?apiTokenId=a/b", `{"role":"ADMIN"}`, "apiTokenId"},
		{"/v1/apiTokens", `{"role":"ADMIN"}`, "apiTokenId"},
		{"/v1/tenants/none/apiTokens?apiTokenId=x", `{"role":"ADMIN"}`, "tenants/none"},
		{"/v1/tenants/-/apiTokens?apiTokenId=x", `{"role":"ADMIN"}`, "parent"},
		{"/v1/apiTokens?apiTokenId=x", `{"role":"ADMIN","certificateFingerprints":["` + long + `","ab","` + strings.ToUpper(long) + `"]}`, "certificateFingerprints[2]"},
		{"/v1/apiTokens?apiTokenId=x", `{"role":"ADMIN","certificateFingerprints":["` + long + `"]}`, long},
		{"/v1/apiTokens?apiTokenId=y", `{"role":"ADMIN","certificateFingerprints":["` + long + `"]}`, "names apiTokens/x already"},
		{"/v1/tenants/acme/apiTokens?apiTokenId=x", `{"role":"ADMIN"}`, "conc_"},
	} {
		if code, body := f.rest(t, "POST", c.path, c.body); !strings.Contains(body, c.want) || (code == 200) != (c.want == long || c.want == "conc_") {
			t.Errorf("POST %s %s: %d %s, want %s", c.path, c.body, code, body, c.want)
		}
	}
	if _, body := f.rest(t, "GET", "/v1/apiTokens/x", ""); strings.Contains(body, `"token"`) {
		t.Errorf("get: %s", body)
	}
	if code, body := f.rest(t, "PATCH", "/v1/apiTokens/x?updateMask=displayName", `{"displayName":"two"}`); code != 200 || !strings.Contains(body, "two") {
		t.Errorf("patch: %d %s", code, body)
	}
	if code, body := f.rest(t, "POST", "/v1/apiTokens/x:rotate", `{}`); code != 200 || !strings.Contains(body, "conc_") {
		t.Errorf("rotate: %d %s", code, body)
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/acme", ""); code != 400 || !strings.Contains(body, "tenants/acme/apiTokens/x") {
		t.Errorf("a tenant with tokens: %d %s", code, body)
	}
	if code, body := f.rest(t, "DELETE", "/v1/tenants/acme/apiTokens/x", ""); code != 200 {
		t.Errorf("delete: %d %s", code, body)
	}
}

// A watch lasts no longer than the right to it.
func TestWatchEndsWithTheToken(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	tokens := concentratorv1.NewApiTokenServiceClient(f.conn)
	name := "tenants/acme/apiTokens/watcher"
	for _, c := range []struct {
		what string
		end  func() error
	}{
		{"deleted", func() error {
			_, err := tokens.DeleteApiToken(t.Context(), &concentratorv1.DeleteApiTokenRequest{Name: name})
			return err
		}},
		{"rotated", func() error {
			_, err := tokens.RotateApiToken(t.Context(), &concentratorv1.RotateApiTokenRequest{Name: name})
			return err
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			stream, err := concentratorv1.NewSessionServiceClient(f.dialTLS(t)).WatchSessions(
				withToken(ctx, f.newToken(t, "tenants/acme", "watcher", tenant.RoleViewer)),
				&concentratorv1.WatchSessionsRequest{Parent: "tenants/-"})
			must(t)(stream, err)
			must(t)(stream.Recv())
			must(t)(stream.Recv()) // the end of the snapshot
			must(t)(nil, c.end())
			if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
				t.Errorf("the watch ended with %v", err)
			}
			_, _ = tokens.DeleteApiToken(t.Context(), &concentratorv1.DeleteApiTokenRequest{Name: name}) // gone already in one case
		})
	}
	t.Run("expired", func(t *testing.T) {
		made, err := tokens.CreateApiToken(t.Context(), &concentratorv1.CreateApiTokenRequest{
			Parent: "tenants/acme", ApiTokenId: "short", ApiToken: &concentratorv1.ApiToken{
				Role: concentratorv1.ApiToken_VIEWER, ExpireTime: timestamppb.New(time.Now().Add(2 * time.Second)),
			},
		})
		must(t)(made, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stream, err := concentratorv1.NewSessionServiceClient(f.dialTLS(t)).WatchSessions(
			withToken(ctx, made.GetToken()), &concentratorv1.WatchSessionsRequest{Parent: "tenants/acme"})
		must(t)(stream, err)
		must(t)(stream.Recv())
		must(t)(stream.Recv())
		if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("the watch ended with %v", err)
		}
	})
	// A change that concerns nothing of it, or another token, leaves it alone.
	k, err := loadKeyring(f.store)
	must(t)(k, err)
	r := &store.APIToken{Meta: store.Meta{Name: "apiTokens/a"}, Role: tenant.RoleViewer, Hash: store.Fingerprint{1}}
	k.set(r.Name, r)
	g := k.byName[r.Name]
	renamed := *r
	renamed.DisplayName = "new"
	k.set(r.Name, &renamed)
	if g.over() || k.byName[r.Name] != g {
		t.Error("a new display name ended the grant")
	}
	renamed.Role = tenant.RoleAdmin
	k.set(r.Name, &renamed)
	if !g.over() || k.byName[r.Name].role != tenant.RoleAdmin {
		t.Error("the grant outlived its role")
	}
}

// A certificate of our authority is worth what the API token that names it is worth, and nothing without.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	caFile, client := authority(t, dir, "ours")
	_, stranger := authority(t, dir, "other")
	f := start(t, func(c *Config) { c.TLS.ClientCA = caFile })
	f.seedBoth(t, false)
	list := func(certs ...tls.Certificate) (string, codes.Code) {
		page, err := concentratorv1.NewTenantServiceClient(f.dialTLS(t, certs...)).ListTenants(t.Context(), &concentratorv1.ListTenantsRequest{})
		return page.String(), status.Code(err)
	}
	if _, code := list(client); code != codes.Unauthenticated {
		t.Errorf("a certificate that nothing names: %v", code)
	}
	print := func(c tls.Certificate) string {
		sum := sha256.Sum256(c.Certificate[0])
		return hex.EncodeToString(sum[:])
	}
	tokens := concentratorv1.NewApiTokenServiceClient(f.conn)
	made, err := tokens.CreateApiToken(t.Context(), &concentratorv1.CreateApiTokenRequest{
		Parent: "tenants/acme", ApiTokenId: "machine", ApiToken: &concentratorv1.ApiToken{
			Role: concentratorv1.ApiToken_VIEWER, CertificateFingerprints: []string{strings.ToUpper(print(client)), print(stranger)},
		},
	})
	if err != nil || made.Token != nil {
		t.Fatalf("made %v, %v", made, err)
	}
	if page, code := list(client); code != codes.OK || !strings.Contains(page, "tenants/acme") || strings.Contains(page, "beta") {
		t.Errorf("gRPC: %v %s", code, page)
	}
	if _, err := concentratorv1.NewUserServiceClient(f.dialTLS(t, client)).DeleteUser(t.Context(), &concentratorv1.DeleteUserRequest{Name: "tenants/acme/users/alice"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a viewer deletes: %v", err)
	}
	if _, code := list(); code != codes.Unauthenticated {
		t.Errorf("gRPC without a certificate: %v", code)
	}
	if _, code := list(stranger); code != codes.Unavailable && code != codes.Unauthenticated {
		t.Errorf("gRPC with a certificate of another authority that is named: %v", code)
	}
	if err := ask(withToken(t.Context(), f.token), f.dialTLS(t)); err != nil {
		t.Errorf("gRPC with the admin token instead: %v", err)
	}
	f.http.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{client}
	if code, body := f.rest(t, "GET", "/v1/tenants", "", "Authorization", ""); code != 200 || strings.Contains(body, "beta") {
		t.Errorf("REST: %d %s", code, body)
	}
	if code, body := f.rest(t, "GET", "/v1/tenants/beta", "", "Authorization", ""); code != 404 {
		t.Errorf("REST, another's: %d %s", code, body)
	}
	if !strings.Contains(f.log.String(), "caller=tenants/acme/apiTokens/machine") {
		t.Errorf("the log does not name the caller: %s", f.log)
	}
	must(t)(tokens.DeleteApiToken(t.Context(), &concentratorv1.DeleteApiTokenRequest{Name: made.GetName()}))
	if _, code := list(client); code != codes.Unauthenticated {
		t.Errorf("a certificate whose token is gone: %v", code)
	}
	if code, _ := f.rest(t, "GET", "/v1/tenants", "", "Authorization", ""); code != 401 {
		t.Errorf("REST, whose token is gone: %d", code)
	}
}

// What a tenant's own administrator may not change of it, by field; and what it may.
func TestReservedFields(t *testing.T) {
	f := start(t)
	f.seedBoth(t, false)
	token := f.newToken(t, "tenants/acme", "admin", tenant.RoleAdmin)
	patch := func(path, body string) (int, string) {
		return f.rest(t, "PATCH", "/v1/tenants/acme"+path, body, "Authorization", "Bearer "+token)
	}
	_, ca := encodedCA(t)
	for _, c := range []struct{ path, body, denied string }{
		{"", `{"displayName":"ours"}`, ""},
		{"", `{"limits":{"duplicatePolicy":"REPLACE"}}`, ""}, // as it is
		{"", `{"limits":{"maxSessions":999}}`, "limits"},
		{"", `{"network":{"namespace":"beta"}}`, "network"},
		{"", `{"realms":["acme.example","beta.example"]}`, "realms"},
		{"", `{"suspended":true,"displayName":"x"}`, "suspended"},
		{"", `{"authentication":{"backend":"RADIUS"}}`, ""},
		{"", `{"ipsec":{"psks":[{"id":"main"},{"id":"two","secret":"long enough"}]}}`, ""},
		{"/radiusServers/one", `{"address":"192.0.2.7"}`, ""},
		{"/radiusServers/one", `{"namespace":"beta"}`, "namespace"},
		{"/radiusServers/one", `{"sourceAddress":"192.0.2.1","sourceInterface":"eth0"}`, "sourceAddress sourceInterface"},
		{"/apiTokens/sample", `{"displayName":"x","role":"OPERATOR"}`, ""},
		{"/apiTokens/sample", `{"certificateFingerprints":["` + strings.Repeat("ab", 32) + `"]}`, "certificateFingerprints"},
	} {
		code, body := patch(c.path, c.body)
		if c.denied == "" {
			if code != 200 {
				t.Errorf("PATCH %s %s: %d %s", c.path, c.body, code, body)
			}
			continue
		}
		if got := strings.Join(fieldsOfJSON(t, body), " "); code != 403 || got != c.denied || !strings.Contains(body, "PERMISSION_DENIED") {
			t.Errorf("PATCH %s %s: %d %s, want %s denied", c.path, c.body, code, body, c.denied)
		}
	}

	// On a listener with others, what tells them apart is not for the tenant to choose; what it has may stay, or go.
	must(t)(concentratorv1.NewListenerServiceClient(f.conn).UpdateListener(t.Context(), &concentratorv1.UpdateListenerRequest{
		Listener: &concentratorv1.Listener{Name: "listeners/main", Tenants: []string{"tenants/acme", "tenants/beta"}},
	}))
	for _, c := range []struct{ body, denied string }{
		{`{"ipsec":{"psks":[{"id":"main","secret":"a guess"},{"id":"two"}]}}`, "ipsec.psks[0].secret"},
		{`{"ipsec":{"psks":[{"id":"main"},{"id":"three","secret":"a guess"}]}}`, "ipsec.psks[1].secret"},
		{`{"ipsec":{"aggressiveMode":true,"groupName":"beta"}}`, "ipsec.groupName ipsec.aggressiveMode"},
		{`{"ipsec":{"caCertificates":[` + ca + `]}}`, "ipsec.caCertificates[0]"},
		{`{"ipsec":{"psks":[{"id":"main"}]}}`, ""},
		{`{"ipsec":{"legacyClients":true}}`, ""},
	} {
		code, body := patch("", c.body)
		if got := strings.Join(fieldsOfJSON(t, body), " "); got != c.denied || (code == 200) != (c.denied == "") {
			t.Errorf("PATCH %s: %d %s, want %s denied", c.body, code, body, c.denied)
		}
		if strings.Contains(body, "beta") || strings.Contains(body, "guess") {
			t.Errorf("%s says too much: %s", c.body, body)
		}
	}
}

// encodedCA is the certificate of an authority, as PEM and as a JSON string.
func encodedCA(t *testing.T) (pem, text string) {
	t.Helper()
	file, _ := authority(t, t.TempDir(), "ours")
	b, err := os.ReadFile(file)
	must(t)(b, err)
	quoted, err := json.Marshal(string(b))
	must(t)(quoted, err)
	return string(b), string(quoted)
}

// Two tenants in one namespace: that addresses overlap is said, but not whose they are and which.
func TestConflictsNameNoOther(t *testing.T) {
	f := start(t)
	f.tenant(t, "acme", "", "10.1.0.0/24")
	f.tenant(t, "beta", "", "10.2.0.0/25")
	must(t)(concentratorv1.NewProfileServiceClient(f.conn).CreateProfile(t.Context(), &concentratorv1.CreateProfileRequest{
		Parent: "tenants/beta", ProfileId: "staff", Profile: &concentratorv1.Profile{},
	}))
	token := f.newToken(t, "tenants/acme", "admin", tenant.RoleAdmin)
	call := func(method, path, body string) (int, string) {
		return f.rest(t, method, "/v1/tenants/acme"+path, body, "Authorization", "Bearer "+token)
	}
	for _, c := range []struct{ method, path, body string }{
		{"PATCH", "/pools/main", `{"ranges":["10.0.0.0/8"]}`},
		{"POST", "/pools?poolId=two", `{"ranges":["10.2.0.0/16"]}`},
		{"POST", "/users?userId=bob", `{"password":"x","staticAddress":"10.2.0.9"}`},
		{"POST", "/users?userId=bob", `{"password":"x","framedRoutes":["10.2.0.0/24"]}`},
	} {
		code, body := call(c.method, c.path, c.body)
		if code != 400 || !strings.Contains(body, "UNMET_REFERENCE") || strings.Contains(body, "beta") || strings.Contains(body, "/25") {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, body)
		}
	}
	// A reference to another tenant's resource is answered alike whether there is one.
	_, there := call("POST", "/users?userId=bob", `{"password":"x","profile":"tenants/beta/profiles/staff"}`)
	_, nowhere := call("POST", "/users?userId=bob", `{"password":"x","profile":"tenants/beta/profiles/stuff"}`)
	if there != strings.ReplaceAll(nowhere, "stuff", "staff") || !strings.Contains(there, "is not of tenants/acme") {
		t.Errorf("what exists: %s\nwhat does not: %s", there, nowhere)
	}
	// Whoever is bound to none is told all.
	if _, body := f.rest(t, "PATCH", "/v1/tenants/acme/pools/main", `{"ranges":["10.0.0.0/8"]}`); !strings.Contains(body, "tenants/beta/pools/main") {
		t.Errorf("unbound: %s", body)
	}
}
