package l2tp

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"concentrator/internal/telemetry"
)

// Defaults of Config.
const (
	DefaultMaxTunnels        = 2000
	DefaultMaxTunnelsPerPeer = 4
	DefaultMaxCallsPerTunnel = 1000
	DefaultHalfOpenTimeout   = 30 * time.Second
	DefaultCallTimeout       = 30 * time.Second
	DefaultIdleTimeout       = 60 * time.Second
	DefaultHelloInterval     = 60 * time.Second
	// DefaultMaxHalfOpenPerSource is recommended, not set: 0 means no bound.
	DefaultMaxHalfOpenPerSource = 8
)

// Config is what a Server needs to know. Zero durations mean the default, as do a zero MaxTunnels, MaxTunnelsPerPeer and
// MaxCallsPerTunnel.
type Config struct {
	// HostName, Vendor and FirmwareRevision are shown to peers. HostName may not be empty on the wire: it becomes "lns".
	HostName, Vendor string
	FirmwareRevision uint16

	// Log gets protocol steps at Debug and troubles of the server itself at Warn. nil discards.
	Log *slog.Logger
	// Faults is told of panics; nil: only Log is.
	Faults *telemetry.Faults
	// Rand is where challenges come from; nil is crypto/rand.
	Rand io.Reader

	// MaxTunnels bounds the tunnels of the Server; half as many more may only acknowledge.
	MaxTunnels int
	// MaxTunnelsPerPeer bounds the open tunnels of one Peer.
	MaxTunnelsPerPeer int
	// MaxCallsPerTunnel bounds the calls of one tunnel, where TunnelAnswer.MaxCalls doesn't.
	MaxCallsPerTunnel int
	// MaxHalfOpenPerSource bounds the tunnels of one plain source address that are not established yet; 0 is no bound. An
	// IPv6 source is its /64.
	MaxHalfOpenPerSource int

	// HalfOpenTimeout is how long a tunnel may take from its SCCRQ to its SCCCN.
	HalfOpenTimeout time.Duration
	// CallTimeout is how long a call may take from its ICRQ to its ICCN.
	CallTimeout time.Duration
	// IdleTimeout is how long an established tunnel may be without a call before we stop it.
	IdleTimeout time.Duration
	// HelloInterval is the silence after which we send HELLO, RFC 2661 section 5.5.
	HelloInterval time.Duration
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.HostName == "" {
		c.HostName = "lns"
	}
	for _, n := range []struct {
		field *int
		value int
	}{
		{&c.MaxTunnels, DefaultMaxTunnels},
		{&c.MaxTunnelsPerPeer, DefaultMaxTunnelsPerPeer},
		{&c.MaxCallsPerTunnel, DefaultMaxCallsPerTunnel},
	} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HalfOpenTimeout, DefaultHalfOpenTimeout},
		{&c.CallTimeout, DefaultCallTimeout},
		{&c.IdleTimeout, DefaultIdleTimeout},
		{&c.HelloInterval, DefaultHelloInterval},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}
