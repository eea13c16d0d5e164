package radius

import (
	"time"
)

// jitter is the part of a timeout that is random. It spreads what would otherwise be a crowd of logins that all
// retransmit in the same moment after a pause of the server (RFC 5080 section 2.2.1, which has ±10 %).
const jitter = 0.2

// wait returns how long to wait for a reply after one datagram. random is in [0, 1). It never exceeds timeout, so that
// Tries × Timeout stays the bound that an operator reads in the configuration.
func wait(timeout time.Duration, random float64) time.Duration {
	return timeout - time.Duration(jitter*random*float64(timeout))
}
