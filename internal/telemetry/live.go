package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Live is a metric that is read when it is asked for.
type Live struct{ spec }

// The metrics that Observe takes.
var (
	Sessions    = gauge("sessions", "Live sessions by state.", "tenant", "protocol", "state")
	MaxSessions = gauge("max_sessions", "Sessions that the instance takes at the most.")
	Slots       = gauge("session_slots", "Calls that hold one of the places for sessions, those of no tenant yet too.")
	Draining    = gauge("draining", "1: no new calls are taken, 0: they are.")

	Lockouts = gauge("lockouts", "Users, sources and tenants whose log-ins are held up after failures.", "tenant", "kind")

	PoolAddresses   = gauge("pool_addresses", "Addresses that a pool has for clients.", "tenant", "pool")
	PoolLeased      = gauge("pool_leased_addresses", "Addresses of a pool that are in use.", "tenant", "pool")
	PoolQuarantined = gauge("pool_quarantined_addresses",
		"Free addresses of a pool that only their last user can have now.", "tenant", "pool")

	HalfOpen = gauge("ike_half_open", "IKE exchanges whose peer has not proved who it is.")
	IKESAs   = gauge("ike_sas", "ISAKMP SAs.")
	ChildSAs = gauge("esp_sas", "Pairs of ESP SAs, by tenant.", "tenant")
	Peers    = gauge("ipsec_peers", "IPsec peers, by tenant.", "tenant")
	Tunnels  = gauge("l2tp_tunnels", "L2TP tunnels, half-open ones too.")

	PPTPConnections = gauge("pptp_connections", "Control connections of PPTP.")
	PPTPDropped     = counter("pptp_dropped_total", "Control connections of PPTP that were not served, or not to their end.", "drop")
	IKEDropped      = counter("ike_dropped_total", "IKE messages that led to nothing.", "drop")
	L2TPDropped     = counter("l2tp_dropped_total", "L2TP control messages that led to nothing.", "drop")
	Unlisted        = counter("logins_unlisted_total",
		"Refused log-ins that were not logged, as there were too many alike.", "stage")

	RadiusUp = gauge("radius_server_up",
		"1: a RADIUS server answers or was not asked yet, 0: it is dead.", "tenant", "server")
	RadiusInFlight = gauge("radius_requests_in_flight", "Requests to a RADIUS server under way.", "tenant", "server")
	RadiusWaiting  = gauge("radius_requests_waiting",
		"Requests that wait because as many as allowed are under way to a RADIUS server.", "tenant", "server")
	RadiusLatency = histogram("radius_request_duration_seconds",
		"Time from the first datagram of a request to the answer of a RADIUS server.", "tenant", "server")
	RadiusRequests = counter("radius_requests_total",
		"Requests to a RADIUS server by what came of them.", "tenant", "server", "outcome")
	RadiusRetries = counter("radius_retransmits_total",
		"Requests to a RADIUS server that were sent again.", "tenant", "server")
	RadiusDropped = counter("radius_dropped_replies_total",
		"Replies of a RADIUS server that were not used.", "tenant", "server", "drop")

	DynamicRequests = counter("coa_requests_total", "CoA- and Disconnect-Requests by their answer.", "answer")
	DynamicDropped  = counter("coa_dropped_total", "Datagrams to the CoA port that were not answered.", "drop")

	AccountsUnsent   = gauge("accounting_unsent_records", "Accounting records that nobody has acknowledged yet.", "tenant")
	AccountsSent     = counter("accounting_sent_total", "Accounting records that were acknowledged.", "tenant")
	AccountsFailures = counter("accounting_failures_total", "Deliveries of accounting records that failed.", "tenant")
	AccountsDropped  = counter("accounting_dropped_total", "Interim accounting records given up for want of room.", "tenant")

	ShardCalls      = gauge("shard_calls", "Calls that a shard carries.", "shard")
	ShardInPackets  = counter("shard_in_packets_total", "Packets received from clients, by shard.", "shard")
	ShardOutPackets = counter("shard_out_packets_total", "Packets sent to clients, by shard.", "shard")
	ShardInBytes    = counter("shard_in_bytes_total", "Octets of outer packets received from clients, by shard.", "shard")
	ShardOutBytes   = counter("shard_out_bytes_total",
		"Octets of outer packets sent to clients, without their IP headers, by shard.", "shard")
	ShardWrong         = counter("shard_wrong_total", "Packets that arrived on another shard than their session's.", "shard")
	ShardReceiveErrors = counter("shard_receive_errors_total", "Reads of a socket that failed, by shard.", "shard")
	ShardCPU           = counter("shard_cpu_seconds_total", "CPU time of the shard's thread.", "shard")
	Dropped            = counter("dropped_packets_total", "Packets dropped, by shard and reason.", "shard", "drop")

	StoreCommits = histogram("store_commit_duration_seconds",
		"Time of a commit to a file of the state directory, waiting included.", "file")
	StoreErrors = counter("store_commit_errors_total", "Commits to a file of the state directory that failed.", "file")
	StoreSize   = gauge("store_file_bytes", "Size of a file of the state directory.", "file")
)

// Sample is one value of a metric that is read when it is asked for.
type Sample struct {
	Labels       []string     // values, in the order of the metric's label names
	Value        float64      // of a gauge or a counter
	Distribution Distribution // of a histogram
}

// Observe registers l, whose samples read returns at each scrape. It may be called once for each.
func (m *Metrics) Observe(l Live, read func() []Sample) {
	m.reg.MustRegister(&observer{
		desc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", l.name), l.help, l.labels, nil),
		kind: l.kind, read: read,
	})
}

// observer is a Live on its way to Prometheus.
type observer struct {
	desc *prometheus.Desc
	kind kind
	read func() []Sample
}

// Describe implements prometheus.Collector.
func (o *observer) Describe(ch chan<- *prometheus.Desc) { ch <- o.desc }

// Collect implements prometheus.Collector.
func (o *observer) Collect(ch chan<- prometheus.Metric) {
	for _, s := range o.read() {
		switch o.kind {
		case kindHistogram:
			d := s.Distribution
			ch <- prometheus.MustNewConstHistogram(o.desc, d.Count(), d.Sum.Seconds(), d.cumulative(), s.Labels...)
		case kindCounter:
			ch <- prometheus.MustNewConstMetric(o.desc, prometheus.CounterValue, s.Value, s.Labels...)
		case kindGauge:
			ch <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, s.Value, s.Labels...)
		}
	}
}
