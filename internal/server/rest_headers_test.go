package server

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Every answer, of whatever kind, has the strict headers.
func TestStrictHeaders(t *testing.T) {
	s := restOver(t, &streams{})
	for _, path := range []string{"/", "/docs", "/docs.js", "/openapi.json", "/livez", "/v1/tenants", "/nowhere", watchPath} {
		resp := askREST(t, s, false, "GET", path, "Authorization", "")
		for key, want := range map[string]string{
			"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := resp.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q", path, key, got)
			}
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		for key := range resp.Header {
			if strings.HasPrefix(key, "Access-Control-") {
				t.Errorf("%s: %s for a caller without an origin", path, key)
			}
		}
	}
}

// The pages load nothing from elsewhere, and nothing that their own policy forbids.
func TestPages(t *testing.T) {
	s := restOver(t, &streams{})
	for path, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/docs": "text/html; charset=utf-8", "/docs.js": "text/javascript; charset=utf-8",
		"/docs.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml", "/openapi.json": typeJSON,
	} {
		resp := askREST(t, s, false, "GET", path, "Authorization", "")
		b, err := io.ReadAll(resp.Body)
		must(t)(b, err)
		text := string(b)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != contentType || text == "" {
			t.Errorf("%s: %s, %q, %d octets", path, resp.Status, resp.Header.Get("Content-Type"), len(text))
		}
		if path == "/openapi.json" {
			continue
		}
		text = strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "") // the name of a language, not an address
		for _, foreign := range []string{"http://", "src=\"//", "@import", "innerHTML", "eval(", "style=\"", " onclick", "<script>", "<style>"} {
			if strings.Contains(text, foreign) {
				t.Errorf("%s has %s", path, foreign)
			}
		}
		if strings.HasSuffix(path, ".css") || strings.HasSuffix(path, ".svg") {
			continue
		}
		if strings.Contains(strings.ReplaceAll(text, "https://HOST:8443", ""), "https://") {
			t.Errorf("%s names another server", path)
		}
		again := askREST(t, s, false, "GET", path, "If-None-Match", resp.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: %s", path, again.Status)
		}
	}
	b, err := pages.ReadFile("page/index.html")
	if err != nil || !strings.Contains(string(b), `href="/docs"`) || !strings.Contains(string(b), `href="/openapi.json"`) {
		t.Errorf("the first page does not lead on: %v", err)
	}
}

// Each row is a request of a browser for a page of some origin.
func TestOrigins(t *testing.T) {
	s := restOver(t, &streams{})
	const ours, other = "https://portal.example.net", "https://evil.example"
	for _, c := range []struct {
		name, method, origin string
		header               []string
		code                 int
		allowed              bool
	}{
		{"a read by an allowed page", "GET", ours, nil, 501, true},
		{"a write by an allowed page", "POST", ours, nil, 501, true},
		{"no token, but readable why", "GET", ours, []string{"Authorization", ""}, 401, true},
		{"a read by another page", "GET", other, nil, 501, false},
		{"a write by another page", "POST", other, nil, 403, false},
		{"a write by a page of nowhere", "POST", "null", nil, 403, false},
		{"a write that the browser calls cross-site", "POST", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, false},
		{"a write by our own page", "POST", s.URL, nil, 501, false},
		{"a write by a program", "POST", "", nil, 501, false},
		{"an origin that only begins like it", "POST", ours + ".evil.example", nil, 403, false},
		{"another scheme", "POST", "http://portal.example.net", nil, 403, false},
		{"a preflight", "OPTIONS", ours, []string{"Access-Control-Request-Method", "POST", "Authorization", ""}, 204, true},
		{"a preflight for another page", "OPTIONS", other, []string{"Access-Control-Request-Method", "POST", "Authorization", ""}, 204, false},
	} {
		path := "/v1/tenants/acme/sessions"
		if c.method != "GET" {
			path += "/s1:disconnect"
		}
		header := c.header
		if c.origin != "" {
			header = append([]string{"Origin", c.origin}, header...)
		}
		resp := askREST(t, s, false, c.method, path, header...)
		if resp.StatusCode != c.code {
			t.Errorf("%s: %s, want %d", c.name, resp.Status, c.code)
		}
		want := ""
		if c.allowed {
			want = c.origin
		}
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: allowed is %q, want %q", c.name, got, want)
		}
		if !slices.Contains(resp.Header.Values("Vary"), "Origin") || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: Vary %q, credentials %q", c.name, resp.Header.Values("Vary"), resp.Header.Get("Access-Control-Allow-Credentials"))
		}
		preflight := c.method == "OPTIONS" && c.allowed
		if got := resp.Header.Get("Access-Control-Allow-Methods"); preflight != (got == "POST, OPTIONS") {
			t.Errorf("%s: methods are %q", c.name, got)
		}
		if got := resp.Header.Get("Access-Control-Allow-Headers"); preflight != strings.Contains(got, "Authorization") {
			t.Errorf("%s: headers are %q", c.name, got)
		}
	}
	for _, wrong := range []string{"*", "portal.example.net", "https://portal.example.net/", "https://Portal.example.net", "ftp://a", "null", ""} {
		if _, err := newOrigins([]string{wrong}); err == nil {
			t.Errorf("%q is taken for an origin", wrong)
		}
	}
}

