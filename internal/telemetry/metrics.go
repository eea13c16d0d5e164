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
)

const namespace = "concentrator"

// Metrics is the instance's registry with the metrics that rooms write to. It is safe for concurrent use.
//
// Labels hold tenants, protocols, stages and reasons, never users, sessions or addresses: those have no bound.
type Metrics struct {
	reg *prometheus.Registry

	logins *prometheus.CounterVec
	stages *prometheus.CounterVec
	ended  *prometheus.CounterVec
	inbox  prometheus.Counter
}

// NewMetrics makes an empty set of metrics with the Go runtime's and the process's own.
func NewMetrics() *Metrics {
	m := &Metrics{
		reg: prometheus.NewRegistry(),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "logins_total",
			Help: "Login attempts by outcome, the stage they came to and the reason of a refusal.",
		}, []string{"tenant", "protocol", "outcome", "stage", "reason"}),
		stages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "login_stages_total",
			Help: "Stages that logins have come to, whatever became of them then.",
		}, []string{"tenant", "protocol", "stage"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "sessions_ended_total",
			Help: "Sessions that were open and ended, by reason.",
		}, []string{"tenant", "protocol", "reason"}),
		inbox: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "control_frames_dropped_total",
			Help: "Control frames from clients that came faster than their session could take them.",
		}),
	}
	m.reg.MustRegister(m.logins, m.stages, m.ended, m.inbox,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Login counts one decided login attempt.
func (m *Metrics) Login(tenant, protocol, outcome, stage, reason string) {
	m.logins.WithLabelValues(tenant, protocol, outcome, stage, reason).Inc()
}

// Reached counts one login that has come to a stage.
func (m *Metrics) Reached(tenant, protocol, stage string) {
	m.stages.WithLabelValues(tenant, protocol, stage).Inc()
}

// Ended counts one session that was open and is no more.
func (m *Metrics) Ended(tenant, protocol, reason string) {
	m.ended.WithLabelValues(tenant, protocol, reason).Inc()
}

// ControlFrameDropped counts one control frame for which a session's inbox had no room.
func (m *Metrics) ControlFrameDropped() { m.inbox.Inc() }

// Live is a metric that is read when it is asked for.
type Live struct {
	name, help string
	counter    bool // it only ever grows
	labels     []string
}

// The metrics that Observe takes.
var (
	Sessions = Live{"sessions", "Live sessions by state.", false, []string{"tenant", "protocol", "state"}}

	Lockouts = Live{"lockouts", "Users, sources and tenants whose log-ins are held up after failures.", false, []string{"tenant", "kind"}}

	HalfOpen = Live{"ike_half_open", "IKE exchanges whose peer has not proved who it is.", false, nil}
	IKESAs   = Live{"ike_sas", "ISAKMP SAs.", false, nil}
	ChildSAs = Live{"esp_sas", "Pairs of ESP SAs, by tenant.", false, []string{"tenant"}}
	Peers    = Live{"ipsec_peers", "IPsec peers, by tenant.", false, []string{"tenant"}}
	Tunnels  = Live{"l2tp_tunnels", "L2TP tunnels, half-open ones too.", false, nil}

	RadiusUp         = Live{"radius_server_up", "1: a RADIUS server answers, 0: it is dead.", false, []string{"tenant", "server"}}
	RadiusInFlight   = Live{"radius_requests_in_flight", "Requests to a RADIUS server under way.", false, []string{"tenant", "server"}}
	RadiusRequests   = Live{"radius_requests_total", "Requests to a RADIUS server by what came of them.", true, []string{"tenant", "server", "outcome"}}
	RadiusRetries    = Live{"radius_retransmits_total", "Requests to a RADIUS server that were sent again.", true, []string{"tenant", "server"}}
	RadiusDropped    = Live{"radius_dropped_replies_total", "Replies of a RADIUS server that were not used.", true, []string{"tenant", "server", "drop"}}
	DynamicRequests  = Live{"coa_requests_total", "CoA- and Disconnect-Requests by their answer.", true, []string{"answer"}}
	DynamicDropped   = Live{"coa_dropped_total", "Datagrams to the CoA port that were not answered.", true, []string{"drop"}}
	AccountsUnsent   = Live{"accounting_unsent_records", "Accounting records that nobody has acknowledged yet.", false, []string{"tenant"}}
	AccountsSent     = Live{"accounting_sent_total", "Accounting records that were acknowledged.", true, []string{"tenant"}}
	AccountsFailures = Live{"accounting_failures_total", "Deliveries of accounting records that failed.", true, []string{"tenant"}}
	AccountsDropped  = Live{"accounting_dropped_total", "Interim accounting records given up for want of room.", true, []string{"tenant"}}

	ShardInPackets  = Live{"shard_in_packets_total", "Packets received from clients, by shard.", true, []string{"shard"}}
	ShardOutPackets = Live{"shard_out_packets_total", "Packets sent to clients, by shard.", true, []string{"shard"}}
	ShardWrong      = Live{"shard_wrong_total", "Packets that arrived on another shard than their session's.", true, []string{"shard"}}
	ShardCPU        = Live{"shard_cpu_seconds_total", "CPU time of the shard's thread.", true, []string{"shard"}}
	Dropped         = Live{"dropped_packets_total", "Packets dropped, by shard and reason.", true, []string{"shard", "drop"}}
)

// Sample is one value of a metric that is read when it is asked for.
type Sample struct {
	Labels []string // values, in the order of the metric's label names
	Value  float64
}

// Observe registers l, whose samples read returns at each scrape. It may be called once for each.
func (m *Metrics) Observe(l Live, read func() []Sample) {
	kind := prometheus.GaugeValue
	if l.counter {
		kind = prometheus.CounterValue
	}
	m.reg.MustRegister(&observer{
		desc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", l.name), l.help, l.labels, nil),
		kind: kind, read: read,
	})
}

type observer struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() []Sample
}

func (o *observer) Describe(ch chan<- *prometheus.Desc) { ch <- o.desc }

func (o *observer) Collect(ch chan<- prometheus.Metric) {
	for _, s := range o.read() {
		ch <- prometheus.MustNewConstMetric(o.desc, o.kind, s.Value, s.Labels...)
	}
}

// Gatherer gives the metrics to tests and exporters.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.reg }

// Serve answers GET /metrics in plain HTTP on l until ctx ends.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{}))
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    8 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
	}
	return nil
}
