package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Login is the trace of one login: a span for all of it, and below that one for each stage that it comes through. A nil
// Login is that of a login which is not traced: its methods do nothing. It belongs to one goroutine.
type Login struct {
	tracer trace.Tracer
	ctx    context.Context //nolint:containedctx // of the root span: what later stages stand below
	root   trace.Span
	stage  trace.Span
}

// Login begins the trace of a call. nil: tracing is off, or this one is not of the sample.
func (t *Tracer) Login(session, protocol, listener string) *Login {
	if t == nil {
		return nil
	}
	ctx, root := t.tracer.Start(context.Background(), SpanLogin, trace.WithSpanKind(trace.SpanKindServer))
	if !root.IsRecording() {
		return nil
	}
	root.SetAttributes(
		attribute.String(Session, session), attribute.String(Protocol, protocol), attribute.String(Listener, listener))
	return &Login{tracer: t.tracer, ctx: ctx, root: root}
}

// Reached ends the stage before and begins another.
func (l *Login) Reached(stage string) {
	if l == nil || l.root == nil {
		return
	}
	l.endStage("")
	_, l.stage = l.tracer.Start(l.ctx, stage)
}

// Within is ctx for work that the stage waits for.
func (l *Login) Within(ctx context.Context) context.Context {
	if l == nil || l.stage == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, l.stage)
}

// Refused notes that an attempt was refused; the login goes on, if its client tries again.
func (l *Login) Refused(stage, reason string) {
	if l == nil || l.root == nil {
		return
	}
	l.root.AddEvent("refused", trace.WithAttributes(attribute.String(Stage, stage), attribute.String(Reason, reason)))
}

// End ends the trace: with an empty reason the session is open, otherwise it will never be. Later calls do nothing.
func (l *Login) End(tenant, outcome, stage, reason string) {
	if l == nil || l.root == nil {
		return
	}
	l.endStage(reason)
	l.root.SetAttributes(attribute.String(Tenant, tenant), attribute.String(Outcome, outcome),
		attribute.String(Stage, stage), attribute.String(Reason, reason))
	if reason != "" {
		l.root.SetStatus(codes.Error, reason)
	}
	l.root.End()
	l.root = nil
}

func (l *Login) endStage(failed string) {
	if l.stage == nil {
		return
	}
	if failed != "" {
		l.stage.SetStatus(codes.Error, failed)
	}
	l.stage.End()
	l.stage = nil
}
