package session

import (
	"context"
	"time"

	"concentrator/internal/authz/radius/transport"
	"concentrator/internal/telemetry"
)

// radiusEvery is how often it is looked at whether RADIUS servers answer.
const radiusEvery = time.Second

// watchRadius raises the faults of RADIUS servers, and clears them, until ctx ends.
func (m *Manager) watchRadius(ctx context.Context) {
	t := time.NewTicker(radiusEvery)
	defer t.Stop()
	down := make(map[radiusFault]struct{})
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			down = m.tellRadius(down)
		}
	}
}

// radiusFault is one of a server, by its resource name.
type radiusFault struct {
	fault  telemetry.Fault
	server string
}

// tellRadius raises what is wrong now, and clears what was and is no more, servers that are gone included.
func (m *Manager) tellRadius(was map[radiusFault]struct{}) map[radiusFault]struct{} {
	now := make(map[radiusFault]struct{})
	raise := func(f telemetry.Fault, server, why string) {
		now[radiusFault{f, server}] = struct{}{}
		m.cfg.Faults.Raise(f, server, why)
	}
	for _, list := range m.radiusHealth() {
		for _, h := range list {
			if h.State == transport.Dead {
				raise(telemetry.FaultRADIUS, h.Name, h.LastError)
			}
			for _, p := range h.Ports {
				if p.LookupError != "" {
					raise(telemetry.FaultNames, h.Name, p.LookupError)
				}
			}
		}
	}
	for f := range was {
		if _, still := now[f]; !still {
			m.cfg.Faults.Clear(f.fault, f.server)
		}
	}
	return now
}
