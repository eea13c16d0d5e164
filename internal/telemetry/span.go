package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name under which our own spans are sent.
const scope = "concentrator"

// Names of spans. Those of a login's stages are the stages' own words, those of API calls the methods'.
const (
	SpanLogin            = "login"             // from a call until its session is open, or is refused for good
	SpanDecision         = "decision"          // who the user is and what becomes of the login; blocks
	SpanRadiusAccess     = "radius access"     // one RADIUS server that is asked about a login
	SpanRadiusAccounting = "radius accounting" // one that is told an accounting record
)

// Tracer makes spans. A nil Tracer is that of tracing that is off: its methods do nothing, and cost nothing. It is safe for
// concurrent use.
//
// Attributes of spans have log keys. They are never user names or secrets: who may see traces need not see those.
type Tracer struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
}

// NewTracer makes a Tracer that hands its spans to p; package tracing makes one that sends them.
func NewTracer(p trace.TracerProvider) *Tracer { return &Tracer{provider: p, tracer: p.Tracer(scope)} }

// Provider is for instrumentation of libraries. t must not be nil.
func (t *Tracer) Provider() trace.TracerProvider { return t.provider }

// Propagator reads the trace of a caller: W3C Trace Context.
func (t *Tracer) Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Span is one piece of work in a trace. A nil Span is that of work which is not traced: its methods do nothing.
type Span struct{ span trace.Span }

// StartSpan begins a span below that of ctx, for work that is a part of something traced; nil where ctx has none that is
// recorded. The returned context is that of the new span. End must be called.
func StartSpan(ctx context.Context, name string) (context.Context, *Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nil
	}
	ctx, s := parent.TracerProvider().Tracer(scope).Start(ctx, name)
	return ctx, &Span{s}
}

// Set says something about the work. The key is a log key.
func (s *Span) Set(key, value string) {
	if s != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// SetInt is Set for a number.
func (s *Span) SetInt(key string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Fail says that the work did not come to what it should, in the words of the API.
func (s *Span) Fail(reason string) {
	if s != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span; after it nothing more is taken.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
