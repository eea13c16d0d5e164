package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
)

// pageCSP is the policy of the pages: only what this server itself serves.
const pageCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// strictHeaders sets what every answer has: a browser shall show it in no frame, guess nothing, keep nothing and tell
// nobody where it was.
func strictHeaders(h http.Header, overTLS bool) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if overTLS {
		h.Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797
	}
}

// What a page of another origin may send, and read beside the body.
const (
	corsRequestHeaders  = "Authorization, Content-Type, If-Match, Last-Event-ID"
	corsResponseHeaders = "ETag, Retry-After, X-Request-Id"
	corsMaxAge          = "600" // seconds that a browser may remember the answer to a preflight
)

// origins are the web pages of other servers that may use the API from a browser (the CORS part of the Fetch Standard).
type origins struct {
	allowed []string
	guard   *http.CrossOriginProtection
}

// newOrigins takes origins as a browser spells them: scheme, host, and port unless it is the scheme's own.
func newOrigins(allowed []string) (*origins, error) {
	o := &origins{allowed, http.NewCrossOriginProtection()}
	for _, origin := range allowed {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+strings.ToLower(u.Host) != origin {
			return nil, fmt.Errorf("api.cors_origins: %q is not an origin such as https://portal.example.net", origin)
		}
		if err := o.guard.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("api.cors_origins: %w", err)
		}
	}
	return o, nil
}

// answer sets the headers that let pages of the allowed origins read the answer. It answers itself, and says so, what a
// browser asks beforehand, and a write by a page of any other origin: a browser with a client certificate would send it
// along without being asked.
func (o *origins) answer(w http.ResponseWriter, r *http.Request) bool {
	if len(o.allowed) > 0 {
		w.Header().Add("Vary", "Origin")
	}
	if err := o.guard.Check(r); err != nil {
		writeError(w, http.StatusForbidden, newStatus(codes.PermissionDenied, reasonDenied,
			"pages of other origins may not call this API, unless api.cors_origins names them", nil))
		return true
	}
	origin := r.Header.Get("Origin")
	if !slices.Contains(o.allowed, origin) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		w.Header().Set("Access-Control-Expose-Headers", corsResponseHeaders)
		return false
	}
	w.Header().Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	w.Header().Set("Access-Control-Allow-Methods", strings.Join(methodsOf(r.URL.EscapedPath()), ", "))
	w.Header().Set("Access-Control-Allow-Headers", corsRequestHeaders)
	w.Header().Set("Access-Control-Max-Age", corsMaxAge)
	w.WriteHeader(http.StatusNoContent)
	return true
}
