package server

import (
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"concentrator/internal/telemetry"
)

// traced makes a span of each call of a method of ours; nothing where tracing is off. What the caller sends of a trace of
// its own is linked to and not believed: the sampling is ours.
func traced(t *telemetry.Tracer) []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.Provider()),
		otelgrpc.WithPropagators(t.Propagator()),
		otelgrpc.WithPublicEndpoint(),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool {
			return strings.HasPrefix(i.FullMethodName, "/concentrator.v1.")
		}),
	))}
}
