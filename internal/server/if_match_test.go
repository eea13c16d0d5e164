package server

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
)

func TestIfMatchHeader(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
		ok     bool
	}{
		{nil, "", true},
		{[]string{"*"}, "", true},
		{[]string{`"1a-2b"`}, "1a-2b", true},
		{[]string{` "1a-2b" `}, "1a-2b", true},
		{[]string{`W/"1a-2b"`}, "", false},
		{[]string{`"a", "b"`}, "", false},
		{[]string{`"a"`, `"b"`}, "", false},
		{[]string{`""`}, "", false},
		{[]string{`1a-2b`}, "", false},
		{[]string{`"1a`}, "", false},
		{[]string{`1a"`}, "", false},
		{[]string{`"`}, "", false},
		{[]string{``}, "", false},
	} {
		got, err := ifMatchOf(http.Header{"If-Match": c.values})
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%q: %q, %v", c.values, got, err)
		}
	}
}

func TestIfMatch(t *testing.T) {
	f := start(t)
	f.seed(t)
	const path = "/v1/tenants/acme/users/alice"
	_, body := f.rest(t, "GET", path, "")
	etag := `"` + decodeJSON(t, body)["etag"].(string) + `"`
	for _, c := range []struct {
		name, method, path, body, match string
		code                            int
		contains                        string
	}{
		{"another etag", "PATCH", path, `{"maxSessions":1}`, `"no-such"`, 412, "ETAG_MISMATCH"},
		{"another etag for what goes", "DELETE", path, "", `"no-such"`, 412, "ETAG_MISMATCH"},
		{"another one in the body", "PATCH", path, `{"maxSessions":1,"etag":"x"}`, etag, 400, `"field":"etag"`},
		{"a weak one", "PATCH", path, `{"maxSessions":1}`, "W/" + etag, 400, `"field":"If-Match"`},
		{"for a call without an etag", "GET", path, "", etag, 400, "takes no etag"},
		{"for a create", "POST", "/v1/tenants/acme/users?userId=bob", `{"password":"x"}`, etag, 400, "takes no etag"},
		{"*", "PATCH", path, `{"maxSessions":0}`, "*", 200, ""},
		{"the etag", "PATCH", path, `{"maxSessions":1}`, etag, 200, `"maxSessions":1`},
		{"the old etag", "PATCH", path, `{"maxSessions":2}`, etag, 412, "ETAG_MISMATCH"},
	} {
		code, body := f.rest(t, c.method, c.path, c.body, "If-Match", c.match)
		if code != c.code || !strings.Contains(strings.ReplaceAll(body, `": `, `":`), c.contains) {
			t.Errorf("%s: %d %s", c.name, code, body)
		}
	}
	// Without the header a wrong etag is what it is in gRPC, 409.
	if code, body := f.rest(t, "DELETE", path+"?etag=x", ""); code != 409 {
		t.Errorf("etag in the query: %d %s", code, body)
	}
	// A gRPC caller has no headers of HTTP, whatever it sends.
	ctx := withToken(metadata.AppendToOutgoingContext(t.Context(), ifMatchHeader, "no-such"), f.token)
	_, err := concentratorv1.NewUserServiceClient(f.dialTLS(t)).UpdateUser(ctx, &concentratorv1.UpdateUserRequest{
		User: &concentratorv1.User{Name: "tenants/acme/users/alice", MaxSessions: 3},
	})
	if got := failureOf(err); err != nil && got.code != codes.OK {
		t.Errorf("over gRPC: %v", err)
	}
}

func TestEtagHeader(t *testing.T) {
	f := start(t)
	f.seed(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+"/v1/tenants/acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	_, body := f.rest(t, "GET", "/v1/tenants/acme", "")
	if got, want := resp.Header.Get("ETag"), `"`+decodeJSON(t, body)["etag"].(string)+`"`; got != want {
		t.Errorf("ETag %s, want %s", got, want)
	}
}