func TestMethods(t *testing.T) {
	s := restOver(t, &streams{})
	for _, c := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{"OPTIONS", "/v1/tenants", 204, "GET, HEAD, POST, OPTIONS"},
		{"OPTIONS", "/v1/tenants/acme", 204, "DELETE, GET, HEAD, PATCH, OPTIONS"},
		{"OPTIONS", "/v1/tenants/acme/users/a%2Fb", 204, "DELETE, GET, HEAD, PATCH, OPTIONS"},
		{"OPTIONS", watchPath, 204, "GET, OPTIONS"},
		{"OPTIONS", "/livez", 204, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/v1/nothing", 404, ""},
		{"PUT", "/v1/tenants/acme", 405, "DELETE, GET, HEAD, PATCH, OPTIONS"},
		{"POST", watchPath, 405, "GET, OPTIONS"},
		{"HEAD", watchPath, 405, "GET, OPTIONS"},
		{"DELETE", "/v1/tenants/acme:rotatePsk", 405, "POST, OPTIONS"}, // not the tenant of that name
		{"POST", "/docs", 405, "GET, HEAD, OPTIONS"},
		{"POST", "/v1/nothing", 404, ""},
		{"HEAD", "/v1/tenants/acme/sessions/s1", 501, ""},
		{"HEAD", "/livez", 200, ""},
		{"HEAD", "/openapi.json", 200, ""},
	} {
		resp := askREST(t, s, false, c.method, c.path)
		b, err := io.ReadAll(resp.Body)
		must(t)(b, err)
		if resp.StatusCode != c.code || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %s, Allow %q", c.method, c.path, resp.Status, resp.Header.Get("Allow"))
		}
		if c.method == "HEAD" && len(b) > 0 {
			t.Errorf("%s %s has a body: %s", c.method, c.path, b)
		}
	}
}

// Every path of the API is found, and only by its own methods.
func TestPathsAreThoseOfTheProtos(t *testing.T) {
	bindings := 0
	eachBinding(func(m protoreflect.MethodDescriptor, method, template, _ string) {
		bindings++
		path := strings.ReplaceAll(pathVariable.ReplaceAllString(template, "$1"), "*", "x1")
		if !slices.Contains(methodsOf(path), method) {
			t.Errorf("%s: %s %s is not found, only %q", m.FullName(), method, path, methodsOf(path))
		}
	})
	if bindings < 100 {
		t.Errorf("%d paths", bindings)
	}
}
