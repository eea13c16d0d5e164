package session

import (
	"concentrator/internal/telemetry"
)

// observeDoors registers what came to the doors of PPTP, IKE and L2TP and led to nothing: in a flood, most of it.
func (m *Manager) observeDoors() {
	dropped := func(metric telemetry.Live, read func() map[string]uint64) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			for why, n := range read() {
				out = append(out, telemetry.Sample{Labels: []string{why}, Value: float64(n)})
			}
			return out
		})
	}
	m.cfg.Metrics.Observe(telemetry.PPTPConnections, func() []telemetry.Sample {
		return []telemetry.Sample{{Value: float64(m.pptp.Stats().Open)}}
	})
	m.cfg.Metrics.Observe(telemetry.Unlisted, m.listed.samples)
	dropped(telemetry.PPTPDropped, func() map[string]uint64 {
		st := m.pptp.Stats()
		return map[string]uint64{"limit": st.TurnedAway, "pushed_out": st.Pushed}
	})
	dropped(telemetry.IKEDropped, func() map[string]uint64 {
		st := m.ike.Stats()
		return map[string]uint64{
			"malformed": st.Malformed, "unknown": st.Unknown, "unprotected": st.Unprotected, "unauthentic": st.Unauthentic,
			"unexpected": st.Unexpected, "duplicate": st.Duplicates, "queue_full": st.QueueFull, "limit": st.Limited,
			"pushed_out": st.Pushed,
		}
	})
	dropped(telemetry.L2TPDropped, func() map[string]uint64 {
		st := m.l2tp.Stats()
		return map[string]uint64{
			"limit": st.TurnedAway, "repeated": st.Repeated, "malformed": st.Malformed, "unknown": st.Unknown,
			"queue_full": st.Overflow + m.flooded.Load(), "pushed_out": st.Pushed,
		}
	})
}
