package server

import (
	"strings"
	"testing"
	"time"
)

func TestParseSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"20s": 20 * time.Second, "0s": 0, "0.5s": 500 * time.Millisecond, "-1.5s": -1500 * time.Millisecond, "3600s": time.Hour,
	} {
		if got, err := parseSeconds(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"500ms": "write 0.5s", "2m": "write 120s", "1h30m": "write 5400s", "1m5s": "write 65s", "250us": "write 0.00025s",
		"20": "such as 20s", "": "such as 20s", "soon": "such as 20s", "s": "such as 20s",
	} {
		if _, err := parseSeconds(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

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
