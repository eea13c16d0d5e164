package radius

import (
	"context"
	"fmt"
	"log/slog"

	"concentrator/internal/authz"
)

// Client asks RADIUS servers. It is safe for concurrent use; Close releases its sockets.
type Client struct {
	server *server
}

var _ authz.Authenticator = (*Client)(nil)

// New checks cfg and returns a Client for it. It does not block: a server's DNS name is looked up behind its back, and
// again when a login comes if that fails.
func New(cfg Config) (*Client, error) {
	return newClient(cfg, environment{lookup: lookup, sockets: maxSockets})
}

func newClient(cfg Config, env environment) (*Client, error) {
	if len(cfg.Servers) != 1 {
		return nil, fmt.Errorf("radius: %d servers are configured, want exactly one", len(cfg.Servers))
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	sc, err := cfg.Servers[0].withDefaults()
	if err != nil {
		return nil, fmt.Errorf("radius server %s: %w", cfg.Servers[0].Name, err)
	}
	return &Client{server: newServer(sc, cfg.Log, env)}, nil
}

// Authenticate implements authz.Authenticator. It takes at most Tries × Timeout, jitter included, once the request has
// an identifier, and ctx bounds it all.
func (c *Client) Authenticate(ctx context.Context, r authz.Request) (authz.Verdict, error) {
	if v, ok := askable(r); !ok {
		return v, nil
	}
	return c.server.ask(ctx, r)
}

// Stats returns the counters.
func (c *Client) Stats() Stats { return c.server.snapshot() }

// Close ends the requests in flight without an answer, closes the sockets and waits until every goroutine has ended.
// It may be called again.
func (c *Client) Close() { c.server.close() }
