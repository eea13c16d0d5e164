package telemetry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// recorded is a Tracer whose spans are kept.
func recorded(t *testing.T, s trace.Sampler) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	p := trace.NewTracerProvider(trace.WithSyncer(kept), trace.WithSampler(s))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return NewTracer(p), kept
}

// tree writes spans as "parent>name{attributes}!error", in the order of their ends.
func tree(spans tracetest.SpanStubs) (out []string) {
	names := make(map[string]string)
	for _, s := range spans {
		names[s.SpanContext.SpanID().String()] = s.Name
	}
	for _, s := range spans {
		var attrs []string
		for _, a := range s.Attributes {
			attrs = append(attrs, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
		}
		text := names[s.Parent.SpanID().String()] + ">" + s.Name + "{" + strings.Join(attrs, " ") + "}"
		if s.Status.Description != "" {
			text += "!" + s.Status.Description
		}
		for _, e := range s.Events {
			text += "*" + e.Name
		}
		out = append(out, text)
	}
	return out
}

// TestLoginTrace: a login's stages stand below it, work for it below the stage, and nothing is there after its end.
func TestLoginTrace(t *testing.T) {
	tracer, kept := recorded(t, trace.AlwaysSample())
	l := tracer.Login("x1", "PPTP", "listeners/main")
	l.Reached("CALL")
	l.Reached("AUTHENTICATION")
	ctx, decision := StartSpan(l.Within(t.Context()), SpanDecision)
	_, ask := StartSpan(ctx, SpanRadiusAccess)
	ask.Set(Server, "tenants/acme/radiusServers/one")
	ask.SetInt(Count, 2)
	ask.Fail("NO_ANSWER")
	ask.End()
	decision.End()
	l.Refused("AUTHENTICATION", "WRONG_CREDENTIALS")
	l.Reached("ADDRESS")
	l.End("tenants/acme", "ACCEPTED", "OPEN", "")
	l.Reached("OPEN")
	l.Refused("OPEN", "LATE")
	l.End("tenants/acme", "REFUSED", "OPEN", "LATE")
	want := []string{
		"login>CALL{}",
		"decision>radius access{server=tenants/acme/radiusServers/one count=2}!NO_ANSWER",
		"AUTHENTICATION>decision{}",
		"login>AUTHENTICATION{}",
		"login>ADDRESS{}",
		">login{session=x1 protocol=PPTP listener=listeners/main tenant=tenants/acme outcome=ACCEPTED stage=OPEN reason=}*refused",
	}
	if got := tree(kept.GetSpans()); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRefusedLoginTrace: a login that comes to nothing says at which stage.
func TestRefusedLoginTrace(t *testing.T) {
	tracer, kept := recorded(t, trace.AlwaysSample())
	l := tracer.Login("x2", "PPTP", "listeners/main")
	l.Reached("LCP")
	l.End("", "REFUSED", "LCP", "PEER_TIMEOUT")
	want := []string{
		"login>LCP{}!PEER_TIMEOUT",
		">login{session=x2 protocol=PPTP listener=listeners/main tenant= outcome=REFUSED stage=LCP reason=PEER_TIMEOUT}!PEER_TIMEOUT",
	}
	if got := tree(kept.GetSpans()); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNoTracingCostsNothing: neither where tracing is off, nor for a login that is not of the sample.
func TestNoTracingCostsNothing(t *testing.T) {
	none, kept := recorded(t, trace.NeverSample())
	skipped := none.Login("x3", "PPTP", "listeners/main")
	var off *Tracer
	ctx := t.Context()
	for name, l := range map[string]*Login{"off": off.Login("x", "PPTP", "l"), "not sampled": skipped} {
		if l != nil {
			t.Errorf("%s: there is a trace", name)
		}
		n := testing.AllocsPerRun(100, func() {
			l := l
			l.Reached("LCP")
			ctx, s := StartSpan(l.Within(ctx), SpanRadiusAccess)
			s.Set(Server, "one")
			s.SetInt(Count, 1)
			s.Fail("NO_ANSWER")
			s.End()
			_ = ctx
			l.Refused("LCP", "PEER_TIMEOUT")
			l.End("t", "REFUSED", "LCP", "PEER_TIMEOUT")
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if spans := kept.GetSpans(); len(spans) != 0 {
		t.Errorf("sent: %q", tree(spans))
	}
}
