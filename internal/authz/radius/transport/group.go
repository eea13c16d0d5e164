package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Group is the servers of one tenant. It is safe for concurrent use; Close releases its sockets.
type Group struct {
	cfg    atomic.Pointer[Config]
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu      sync.Mutex // guards what follows, and server.users
	closed  bool
	servers []*server // in the order of the configuration
	leaving []*server // configured no more, but still in use
	running sync.WaitGroup
}

// New checks cfg and returns a Group for it. It does not block: sockets are opened, and names looked up, when a request
// needs them, and behind its back where Incoming needs a connection. Errors name the server and the field.
func New(cfg Config) (*Group, error) { return newGroup(cfg, lookup) }

func newGroup(cfg Config, lookup func(context.Context, string) ([]netip.Addr, error)) (*Group, error) {
	g := &Group{lookup: lookup}
	if err := g.Update(cfg); err != nil {
		return nil, err
	}
	return g, nil
}

// Update replaces the configuration. An error changes nothing.
//
// Servers are told apart by their names. One whose address, ports, transport, certificates, purposes and source stayed the
// same keeps its sockets, its health and its requests, with whatever else is new from now on: a reply may be signed with a
// secret of before or of now. Any other that was there before finishes what is under way.
func (g *Group) Update(cfg Config) error {
	all, err := checkAll(cfg.Servers)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	own := cfg
	own.Servers = nil // the settings have them
	g.cfg.Store(&own)
	before := g.servers
	g.servers = make([]*server, 0, len(all))
	for _, s := range all {
		kept := take(&before, s)
		if kept == nil {
			kept = newServer(g, s)
		} else {
			kept.configure(s)
		}
		g.servers = append(g.servers, kept)
	}
	for _, s := range g.servers {
		for _, p := range s.unique {
			p.keep()
		}
	}
	for _, s := range before {
		s.retired.Store(true)
		g.leaving = append(g.leaving, s)
		g.dismiss(s)
	}
	return nil
}

// checkAll checks the servers each and as a set.
func checkAll(servers []ServerConfig) ([]*settings, error) {
	if len(servers) > maxServers {
		return nil, fmt.Errorf("%d RADIUS servers are configured, at most %d are possible", len(servers), maxServers)
	}
	names := make(map[string]bool)
	all := make([]*settings, len(servers))
	for i, c := range servers {
		s, err := c.check()
		switch {
		case err != nil:
			return nil, fmt.Errorf("radius server %s: %w", c.Name, err)
		case names[c.Name]:
			return nil, fmt.Errorf("radius server %s is configured twice", c.Name)
		}
		names[c.Name] = true
		all[i] = s
	}
	return all, nil
}

// take removes the server that can go on under cfg from servers and returns it; nil: there is none.
func take(servers *[]*server, cfg *settings) *server {
	for i, s := range *servers {
		if s.cfg.Load().samePath(cfg) {
			*servers = append((*servers)[:i:i], (*servers)[i+1:]...)
			return s
		}
	}
	return nil
}

// dismiss closes a server that is configured no more once nobody can come to it. g.mu is held.
func (g *Group) dismiss(s *server) {
	if s.users > 0 || !s.retired.Load() || g.closed {
		return
	}
	for i, l := range g.leaving {
		if l == s {
			g.leaving = append(g.leaving[:i:i], g.leaving[i+1:]...)
			g.running.Go(s.close)
			return
		}
	}
}

// Health returns how each configured server does, in the order of the configuration.
func (g *Group) Health() []Health {
	g.mu.Lock()
	servers := g.servers
	g.mu.Unlock()
	all := make([]Health, len(servers))
	for i, s := range servers {
		all[i] = s.snapshot()
	}
	return all
}

// Close ends the requests under way without an answer, closes the sockets and waits until every goroutine has ended, calls
// of Incoming included. It may be called again.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	all := append(append([]*server(nil), g.servers...), g.leaving...)
	g.leaving = nil
	for _, s := range all {
		s.end()
	}
	g.mu.Unlock()
	for _, s := range all {
		s.close()
	}
	g.running.Wait()
}

func (g *Group) dialer() Dialer {
	if d := g.cfg.Load().Dial; d != nil {
		return d
	}
	return DialHost
}

func (g *Group) logger() *slog.Logger {
	if l := g.cfg.Load().Log; l != nil {
		return l
	}
	return slog.Default()
}
