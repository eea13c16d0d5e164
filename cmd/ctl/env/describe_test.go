package env

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// TestDescribe: each error says what went wrong and, where something can be done, what.
func TestDescribe(t *testing.T) {
	with := func(code codes.Code, text string, details ...protoadapt.MessageV1) error {
		st, err := status.New(code, text).WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	reason := func(reason, resource string) *errdetails.ErrorInfo {
		return &errdetails.ErrorInfo{Reason: reason, Metadata: map[string]string{"resource": resource}}
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "plain"},
		{with(codes.NotFound, "no such server", reason("RESOURCE_NOT_FOUND", "tenants/acme/radiusServers/one")), "no such server (ctl radius-server list shows what there is)"},
		{with(codes.NotFound, "no such thing", reason("RESOURCE_NOT_FOUND", "")), "no such thing"},
		{with(codes.AlreadyExists, "there", reason("RESOURCE_EXISTS", "apiTokens/x")), "there (ctl api-token update changes it)"},
		{with(codes.NotFound, "gone", reason("RESOURCE_NOT_FOUND", "auditEvents/1")), "gone (ctl audit list shows what there is; what is a tenant's needs --tenant)"},
		{with(codes.Aborted, "changed", reason("ETAG_MISMATCH", "")), "changed (somebody else changed it meanwhile: look at it again, then repeat)"},
		{
			with(codes.ResourceExhausted, "too fast", reason("RATE_LIMITED", ""), &errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)}),
			"too fast (make fewer calls: try again in 3s)",
		},
		{with(codes.ResourceExhausted, "too fast", reason("RATE_LIMITED", "")), "too fast (make fewer calls)"},
		{
			with(codes.InvalidArgument, "bad", reason("INVALID_FIELD", ""), &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "limits.maxSessions", Description: "is negative"}, {Field: "realms[0]", Description: "is empty"},
			}}),
			"limits.maxSessions: is negative; realms[0]: is empty",
		},
		{fmt.Errorf("tenants/acme/users/x: %w", with(codes.NotFound, "not found")), "tenants/acme/users/x: not found"},
		{with(codes.Unavailable, "refused"), "refused (is the daemon running, and is --socket or --addr right?)"},
		{
			with(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`),
			"no connection: dial tcp 127.0.0.1:1: connect: connection refused (is the daemon running, and is --socket or --addr right?)",
		},
		{
			with(codes.Unimplemented, "unexpected HTTP status code received from server: 404 (Not Found)\ndata: page"),
			"unexpected HTTP status code received from server: 404 (Not Found) (--addr is the API's gRPC port, api.grpc in the daemon's file, " +
				"9443 if it says nothing; this is another)",
		},
		{with(codes.Unimplemented, "unknown method"), "unknown method (the daemon is older than this ctl)"},
		{with(codes.Unauthenticated, "who?"), "who? (give --token, or --cert; one that is given may be mistyped, expired, rotated or deleted; on the daemon's machine root needs neither over its socket)"},
	} {
		if got := Describe(c.err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
