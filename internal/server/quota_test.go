package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/tenant"
)

func TestQuotas(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	q := newQuotas(10)
	q.now = func() time.Time { return now }
	calls := func(name string, n int) (let int) {
		for range n {
			if q.take(caller{name: name}) == nil {
				let++
			}
		}
		return let
	}
	if got := calls("a", 50); got != 20 {
		t.Errorf("%d calls at once, want 20", got)
	}
	if got := calls("b", 50); got != 20 {
		t.Errorf("another caller: %d calls at once, want 20", got)
	}
	for _, name := range []string{callerRoot, callerSystem} {
		if got := calls(name, 500); got != 500 {
			t.Errorf("%s: %d calls of 500", name, got)
		}
	}
	err := q.take(caller{name: "a"})
	got := failureOf(err)
	var wait time.Duration
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			wait = info.GetRetryDelay().AsDuration()
		}
	}
	if got.code != codes.ResourceExhausted || got.reason != "RATE_LIMITED" || wait != 100*time.Millisecond {
		t.Errorf("%v, come back after %v", err, wait)
	}
	now = now.Add(wait)
	if got := calls("a", 5); got != 1 {
		t.Errorf("after the wait: %d calls, want 1", got)
	}
	now = now.Add(time.Second)
	if got := calls("a", 50); got != 10 {
		t.Errorf("after a second: %d calls, want 10", got)
	}
	if got := newQuotas(0); got.limit != defaultRequestRate {
		t.Errorf("default %v", got.limit)
	}
}

// However many callers there are, what is remembered of them is bounded; who is forgotten gains nothing by it.
func TestQuotasAreBounded(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	q := newQuotas(10)
	q.now = func() time.Time { return now }
	for range 20 {
		_ = q.take(caller{name: "busy"})
	}
	for i := range maxQuotas + 50 {
		_ = q.take(caller{name: fmt.Sprint("c", i)})
	}
	if len(q.byCaller) != maxQuotas {
		t.Errorf("%d callers, want %d", len(q.byCaller), maxQuotas)
	}
	now = now.Add(150 * time.Millisecond) // all but one have all their calls again
	if err := q.take(caller{name: "new"}); err != nil || len(q.byCaller) > 10 {
		t.Errorf("%v, %d callers", err, len(q.byCaller))
	}
	if q.byCaller["busy"] == nil {
		t.Error("the busy caller was forgotten")
	}
}

func TestRateLimit(t *testing.T) {
	f := start(t, func(c *Config) { c.RequestsPerSecond = 1 })
	f.seed(t) // by the daemon itself, which is not counted
	token := f.newToken(t, "", "robot", tenant.RoleViewer)
	get := func() (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+"/v1/tenants", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := f.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := make([]byte, 4096)
		n, _ := resp.Body.Read(body)
		return resp.StatusCode, resp.Header.Get("Retry-After"), string(body[:n])
	}
	for range 2 {
		if code, _, body := get(); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
	}
	if code, after, body := get(); code != 429 || after != "1" || !strings.Contains(body, "RATE_LIMITED") {
		t.Errorf("%d, Retry-After %q, %s", code, after, body)
	}
	// The same caller by gRPC has the same quota, another one has its own.
	conn := f.dialTLS(t)
	list := func(token string) codes.Code {
		_, err := concentratorv1.NewTenantServiceClient(conn).ListTenants(withToken(t.Context(), token), &concentratorv1.ListTenantsRequest{})
		return status.Code(err)
	}
	if code := list(token); code != codes.ResourceExhausted {
		t.Errorf("by gRPC: %v", code)
	}
	if code := list(f.token); code != codes.OK {
		t.Errorf("another caller: %v", code)
	}
}
