package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"concentrator/internal/telemetry"
)

// Bounds of what waits to be sent, and of one span.
const (
	queueSpans    = 4096
	batchSpans    = 512
	sendEvery     = 2 * time.Second
	sendTimeout   = 10 * time.Second
	maxAttributes = 32
	maxEvents     = 32
	maxLinks      = 4
	maxValue      = 512 // octets of an attribute
)

// warnEvery is how often it is logged that spans can't be sent.
const warnEvery = time.Minute

// Config says where traces go.
type Config struct {
	Endpoint    string  // host:port of OTLP/gRPC
	Insecure    bool    // without TLS
	SampleRatio float64 // share of traces that are made, 0 to 1
	Instance    string  // who sends
	Version     string
	Log         *slog.Logger
}

// Sender is a Tracer whose spans are sent. It is safe for concurrent use.
type Sender struct {
	*telemetry.Tracer
	provider *trace.TracerProvider
}

// Start makes a Sender. It does not wait for the collector: it is dialled behind its back, again and again. The environment
// variables of OpenTelemetry's exporters hold for what c does not say, as headers and certificates.
func Start(c Config) (*Sender, error) {
	opts := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(c.Endpoint), otlptracegrpc.WithTimeout(sendTimeout)}
	if c.Insecure {
		opts = append(opts, otlptracegrpc.WithInsecure())
	}
	exporter, err := otlptracegrpc.New(context.Background(), opts...) // dials later, so there is nothing to wait for
	if err != nil {
		return nil, fmt.Errorf("tracing to %s: %w", c.Endpoint, err)
	}
	otel.SetErrorHandler(&warner{log: c.Log})
	limits := trace.NewSpanLimits()
	limits.AttributeCountLimit, limits.AttributeValueLengthLimit = maxAttributes, maxValue
	limits.EventCountLimit, limits.LinkCountLimit = maxEvents, maxLinks
	p := trace.NewTracerProvider(
		trace.WithBatcher(exporter, trace.WithMaxQueueSize(queueSpans), trace.WithMaxExportBatchSize(batchSpans),
			trace.WithBatchTimeout(sendEvery), trace.WithExportTimeout(sendTimeout)),
		trace.WithRawSpanLimits(limits),
		trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(c.SampleRatio))),
		trace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "concentrator"),
			attribute.String("service.instance.id", c.Instance),
			attribute.String("service.version", c.Version),
		)),
	)
	return &Sender{Tracer: telemetry.NewTracer(p), provider: p}, nil
}

// Close sends what waits, within ctx, and ends the sender. A collector that does not answer is no error of ours to report at
// the end: it was logged before.
func (s *Sender) Close(ctx context.Context) {
	if err := s.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// warner logs what OpenTelemetry can't do, once a minute.
type warner struct {
	log *slog.Logger

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (w *warner) Handle(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.last) >= warnEvery {
		w.last = now
		w.log.Warn("traces can't be sent", telemetry.Error, err)
	}
}
