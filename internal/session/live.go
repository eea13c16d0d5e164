package session

import (
	"slices"
	"strconv"
	"strings"

	"concentrator/internal/dataplane"
	"concentrator/internal/telemetry"
	"concentrator/internal/tenant"
)

// Sessions returns the live sessions of a tenant ("tenants/acme"; "" or "tenants/-": of all), sorted by name, with
// their counters as they stand now.
func (m *Manager) Sessions(tenantName string) []Info {
	match := inTenant(tenantName)
	var live []*session
	var planeCalls []Call
	m.mu.Lock()
	for _, s := range m.sessions {
		if name := s.snapshot().Name; name != "" && match(name) {
			live = append(live, s)
			planeCalls = append(planeCalls, s.call)
		}
	}
	m.mu.Unlock()
	counters := m.cfg.Plane.Counters(planeCalls)
	out := make([]Info, len(live))
	for i, s := range live {
		out[i] = s.view(counters[i])
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// view is what others see of the session, with these counters.
func (s *session) view(c dataplane.Counters) Info {
	i := s.snapshot()
	i.setCounters(c)
	i.IdleTime = c.LastInbound
	return i
}

// byName finds a live session by its resource name.
func (m *Manager) byName(name string) *session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[name[strings.LastIndexByte(name, '/')+1:]]
	if s == nil || s.snapshot().Name != name {
		return nil
	}
	return s
}

// Session returns one live session.
func (m *Manager) Session(name string) (Info, bool) {
	s := m.byName(name)
	if s == nil {
		return Info{}, false
	}
	return s.view(s.call.Counters()), true
}

// Disconnect ends a session politely and returns at once; the watch tells when it is gone. It returns ErrNotFound if
// there is no such session.
func (m *Manager) Disconnect(name string, reason tenant.Reason) error {
	s := m.byName(name)
	if s == nil {
		return ErrNotFound
	}
	s.force(forcedEnd{reason: reason, detail: "ended by an operator", polite: true})
	return nil
}

// Logins returns the last login attempts that match, the newest first.
func (m *Manager) Logins(f LoginFilter) []LoginAttempt { return m.logins.list(f) }

// PoolUsage says how many addresses a pool has and how many are leased; zeros for one that is not in use.
func (m *Manager) PoolUsage(pool string) (size, leased int) {
	u := m.cfg.Pools.Usage(pool)
	return u.Size, u.Leased
}

// Instance describes this instance.
func (m *Manager) Instance() InstanceInfo {
	i := InstanceInfo{
		Name: m.cfg.Instance, Version: m.cfg.Version, StartTime: m.started,
		Shards: m.cfg.Plane.Shards(), MaxSessions: m.cfg.MaxSessions, Sessions: m.slots.slots(),
		Draining: m.Draining(), Accepted: m.accepted.Load(), Refused: m.refused.Load(),
	}
	for _, st := range m.cfg.Plane.ShardStats() {
		i.ShardStats = append(i.ShardStats, ShardInfo{
			Shard: st.Shard, Sessions: st.Calls, InPackets: st.WireInPackets, OutPackets: st.WireOutPackets,
			WrongShard: st.WrongShard, CPUTime: st.CPUTime, Drops: st.Drops.Map(),
		})
	}
	return i
}

// observe registers the metrics that are read from live state.
func (m *Manager) observe() {
	m.cfg.Metrics.Observe(telemetry.Sessions, func() []telemetry.Sample {
		type key struct{ tenant, protocol, state string }
		n := make(map[key]float64)
		m.mu.Lock()
		for _, s := range m.sessions {
			i := s.snapshot()
			n[key{i.Tenant, string(i.Protocol), string(i.State)}]++
		}
		m.mu.Unlock()
		var out []telemetry.Sample
		for k, v := range n {
			out = append(out, telemetry.Sample{Labels: []string{k.tenant, k.protocol, k.state}, Value: v})
		}
		return out
	})
	m.observeInstance()
	m.observeIPsec()
	m.observeDoors()
	m.observeLockouts()
	m.observeRadius()
	shard := func(metric telemetry.Live, value func(dataplane.ShardStats) float64) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			for _, st := range m.cfg.Plane.ShardStats() {
				out = append(out, telemetry.Sample{Labels: []string{strconv.Itoa(st.Shard)}, Value: value(st)})
			}
			return out
		})
	}
	shard(telemetry.ShardInPackets, func(s dataplane.ShardStats) float64 { return float64(s.WireInPackets) })
	shard(telemetry.ShardOutPackets, func(s dataplane.ShardStats) float64 { return float64(s.WireOutPackets) })
	shard(telemetry.ShardInBytes, func(s dataplane.ShardStats) float64 { return float64(s.WireInBytes) })
	shard(telemetry.ShardOutBytes, func(s dataplane.ShardStats) float64 { return float64(s.WireOutBytes) })
	shard(telemetry.ShardReceiveErrors, func(s dataplane.ShardStats) float64 { return float64(s.ReceiveErrors) })
	shard(telemetry.ShardCalls, func(s dataplane.ShardStats) float64 { return float64(s.Calls) })
	shard(telemetry.ShardWrong, func(s dataplane.ShardStats) float64 { return float64(s.WrongShard) })
	shard(telemetry.ShardCPU, func(s dataplane.ShardStats) float64 { return s.CPUTime.Seconds() })
	m.cfg.Metrics.Observe(telemetry.Dropped, func() (out []telemetry.Sample) {
		for _, st := range m.cfg.Plane.ShardStats() {
			for d, n := range st.Drops.Map() {
				out = append(out, telemetry.Sample{Labels: []string{strconv.Itoa(st.Shard), d}, Value: float64(n)})
			}
		}
		return out
	})
}

// observeIPsec registers the metrics of IKE, IPsec's peers and L2TP.
func (m *Manager) observeIPsec() {
	one := func(metric telemetry.Live, value func() int) {
		m.cfg.Metrics.Observe(metric, func() []telemetry.Sample { return []telemetry.Sample{{Value: float64(value())}} })
	}
	one(telemetry.HalfOpen, func() int {
		st := m.ike.Stats()
		return st.HalfOpen + st.Handshakes
	})
	one(telemetry.IKESAs, func() int {
		st := m.ike.Stats()
		return st.SAs - st.Handshakes
	})
	one(telemetry.Tunnels, func() int { return m.l2tp.Stats().Open })
	byTenant := func(metric telemetry.Live, value func(*ipsecPeer) int) {
		m.cfg.Metrics.Observe(metric, func() (out []telemetry.Sample) {
			n := make(map[string]int)
			for _, p := range m.peers.at(func(*ipsecPeer) bool { return true }) {
				n[p.tenant] += value(p)
			}
			for t, v := range n {
				out = append(out, telemetry.Sample{Labels: []string{t}, Value: float64(v)})
			}
			return out
		})
	}
	byTenant(telemetry.Peers, func(*ipsecPeer) int { return 1 })
	byTenant(telemetry.ChildSAs, func(p *ipsecPeer) int {
		p.sas.Lock()
		defer p.sas.Unlock()
		return len(p.children)
	})
}
