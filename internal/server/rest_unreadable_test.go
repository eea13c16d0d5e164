package server

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"concentrator/api/gen"
)

// A duration or a time that is spelled otherwise is told how it is spelled here, in a body and in a query.
func TestDurationsOverREST(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"PATCH", "/v1/tenants/acme/profiles/staff", `{"echo":{"interval":"500ms"}}`, `\"500ms\" is not in seconds; write 0.5s`},
		{"PATCH", "/v1/tenants/acme/profiles/staff", `{"idleTimeout":"2h"}`, `write 7200s`},
		{"PATCH", "/v1/tenants/acme/profiles/staff", `{"idleTimeout":"soon"}`, `is not a duration in seconds such as 20s`},
		{"PATCH", "/v1/tenants/acme/users/alice", `{"expireTime":"tomorrow"}`, `\"tomorrow\" is not a time such as 2030-01-31T00:00:00Z`},
	} {
		if code, body := f.rest(t, c.method, c.path, c.body); code != 400 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s", c.body, code, body)
		}
	}
}

// What can't be read is said with the field that it is about, where the gateway tells it.
func TestUnreadableOverREST(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, c := range []struct{ body, reason, field, want string }{
		{`{"maxSesions":3}`, "INVALID_FIELD", "maxSesions", "no such field (line 1, character 2)"},
		{`{"maxSessions":"many"}`, "INVALID_FIELD", "maxSessions", `\"many\" is no whole number`},
		{`{"disabled":"yes"}`, "INVALID_FIELD", "disabled", `\"yes\" is neither true nor false`},
		{`{"maxSessions":3`, "INVALID_REQUEST", "", "can't be read: unexpected EOF"},
	} {
		code, body := f.rest(t, "PATCH", "/v1/tenants/acme/users/alice", c.body)
		if code != 400 || !strings.Contains(body, c.want) || !strings.Contains(body, `"`+c.reason+`"`) ||
			c.field != "" && !strings.Contains(body, `"field":"`+c.field+`"`) {
			t.Errorf("%s: %d %s", c.body, code, body)
		}
	}
	code, body := f.rest(t, "PATCH", "/v1/tenants/acme/profiles/staff", `{"dscp":"GOLD"}`)
	if code != 400 || !strings.Contains(body, `\"GOLD\" is not one of PIPE, UNIFORM`) {
		t.Errorf("an enum: %d %s", code, body)
	}
	for path, want := range map[string]string{
		"/v1/tenants/acme/users?pageSize=many": `"field":"pageSize","description":"\"many\" is no whole number"`,
		"/v1/tenants/-/logins?view=ALL":        `"field":"view","description":"\"ALL\" is not one of BASIC, FULL"`,
		"/v1/tenants/acme/users/alice?x=1;y=2": "can't be read",
	} {
		code, body := f.rest(t, "GET", path, "")
		if body = strings.ReplaceAll(body, `, "`, `,"`); code != 400 || !strings.Contains(body, want) { // protojson puts blanks in at random
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	// Nothing to change is nothing done, as in gRPC.
	if code, body := f.rest(t, "PATCH", "/v1/tenants/acme/users/alice", `{}`); code != 200 {
		t.Errorf("an empty PATCH: %d %s", code, body)
	}
}

// A parameter that a call does not have is an error: a mistyped validateOnly must not make the change.
func TestUnknownParametersOverREST(t *testing.T) {
	f := start(t)
	f.seed(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/v1/tenants/acme/users?userId=zed&validateonly=true", `{"password":"x"}`, 400, "there are requestId, userId, validateOnly"},
		{"GET", "/v1/tenants/acme/users/zed", "", 404, ""}, // it has not been made
		{"DELETE", "/v1/tenants/acme/users/alice?ettag=x", "", 400, "there are etag, validateOnly"},
		{"GET", "/v1/tenants/acme/users/alice", "", 200, ""},
		{"GET", "/v1/tenants/acme/users?filtr=disabled", "", 400, `"field":"filtr"`},
		{"GET", "/v1/tenants/acme/users/alice?name=tenants/x", "", 400, "this call takes none"},
		{"POST", "/v1/instances/-:drain?deadline=60s", "", 400, "all its fields in the body"},
		{"PATCH", "/v1/tenants/acme/users/alice?user.disabled=true", "{}", 400, "there are updateMask, validateOnly"},
		{"GET", "/v1/tenants/acme/users?pageSize=1&order_by=name%20desc", "", 200, ""}, // as the proto file spells it
		{"HEAD", "/v1/tenants/acme/users?pageSze=1", "", 400, ""},
	} {
		if code, body := f.rest(t, c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
}

// What the OpenAPI document calls a parameter of the URL is one.
func TestParametersOfTheDocument(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ In, Name string }
		}
	}
	if err := json.Unmarshal(gen.OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			for _, p := range op.Parameters {
				if p.In != "query" {
					continue
				}
				tried++
				r := httptest.NewRequest(strings.ToUpper(method), pathParameter.ReplaceAllString(path, "x")+"?"+p.Name+"=1", nil)
				if bindingOf(r) == nil {
					t.Errorf("%s %s: no such call", method, path)
				} else if err := checkQuery(r); err != nil {
					t.Errorf("%s %s: %v", method, path, err)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d parameters were tried", tried)
	}
}

var pathParameter = regexp.MustCompile(`\{[a-zA-Z]+\}`)
