package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	simppp "concentrator/internal/simclient/ppp"
	"concentrator/internal/telemetry"
)

// traced has the world's log-ins traced.
func (w *world) traced() *tracetest.InMemoryExporter {
	kept := tracetest.NewInMemoryExporter()
	p := trace.NewTracerProvider(trace.WithSyncer(kept))
	w.t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	w.m.cfg.Tracer = telemetry.NewTracer(p)
	return kept
}

// traceOf writes a trace as "parent>span!error", sorted by the time of the begin, and all attributes that it has.
func traceLines(spans tracetest.SpanStubs) (lines []string, attributes string) {
	spans = slices.Clone(spans)
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	names := make(map[string]string)
	for _, s := range spans {
		names[s.SpanContext.SpanID().String()] = s.Name
	}
	for _, s := range spans {
		line := names[s.Parent.SpanID().String()] + ">" + s.Name
		if s.Status.Description != "" {
			line += "!" + s.Status.Description
		}
		lines = append(lines, line)
		for _, a := range s.Attributes {
			attributes += fmt.Sprintf("%s: %s=%s\n", s.Name, a.Key, a.Value.String())
		}
	}
	return lines, attributes
}

// TestLoginIsTraced: one trace for a login, with its stages, the decision and the RADIUS servers that were asked below them,
// the one that does not answer too. Nothing in it says who the user is.
func TestLoginIsTraced(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadius(w, func(*radiusQuery) []byte { return nil })
		startRadiusAs(w, "two", 1, func(q *radiusQuery) []byte { return acceptMSCHAP(q) })
		kept := w.traced()
		w.start()
		cl := w.login(simppp.Pppd("radia", password))
		w.until("the trace is there", func() bool {
			return slices.ContainsFunc(kept.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name == telemetry.SpanLogin })
		})
		got, attributes := traceLines(kept.GetSpans())
		want := []string{
			">login", "login>CALL", "login>LCP", "login>AUTHENTICATION", "AUTHENTICATION>decision",
			"decision>radius access!NO_ANSWER", "decision>radius access", "login>CCP", "login>ADDRESS",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, w := range []string{
			"radius access: server=" + acme + "/radiusServers/one", "radius access: server=" + acme + "/radiusServers/two",
			"radius access: code=Access-Accept", "login: tenant=" + acme, "login: outcome=ACCEPTED", "decision: method=MSCHAPV2",
		} {
			if !strings.Contains(attributes, w+"\n") {
				t.Errorf("the trace lacks %s:\n%s", w, attributes)
			}
		}
		for _, secret := range []string{"radia", password, radiusSecret} {
			if strings.Contains(strings.ReplaceAll(attributes, "radiusServers", ""), secret) {
				t.Errorf("the trace tells %s:\n%s", secret, attributes)
			}
		}
		n := len(kept.GetSpans())
		cl.hangUp()
		w.until("the session is gone", func() bool { return w.m.slots.slots() == 0 })
		if now := kept.GetSpans(); len(now) != n {
			t.Errorf("after the login: %d spans more", len(now)-n)
		}
	})
}

// TestRefusedLoginIsTraced: a login that is refused, and one that the client gives up, say why and where.
func TestRefusedLoginIsTraced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ready()
		kept := w.traced()
		w.wantRefused(w.dial(simppp.Pppd(alice, "wrong")))
		got, _ := traceLines(kept.GetSpans())
		for _, want := range []string{"AUTHENTICATION>decision!WRONG_CREDENTIALS", "login>AUTHENTICATION!WRONG_CREDENTIALS", ">login!WRONG_CREDENTIALS"} {
			if !slices.Contains(got, want) {
				t.Errorf("the trace lacks %s:\n%s", want, strings.Join(got, "\n"))
			}
		}
	})
}

// TestMeasured: what a login costs is counted: of RADIUS, of the login as a whole, of its pool.
func TestMeasured(t *testing.T) {
	inReality(t, func(t *testing.T, w *world) {
		w.furnish()
		startRadius(w, func(q *radiusQuery) []byte {
			time.Sleep(30 * time.Millisecond)
			return acceptMSCHAP(q)
		})
		w.start()
		cl := w.login(simppp.Pppd(alice, password))
		for _, want := range []string{
			`concentrator_radius_request_duration_seconds{server=one,tenant=tenants/acme} 1 over `,
			`concentrator_login_duration_seconds{protocol=PPTP} 1 over `,
			`concentrator_pool_leased_addresses{pool=main,tenant=tenants/acme} 1`,
			`concentrator_session_slots{} 1`,
			`concentrator_max_sessions{} 100`,
			`concentrator_draining{} 0`,
		} {
			all := w.samples()
			if !slices.ContainsFunc(all, func(line string) bool {
				over, found := strings.CutPrefix(line, want)
				if !strings.HasSuffix(want, " ") {
					return found && over == ""
				}
				seconds, err := strconv.ParseFloat(over, 64)
				return err == nil && seconds >= 0.025 // the server has slept for longer, and a machine may be slow
			}) {
				t.Errorf("no %s in\n%s", want, strings.Join(all, "\n"))
			}
		}
		cl.hangUp()
		w.until("the address is free", func() bool {
			return slices.Contains(w.samples(), `concentrator_pool_leased_addresses{pool=main,tenant=tenants/acme} 0`)
		})
	})
}

// samples are the values of all metrics; of a histogram how many there were, and the largest bound that all were over.
func (w *world) samples() (all []string) {
	families, err := w.m.cfg.Metrics.Gatherer().Gather()
	if err != nil {
		w.t.Error(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := fmt.Sprint(m.GetGauge().GetValue() + m.GetCounter().GetValue())
			if h := m.GetHistogram(); h != nil {
				over := 0.0
				for _, b := range h.GetBucket() {
					if b.GetCumulativeCount() == 0 {
						over = b.GetUpperBound()
					}
				}
				value = fmt.Sprintf("%d over %v", h.GetSampleCount(), over)
			}
			all = append(all, fmt.Sprintf("%s{%s} %s", f.GetName(), strings.Join(labels, ","), value))
		}
	}
	return all
}
