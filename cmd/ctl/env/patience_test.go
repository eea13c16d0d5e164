package env

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// limited is the API's answer to one call too many.
func limited(t *testing.T, reason string, wait time.Duration) error {
	t.Helper()
	st, err := status.New(codes.ResourceExhausted, "too often").WithDetails(
		&errdetails.ErrorInfo{Reason: reason}, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    func(*testing.T) error
		refuse int // calls that get err
		calls  int
		took   time.Duration
		code   codes.Code
	}{
		{"done at once", func(*testing.T) error { return nil }, 0, 1, 0, codes.OK},
		{"three too many", func(t *testing.T) error { return limited(t, "RATE_LIMITED", time.Second) }, 3, 4, 3 * time.Second, codes.OK},
		{"for ever", func(t *testing.T) error { return limited(t, "RATE_LIMITED", 7*time.Second) }, 99, 5, 28 * time.Second, codes.ResourceExhausted},
		{"of another thing", func(t *testing.T) error { return limited(t, "QUOTA", time.Second) }, 99, 1, 0, codes.ResourceExhausted},
		{"other errors", func(*testing.T) error { return status.Error(codes.NotFound, "no") }, 99, 1, 0, codes.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, calls := time.Now(), 0
				err := patient(t.Context(), "m", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
					if calls++; calls <= c.refuse {
						return c.err(t)
					}
					return nil
				})
				if took := time.Since(begin); status.Code(err) != c.code || calls != c.calls || took != c.took {
					t.Errorf("%v after %d calls in %v, want %v after %d in %v", err, calls, took, c.code, c.calls, c.took)
				}
			})
		})
	}
}
