package pptp

import (
	"log/slog"
	"time"

	"concentrator/internal/telemetry"
)

// Defaults of Config.
const (
	DefaultMaxConns         = 2000
	DefaultMaxIdlePerSource = 8
	DefaultSetupTimeout     = 60 * time.Second // TCP sends what is lost again after 1 or 3, 3 or 9, 7 or 21, 15 or 45 s
	DefaultMessageTimeout   = 10 * time.Second
	DefaultCallTimeout      = 60 * time.Second
	DefaultEchoInterval     = 60 * time.Second
	DefaultEchoTimeout      = 60 * time.Second
	DefaultLingerTimeout    = 2 * time.Second
	DefaultStopTimeout      = 5 * time.Second
	DefaultWriteTimeout     = 10 * time.Second
)

// Config is what a Server needs to know. Zero durations and a zero MaxConns mean the default.
type Config struct {
	// HostName and Vendor are shown to clients, at most 64 octets each. FirmwareRevision is shown with them.
	HostName, Vendor string
	FirmwareRevision uint16

	// Log gets protocol steps at Debug and troubles of the server itself at Warn and Error. nil discards.
	Log *slog.Logger
	// Faults is told of panics; nil: only Log is.
	Faults *telemetry.Faults

	// MaxConns bounds the open TCP connections of all listeners together; what comes above is closed at once.
	MaxConns int
	// MaxIdlePerSource bounds the connections of one source address that have not had a call connected yet. 0 is no
	// bound; DefaultMaxIdlePerSource is recommended. An IPv6 source is its /64.
	MaxIdlePerSource int

	// SetupTimeout is how long a connection may take to send its Start-Control-Connection-Request. RFC 2637 section
	// 3.1.4 allows 60 s.
	SetupTimeout time.Duration
	// MessageTimeout is how long a message may take from its first octet to its last.
	MessageTimeout time.Duration
	// CallTimeout is how long a started connection may go without a first connected call.
	CallTimeout time.Duration
	// EchoInterval is the silence after which we send an Echo-Request, EchoTimeout the further silence after which the
	// peer counts as gone. RFC 2637 section 3.1.4 names 60 s for both.
	EchoInterval, EchoTimeout time.Duration
	// LingerTimeout is how long the client has to stop the connection, or to place another call, after its last call
	// has ended; then we stop it.
	LingerTimeout time.Duration
	// StopTimeout is how long we wait for a Stop-Control-Connection-Reply before closing.
	StopTimeout time.Duration
	// WriteTimeout is how long one write may wait for a peer that does not read.
	WriteTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.SetupTimeout, DefaultSetupTimeout},
		{&c.MessageTimeout, DefaultMessageTimeout},
		{&c.CallTimeout, DefaultCallTimeout},
		{&c.EchoInterval, DefaultEchoInterval},
		{&c.EchoTimeout, DefaultEchoTimeout},
		{&c.LingerTimeout, DefaultLingerTimeout},
		{&c.StopTimeout, DefaultStopTimeout},
		{&c.WriteTimeout, DefaultWriteTimeout},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}
