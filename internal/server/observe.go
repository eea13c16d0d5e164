package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"concentrator/internal/telemetry"
)

// observer counts calls. It stands before the interceptor, so that it sees what callers see; REST's calls pass it too. gRPC
// answers methods that are not served without asking it, so that the methods it counts have a bound.
type observer struct{ metrics *telemetry.Metrics }

// stranger counts a request of REST whose caller is not known: it comes to no method.
func (o observer) stranger() {
	if o.metrics != nil {
		o.metrics.APIUnrouted(codes.Unauthenticated.String())
	}
}

func (o observer) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := next(ctx, req)
	o.metrics.APICall(info.FullMethod, status.Code(err).String(), time.Since(start))
	return resp, err
}

func (o observer) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ended := o.metrics.APIStream(info.FullMethod)
	err := next(srv, s)
	ended(status.Code(err).String())
	return err
}
