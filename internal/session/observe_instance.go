package session

import (
	"maps"
	"slices"
	"strings"

	"concentrator/internal/ippool"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// observeInstance registers the metrics of the instance as a whole, and of its pools.
func (m *Manager) observeInstance() {
	one := func(metric telemetry.Live, value func() int) {
		m.cfg.Metrics.Observe(metric, func() []telemetry.Sample { return []telemetry.Sample{{Value: float64(value())}} })
	}
	one(telemetry.MaxSessions, func() int { return m.cfg.MaxSessions })
	one(telemetry.Slots, m.slots.slots)
	one(telemetry.Draining, func() int {
		if m.Draining() {
			return 1
		}
		return 0
	})
	pools := func(metric telemetry.Live, value func(ippool.Usage) int) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			m.mu.Lock()
			names := slices.Collect(maps.Keys(m.pools))
			m.mu.Unlock()
			for _, name := range names {
				labels := []string{store.TenantOf(name), name[strings.LastIndexByte(name, '/')+1:]}
				out = append(out, telemetry.Sample{Labels: labels, Value: float64(value(m.cfg.Pools.Usage(name)))})
			}
			return out
		})
	}
	pools(telemetry.PoolAddresses, func(u ippool.Usage) int { return u.Size })
	pools(telemetry.PoolLeased, func(u ippool.Usage) int { return u.Leased })
	pools(telemetry.PoolQuarantined, func(u ippool.Usage) int { return u.Quarantined })
}
