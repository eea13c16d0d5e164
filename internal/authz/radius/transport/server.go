package transport

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"concentrator/internal/telemetry"
)

// server is one RADIUS server of a group: its configuration, which may change, and its ports, which may not.
type server struct {
	group *Group
	cfg   atomic.Pointer[settings]
	signs atomic.Bool // a reply to an Access-Request had a right Message-Authenticator: ModeAuto demands one from now on
	gates [numPurposes]gate

	ports  [numPurposes]*port // by purpose; nil: not used for it. With TLS it is the same one
	unique []*port            // each once

	ended context.Context // done when closed
	end   context.CancelFunc

	users   int // exchanges that may come to it; guarded by group.mu
	retired atomic.Bool
}

func newServer(g *Group, cfg *settings) *server {
	s := &server{group: g}
	s.ended, s.end = context.WithCancel(context.Background())
	s.configure(cfg)
	if cfg.Transport == TLS {
		p := newPort(s, cfg.AuthPort, cfg.Purposes...)
		for _, purpose := range cfg.Purposes {
			s.ports[purpose] = p
		}
		s.unique = []*port{p}
		return s
	}
	for _, purpose := range cfg.Purposes {
		number := cfg.AuthPort
		if purpose == Accounting {
			number = cfg.AcctPort
		}
		s.ports[purpose] = newPort(s, number, purpose)
		s.unique = append(s.unique, s.ports[purpose])
	}
	return s
}

// configure takes over what may change while requests are under way.
func (s *server) configure(cfg *settings) {
	old := s.cfg.Swap(cfg)
	if old != nil && old.MessageAuthenticator != cfg.MessageAuthenticator {
		s.signs.Store(false) // the operator has decided anew
	}
	for i := range s.gates {
		s.gates[i].setLimit(cfg.MaxOutstanding)
	}
}

func (s *server) log() *slog.Logger {
	return s.group.logger().With(telemetry.Server, s.cfg.Load().Name)
}

// close ends the server's requests and sockets and waits for its goroutines.
func (s *server) close() {
	s.end()
	for _, p := range s.unique {
		p.close()
	}
	for _, p := range s.unique {
		p.wait()
	}
}

// snapshot returns the server's Health.
func (s *server) snapshot() Health {
	h := Health{Name: s.cfg.Load().Name, State: Unknown}
	for i := range s.gates {
		inside, waiting := s.gates[i].load()
		h.Outstanding += inside
		h.Waiting += waiting
	}
	for _, p := range s.unique {
		h.Ports = append(h.Ports, p.snapshot())
	}
	for i, p := range h.Ports {
		h.Sockets += p.Sockets
		if i == 0 || rank(p.State) > rank(h.State) || p.State == h.State && p.Since.Before(h.Since) {
			h.State, h.Since = p.State, p.Since
		}
		if p.LastErrorAt.After(h.LastErrorAt) {
			h.LastError, h.LastErrorAt = p.LastError, p.LastErrorAt
		}
	}
	newest := slices.MaxFunc(h.Ports, func(a, b PortHealth) int { return a.LastAnswer.Compare(b.LastAnswer) })
	h.RTT = newest.RTT
	return h
}

func rank(s State) int {
	return slices.Index([]State{Unknown, Alive, Dead}, s)
}
