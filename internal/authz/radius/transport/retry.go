package transport

import (
	"math/rand/v2"
	"time"
)

// jitter is the part of a timeout that is random. It spreads what would otherwise be a crowd of requests that all
// retransmit in the same moment after a pause of the server (RFC 5080 section 2.2.1, which has ±10 %).
const jitter = 0.2

// shorten returns up to a fifth less than d, with random in [0, 1). It never exceeds d, so that Tries × Timeout stays the
// bound that an operator reads in the configuration.
func shorten(d time.Duration, random float64) time.Duration {
	return d - time.Duration(jitter*random*float64(d))
}

// random is in [0, 1).
func random() float64 { return rand.Float64() } //nolint:gosec // spreads load, protects nothing

// Bounds of the pause after a socket could not be opened, or broke before anything came in on it.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// backoff doubles the pause last.
func backoff(last time.Duration) time.Duration {
	return min(max(2*last, minBackoff), maxBackoff)
}
