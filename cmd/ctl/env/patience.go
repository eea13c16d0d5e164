package env

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// maxPatience is how long one call waits in all because the API says that there are too many, as when an apply makes a thousand
// users.
const maxPatience = 30 * time.Second

// patient makes a call again when the API did not do it because there were too many, after the time that it asks for.
func patient(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	for begin := time.Now(); ; {
		err := invoke(ctx, method, req, reply, conn, opts...)
		wait, limited := retryDelay(err)
		if !limited || time.Since(begin)+wait > maxPatience {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// retryDelay says when a call that was one too many may be made again.
func retryDelay(err error) (wait time.Duration, limited bool) {
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			limited = d.GetReason() == "RATE_LIMITED"
		case *errdetails.RetryInfo:
			wait = d.GetRetryDelay().AsDuration()
		}
	}
	return max(wait, 10*time.Millisecond), limited
}
