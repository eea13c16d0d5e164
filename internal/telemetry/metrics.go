package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"concentrator/internal/tenant"
)

const namespace = "concentrator"

// Bounds of the page of metrics.
const (
	maxScrapes    = 4 // at once; more get 503
	scrapeTimeout = 30 * time.Second
)

// The metrics that rooms write to as things happen.
var (
	loginsSpec = define(kindCounter, "logins_total",
		"Login attempts by outcome, the stage they came to and the reason of a refusal.",
		[]string{"tenant", "protocol", "outcome", "stage", "reason"})
	stagesSpec = define(kindCounter, "login_stages_total",
		"Stages that logins have come to, whatever became of them then.", []string{"tenant", "protocol", "stage"})
	loginTimeSpec = define(kindHistogram, "login_duration_seconds",
		"Time from a call's begin until its session was open.", []string{"protocol"})
	endedSpec = define(kindCounter, "sessions_ended_total",
		"Sessions that were open and ended, by reason.", []string{"tenant", "protocol", "reason"})
	inboxSpec = define(kindCounter, "control_frames_dropped_total",
		"Control frames from clients that came faster than their session could take them.", nil)

	apiCallsSpec = define(kindCounter, "api_calls_total",
		"Calls of the API that have ended, REST's too, by method and status.", []string{"method", "code"})
	apiTimeSpec = define(kindHistogram, "api_call_duration_seconds",
		"Time of a call of the API that is no stream, by method.", []string{"method"})
	apiStreamsSpec = define(kindGauge, "api_streams",
		"Streams of the API that are open, as watches are, by method.", []string{"method"})
	apiDroppedSpec = define(kindCounter, "api_connections_dropped_total",
		"TCP connections to the API that were closed because there were too many, or too many TLS handshakes.", []string{"drop"})
	auditSpec = define(kindCounter, "audit_events_total",
		"Events added to the audit trail, by the call's status.", []string{"code"})
	operationsSpec = define(kindCounter, "operations_ended_total",
		"Operations that have ended, by kind and state.", []string{"kind", "state"})
	runningSpec  = define(kindGauge, "operations_running", "Operations under way, by kind.", []string{"kind"})
	capturedSpec = define(kindCounter, "captured_packets_total",
		"Packets of sessions that are captured: taken, or missed because the caller read too slowly.", []string{"outcome"})
	faultsSpec = define(kindGauge, "faults", "Faults that stand now, by name.", []string{"fault"})
	begunSpec  = define(kindCounter, "faults_total", "Faults that have begun, by name.", []string{"fault"})
)

// Metrics is the instance's registry with the metrics that rooms write to. It is safe for concurrent use.
//
// Labels hold tenants, protocols, stages and reasons, never users, sessions or addresses: those have no bound.
type Metrics struct {
	reg *prometheus.Registry

	logins     *prometheus.CounterVec
	stages     *prometheus.CounterVec
	loginTime  *prometheus.HistogramVec
	ended      *prometheus.CounterVec
	inbox      *prometheus.CounterVec
	apiDropped *prometheus.CounterVec
	apiCalls   *prometheus.CounterVec
	apiTime    *prometheus.HistogramVec
	apiStreams *prometheus.GaugeVec
	audit      *prometheus.CounterVec
	operations *prometheus.CounterVec
	running    *prometheus.GaugeVec
	captured   *prometheus.CounterVec
	faults     *prometheus.GaugeVec
	begun      *prometheus.CounterVec
}

// NewMetrics makes an empty set of metrics with the Go runtime's and the process's own.
func NewMetrics() *Metrics {
	m := &Metrics{
		reg:        prometheus.NewRegistry(),
		logins:     counters(loginsSpec),
		stages:     counters(stagesSpec),
		loginTime:  histograms(loginTimeSpec),
		ended:      counters(endedSpec),
		inbox:      counters(inboxSpec),
		apiDropped: counters(apiDroppedSpec),
		apiCalls:   counters(apiCallsSpec),
		apiTime:    histograms(apiTimeSpec),
		apiStreams: gauges(apiStreamsSpec),
		audit:      counters(auditSpec),
		operations: counters(operationsSpec),
		running:    gauges(runningSpec),
		captured:   counters(capturedSpec),
		faults:     gauges(faultsSpec),
		begun:      counters(begunSpec),
	}
	m.reg.MustRegister(m.logins, m.stages, m.loginTime, m.ended, m.inbox, m.apiCalls, m.apiTime, m.apiStreams, m.apiDropped, m.audit,
		m.operations, m.running, m.captured, m.faults, m.begun, buildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// What is known beforehand is 0 from the begin on: Prometheus does not see how a series comes that begins with 1.
	m.inbox.WithLabelValues()
	for _, what := range []string{"connections", "handshakes"} {
		m.apiDropped.WithLabelValues(what)
	}
	for _, p := range []tenant.Protocol{tenant.ProtocolPPTP, tenant.ProtocolL2TP, tenant.ProtocolL2TPIPsec} {
		m.loginTime.WithLabelValues(string(p))
	}
	for _, f := range AllFaults() {
		m.faults.WithLabelValues(string(f))
		m.begun.WithLabelValues(string(f))
	}
	return m
}

func counters(s spec) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: s.name, Help: s.help}, s.labels)
}

