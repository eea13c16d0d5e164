package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/session"
	"concentrator/internal/store"
)

func TestToStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		code   codes.Code
		reason string
		hidden bool
	}{
		{"wrapped sentinel", fmt.Errorf("create x: %w", store.ErrExists), codes.AlreadyExists, "RESOURCE_EXISTS", false},
		{"stale etag", store.ErrConflict, codes.Aborted, "ETAG_MISMATCH", false},
		{"no session", session.ErrNotFound, codes.NotFound, "RESOURCE_NOT_FOUND", false},
		{"old watch token", fmt.Errorf("x: %w", session.ErrExpired), codes.OutOfRange, "RESOURCE_EXPIRED", false},
		{"store closed", store.ErrClosed, codes.Unavailable, "SHUTTING_DOWN", false},
		{"disk full", fmt.Errorf("create it: %w: %w", store.ErrNotWritten, syscall.ENOSPC), codes.Unavailable, "STATE_NOT_WRITTEN", false},
		{"caller gone", context.Canceled, codes.Canceled, "CANCELED", false},
		{"status", status.Error(codes.DataLoss, "as it is"), codes.DataLoss, "", false},
		{"unknown", errors.New("open /var/lib/secret: no such file"), codes.Internal, "INTERNAL", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, hidden := toStatus(&resourceError{"tenants/acme", c.err}, "r-1")
			got := failureOf(st.Err())
			if got.code != c.code || got.reason != c.reason || hidden != c.hidden {
				t.Errorf("got %v %q hidden %v, want %v %q %v", got.code, got.reason, hidden, c.code, c.reason, c.hidden)
			}
			if hidden && (strings.Contains(st.Message(), "secret") || !strings.Contains(st.Message(), "r-1")) {
				t.Errorf("message %q shows what it must not, or not the request", st.Message())
			}
			for _, d := range st.Details() {
				if i, ok := d.(*errdetails.ErrorInfo); ok && i.GetMetadata()["resource"] != "tenants/acme" {
					t.Errorf("metadata %v does not name the resource", i.GetMetadata())
				}
			}
		})
	}
}

func TestFieldErrors(t *testing.T) {
	var bad fieldErrors
	if bad.err() != nil {
		t.Error("an error of nothing")
	}
	bad.add("mtu", "is %d", 1)
	if got, want := failureOf(bad.err()), (failure{codes.InvalidArgument, "INVALID_FIELD", []string{"mtu"}}); !got.equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	bad.addUnmet("pool", "is not there")
	if got, want := failureOf(bad.err()), (failure{codes.FailedPrecondition, "UNMET_REFERENCE", []string{"mtu", "pool"}}); !got.equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want := "mtu: is 1; pool: is not there"; status.Convert(bad.err()).Message() != want {
		t.Errorf("message %q, want %q", status.Convert(bad.err()).Message(), want)
	}
}

// A panic costs its own call only, tells the caller nothing, and is in the log under the ID that the caller got.
func TestPanicIsHidden(t *testing.T) {
	f := start(t)
	f.live.panics = true
	sessions := concentratorv1.NewSessionServiceClient(f.conn)
	_, err := sessions.ListSessions(t.Context(), &concentratorv1.ListSessionsRequest{Parent: "tenants/-"})
	st := status.Convert(err)
	if st.Code() != codes.Internal || strings.Contains(st.String(), "secret state") {
		t.Fatalf("got %v", st)
	}
	id := st.Message()[strings.LastIndex(st.Message(), " ")+1:]
	if log := f.log.String(); !strings.Contains(log, "secret state of the program") || !strings.Contains(log, "request="+id) {
		t.Errorf("log has not both the panic and request %s:\n%s", id, log)
	}
	f.live.mu.Lock()
	f.live.panics = false
	f.live.mu.Unlock()
	must(t)(sessions.ListSessions(t.Context(), &concentratorv1.ListSessionsRequest{Parent: "tenants/-"}))
}

// REST callers get the ID too.
func TestRequestIDOverREST(t *testing.T) {
	f := start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.RESTAddr().String()+"/v1/tenants/none", nil)
	must(t)(req, err)
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := f.http.Do(req)
	must(t)(resp, err)
	defer resp.Body.Close()
	if id := resp.Header.Get("X-Request-Id"); len(id) != 16 || !strings.Contains(f.log.String(), "request="+id) {
		t.Errorf("ID %q is not in the log", id)
	}
}

// Writes are logged with who did what to which resource; reads only at debug level.
func TestCallsAreLogged(t *testing.T) {
	f := start(t)
	f.seed(t)
	must(t)(concentratorv1.NewTenantServiceClient(f.conn).GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/acme"}))
	must(t)(concentratorv1.NewListenerServiceClient(f.conn).DeleteListener(t.Context(), &concentratorv1.DeleteListenerRequest{Name: "listeners/main", ValidateOnly: true}))
	for _, want := range []string{
		`level=INFO msg="api call" method=/concentrator.v1.UserService/CreateUser resource=tenants/acme/users/alice caller=system`,
		`level=DEBUG msg="api call" method=/concentrator.v1.TenantService/GetTenant resource=tenants/acme caller=system`,
		`level=DEBUG msg="api call" method=/concentrator.v1.ListenerService/DeleteListener resource=listeners/main caller=system`,
	} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, f.log)
		}
	}
}
