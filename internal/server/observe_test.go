package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/telemetry"
)

// apiSamples are the values of the API's metrics.
func apiSamples(t *testing.T, m *telemetry.Metrics) map[string]float64 {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "concentrator_api_") {
			continue
		}
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "concentrator_api_") + " " + strings.Join(labels, " ")
			all[name] = s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// TestCallsAreCounted: each call once, by the status that its caller sees, REST's too; streams while they are open; methods
// that there are not have no place.
func TestCallsAreCounted(t *testing.T) {
	m := telemetry.NewMetrics()
	f := start(t, func(c *Config) { c.Metrics = m })
	const get, watch = "/concentrator.v1.TenantService/GetTenant", "/concentrator.v1.SessionService/WatchSessions"
	tenants := concentratorv1.NewTenantServiceClient(f.conn)
	_, _ = tenants.GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "tenants/none"})
	if code, body := f.rest(t, http.MethodGet, "/v1/tenants/none", ""); code != http.StatusNotFound {
		t.Fatalf("%d %s", code, body)
	}
	_, _ = tenants.GetTenant(t.Context(), &concentratorv1.GetTenantRequest{Name: "no name"})
	if code, body := f.rest(t, http.MethodGet, "/v1/tenants/none", "", "Authorization", "Bearer guessed"); code != http.StatusUnauthorized {
		t.Fatalf("%d %s", code, body)
	}
	if err := f.conn.Invoke(t.Context(), "/concentrator.v1.TenantService/Guess", &concentratorv1.GetTenantRequest{}, &concentratorv1.Tenant{}); err == nil {
		t.Error("a method that is not served was answered")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := concentratorv1.NewSessionServiceClient(f.conn).WatchSessions(ctx, &concentratorv1.WatchSessionsRequest{Parent: "tenants/-"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	got := apiSamples(t, m)
	for name, want := range map[string]float64{
		"calls_total NotFound " + get: 2, "calls_total InvalidArgument " + get: 1, "call_duration_seconds " + get: 3, "streams " + watch: 1,
		"calls_total Unauthenticated ": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for name := range got {
		if strings.Contains(name, "Guess") || strings.HasPrefix(name, "call_duration_seconds "+watch) {
			t.Errorf("there is %s", name)
		}
	}
	cancel()
	deadline := time.Now().Add(5 * time.Second)
	for got = apiSamples(t, m); got["streams "+watch] != 0 || got["calls_total Canceled "+watch] != 1; got = apiSamples(t, m) {
		if time.Now().After(deadline) {
			t.Fatalf("the stream that has ended: %v", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestCallsAreTraced: a span for each call of a method of ours, in a trace that is ours and not the caller's; it tells neither
// tokens nor who a resource is about. Without a Tracer there is nothing.
func TestCallsAreTraced(t *testing.T) {
	kept := tracetest.NewInMemoryExporter()
	p := trace.NewTracerProvider(trace.WithSyncer(kept), trace.WithSampler(trace.ParentBased(trace.AlwaysSample())))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	f := start(t, func(c *Config) { c.Tracer = telemetry.NewTracer(p) })
	kept.Reset()
	const foreign = "0af7651916cd43dd8448eb211c80319c"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+foreign+"-b7ad6b7169203331-00")
	_, _ = concentratorv1.NewUserServiceClient(f.conn).GetUser(ctx, &concentratorv1.GetUserRequest{Name: "tenants/acme/users/hidden-alice"})
	must(t)(grpc_health_v1.NewHealthClient(f.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}))
	f.rest(t, http.MethodGet, "/v1/tenants", "")
	want := []string{"concentrator.v1.UserService/GetUser", "concentrator.v1.TenantService/ListTenants"}
	var names []string
	deadline := time.Now().Add(5 * time.Second)
	for !slices.Equal(names, want) { // a span ends a moment after its call
		if time.Now().After(deadline) {
			t.Fatalf("spans %q, want %q", names, want)
		}
		time.Sleep(5 * time.Millisecond)
		names = nil
		for _, s := range kept.GetSpans() {
			names = append(names, s.Name)
		}
	}
	for _, s := range kept.GetSpans() {
		text := fmt.Sprint(s.Attributes, s.Events, s.Status)
		if s.SpanContext.TraceID().String() == foreign || s.Parent.IsValid() {
			t.Errorf("%s is a part of the caller's trace", s.Name)
		}
		for _, secret := range []string{f.token, "hidden-alice"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %s: %s", s.Name, secret, text)
			}
		}
	}
	if links := kept.GetSpans()[0].Links; len(links) != 1 || links[0].SpanContext.TraceID().String() != foreign {
		t.Errorf("the caller's trace is not linked to: %v", links)
	}
}

// TestUntracedServerHasNoHandler: tracing that is off costs no call anything.
func TestUntracedServerHasNoHandler(t *testing.T) {
	if opts := traced(nil); len(opts) != 0 {
		t.Errorf("%d options of gRPC", len(opts))
	}
}
