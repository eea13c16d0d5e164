package session

import (
	"strings"

	"concentrator/internal/authz/radius/coa"
	"concentrator/internal/authz/radius/packet"
	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/telemetry"
)

// observeRadius registers the metrics of RADIUS servers, CoA and accounting.
func (m *Manager) observeRadius() {
	servers := func(metric telemetry.Live, samples func(h transport.Health, sample func(v float64, more ...string))) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			for tenantName, list := range m.radiusHealth() {
				for _, h := range list {
					samples(h, func(v float64, more ...string) {
						server := h.Name[strings.LastIndexByte(h.Name, '/')+1:]
						out = append(out, telemetry.Sample{Labels: append([]string{tenantName, server}, more...), Value: v})
					})
				}
			}
			return out
		})
	}
	servers(telemetry.RadiusUp, func(h transport.Health, sample func(float64, ...string)) {
		up := 1.0
		if h.State == transport.Dead {
			up = 0
		}
		sample(up)
	})
	servers(telemetry.RadiusInFlight, func(h transport.Health, sample func(float64, ...string)) { sample(float64(h.Outstanding)) })
	servers(telemetry.RadiusWaiting, func(h transport.Health, sample func(float64, ...string)) { sample(float64(h.Waiting)) })
	m.cfg.Metrics.Observe(telemetry.RadiusLatency, func() (out []telemetry.Sample) {
		for tenantName, list := range m.radiusHealth() {
			for _, h := range list {
				out = append(out, telemetry.Sample{
					Labels: []string{tenantName, h.Name[strings.LastIndexByte(h.Name, '/')+1:]}, Distribution: portStats(h).Latency,
				})
			}
		}
		return out
	})
	servers(telemetry.RadiusRequests, func(h transport.Health, sample func(float64, ...string)) {
		s := portStats(h)
		for outcome, n := range map[string]uint64{
			"accept": s.Accepts, "reject": s.Rejects, "challenge": s.Challenges, "acknowledged": s.Acknowledged, "no_answer": s.NoAnswers,
		} {
			sample(float64(n), outcome)
		}
	})
	servers(telemetry.RadiusRetries, func(h transport.Health, sample func(float64, ...string)) {
		sample(float64(portStats(h).Retransmits))
	})
	servers(telemetry.RadiusDropped, func(h transport.Health, sample func(float64, ...string)) {
		for d, n := range portStats(h).Drops {
			if n > 0 {
				sample(float64(n), packet.Drop(d).String())
			}
		}
	})
	m.cfg.Metrics.Observe(telemetry.DynamicRequests, func() []telemetry.Sample {
		s := m.coa.Stats()
		out := []telemetry.Sample{{Labels: []string{"ACK"}, Value: float64(s.ACKs)}}
		for cause, n := range s.NAKs {
			out = append(out, telemetry.Sample{Labels: []string{cause.String()}, Value: float64(n)})
		}
		return out
	})
	m.cfg.Metrics.Observe(telemetry.DynamicDropped, func() (out []telemetry.Sample) {
		for d, n := range m.coa.Stats().Drops {
			if n > 0 {
				out = append(out, telemetry.Sample{Labels: []string{coa.Drop(d).String()}, Value: float64(n)})
			}
		}
		return out
	})
	accounts := func(metric telemetry.Live, value func(AccountingStatus) float64) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			for _, s := range m.AccountingStatus("") {
				out = append(out, telemetry.Sample{Labels: []string{s.Tenant}, Value: value(s)})
			}
			return out
		})
	}
	accounts(telemetry.AccountsUnsent, func(s AccountingStatus) float64 { return float64(s.Unsent) })
	accounts(telemetry.AccountsSent, func(s AccountingStatus) float64 { return float64(s.Sent) })
	accounts(telemetry.AccountsFailures, func(s AccountingStatus) float64 { return float64(s.Failures) })
	accounts(telemetry.AccountsDropped, func(s AccountingStatus) float64 { return float64(s.Dropped) })
}

// radiusHealth is how all RADIUS servers do, by tenant.
func (m *Manager) radiusHealth() map[string][]transport.Health {
	m.radiusMu.Lock()
	defer m.radiusMu.Unlock()
	out := make(map[string][]transport.Health, len(m.radius))
	for name, t := range m.radius {
		if t.client != nil {
			out[name] = t.client.Health()
		}
	}
	return out
}

// portStats adds up the counters of a server's ports.
func portStats(h transport.Health) (sum transport.Stats) {
	for _, p := range h.Ports {
		sum.Requests += p.Stats.Requests
		sum.Retransmits += p.Stats.Retransmits
		sum.Accepts += p.Stats.Accepts
		sum.Rejects += p.Stats.Rejects
		sum.Challenges += p.Stats.Challenges
		sum.Acknowledged += p.Stats.Acknowledged
		sum.NoAnswers += p.Stats.NoAnswers
		sum.Latency = sum.Latency.Plus(p.Stats.Latency)
		for d, n := range p.Stats.Drops {
			sum.Drops[d] += n
		}
	}
	return sum
}