func gauges(s spec) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: s.name, Help: s.help}, s.labels)
}

func histograms(s spec) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Namespace: namespace, Name: s.name, Help: s.help, Buckets: seconds()}, s.labels)
}

// Login counts one decided login attempt.
func (m *Metrics) Login(tenant, protocol, outcome, stage, reason string) {
	m.logins.WithLabelValues(tenant, protocol, outcome, stage, reason).Inc()
}

// Reached counts one login that has come to a stage.
func (m *Metrics) Reached(tenant, protocol, stage string) {
	m.stages.WithLabelValues(tenant, protocol, stage).Inc()
}

// Opened counts how long it took from a call's begin until its session was open.
func (m *Metrics) Opened(protocol string, took time.Duration) {
	m.loginTime.WithLabelValues(protocol).Observe(took.Seconds())
}

// Ended counts one session that was open and is no more.
func (m *Metrics) Ended(tenant, protocol, reason string) {
	m.ended.WithLabelValues(tenant, protocol, reason).Inc()
}

// ControlFrameDropped counts one control frame for which a session's inbox had no room.
func (m *Metrics) ControlFrameDropped() { m.inbox.WithLabelValues().Inc() }

// APICall counts one call of the API that is no stream, when it has ended. The method must be one that is served: others
// have no bound.
func (m *Metrics) APICall(method, code string, took time.Duration) {
	m.apiCalls.WithLabelValues(method, code).Inc()
	m.apiTime.WithLabelValues(method).Observe(took.Seconds())
}

// APIUnrouted counts one request of REST that was refused before it came to a method.
func (m *Metrics) APIUnrouted(code string) { m.apiCalls.WithLabelValues("", code).Inc() }

// APIStream counts one stream of the API as open until the returned function is called, once, with its status.
func (m *Metrics) APIStream(method string) (ended func(code string)) {
	open := m.apiStreams.WithLabelValues(method)
	open.Inc()
	return func(code string) {
		open.Dec()
		m.apiCalls.WithLabelValues(method, code).Inc()
	}
}

// APIConnectionDropped counts one connection that was closed because there were too many "connections", or "handshakes".
func (m *Metrics) APIConnectionDropped(what string) { m.apiDropped.WithLabelValues(what).Inc() }

// Audited counts one event of the audit trail, by the call's status.
func (m *Metrics) Audited(code string) { m.audit.WithLabelValues(code).Inc() }

// OperationBegun counts an operation as under way until the returned function is called, once, with the state in which it
// ended; with none when only the process ends.
func (m *Metrics) OperationBegun(kind string) (ended func(state string)) {
	running := m.running.WithLabelValues(kind)
	running.Inc()
	return func(state string) {
		running.Dec()
		if state != "" {
			m.operations.WithLabelValues(kind, state).Inc()
		}
	}
}

// Captured counts packets of sessions that are captured: those that were taken, and those that were missed because the
// caller read too slowly.
func (m *Metrics) Captured(taken, missed uint64) {
	m.captured.WithLabelValues("taken").Add(float64(taken))
	m.captured.WithLabelValues("missed").Add(float64(missed))
}

// Gatherer gives the metrics to tests and exporters.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.reg }

// Serve answers GET /metrics in plain HTTP on l until ctx ends.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	// One metric that can't be read must not hide all others; promhttp_metric_handler_errors_total counts it.
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, Registry: m.reg, MaxRequestsInFlight: maxScrapes,
	}))
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      scrapeTimeout,
		MaxHeaderBytes:    8 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	}
	return nil
}

// faultStands adds n to the faults of a name that stand. A nil Metrics counts none.
func (m *Metrics) faultStands(f Fault, n float64) {
	if m != nil {
		m.faults.WithLabelValues(string(f)).Add(n)
	}
}

// faultBegan counts one more fault of a name. A nil Metrics counts none.
func (m *Metrics) faultBegan(f Fault) {
	if m != nil {
		m.begun.WithLabelValues(string(f)).Inc()
	}
}
