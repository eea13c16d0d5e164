package ppp

import (
	"crypto/rand"
	"time"

	"concentrator/internal/ppp/automaton"
	"concentrator/internal/tenant"
)

// Defaults of Config, with the values of RFC 1661 section 4.6.
const (
	defaultMRU             = 1400
	defaultRestartTimer    = 3 * time.Second
	defaultMaxConfigure    = 10
	defaultMaxTerminate    = 2
	defaultMaxFailure      = 5
	defaultMaxAuthFailures = 3
)

const (
	// firstRestart is how soon the first LCP Configure-Request is repeated: clients whose PPP starts a moment after the
	// tunnel lose it, and would wait a whole restart timer.
	firstRestart = time.Second
	// linger is how long a link that the peer has terminated still answers a repeated Terminate-Request.
	linger = time.Second
	// parting is how long our Terminate-Ack has on its way to a peer that asked to terminate as we did, before the lower layer ends.
	parting = 200 * time.Millisecond
)

func (c Config) withDefaults() Config {
	if c.MRU <= 0 {
		c.MRU = defaultMRU
	}
	if c.RestartTimer <= 0 {
		c.RestartTimer = defaultRestartTimer
	}
	if c.MaxConfigure <= 0 {
		c.MaxConfigure = defaultMaxConfigure
	}
	if c.MaxTerminate <= 0 {
		c.MaxTerminate = defaultMaxTerminate
	}
	if c.MaxFailure <= 0 {
		c.MaxFailure = defaultMaxFailure
	}
	if c.MaxAuthFailures <= 0 {
		c.MaxAuthFailures = defaultMaxAuthFailures
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c
}

// machine is the automaton's part of the configuration. A negotiation may take as long as all its requests twice over.
func (c Config) machine() automaton.Config {
	return automaton.Config{
		Restart:      c.RestartTimer,
		First:        c.RestartTimer,
		Linger:       min(linger, c.RestartTimer),
		Parting:      min(parting, c.RestartTimer),
		Limit:        2 * time.Duration(c.MaxConfigure) * c.RestartTimer,
		MaxConfigure: c.MaxConfigure,
		MaxTerminate: c.MaxTerminate,
		MaxFailure:   c.MaxFailure,
	}
}

// methods are the methods of the list, each once, in order.
func (c Config) methods() []tenant.AuthMethod {
	var out []tenant.AuthMethod
	seen := map[tenant.AuthMethod]bool{}
	for _, m := range c.AuthMethods {
		if _, ok := wireAuth(m); ok && !seen[m] {
			seen[m] = true
			out = append(out, m)
		}
	}
	return out
}
