package accounting

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause = time.Second
	// maxPause bounds the pause of a sink that fails, and of a record of which nobody knows that it alone is at fault.
	maxPause = time.Minute
	// maxDislike bounds the pause of a record that a sink refuses while it takes others: each try of it costs one of the
	// tenant's places for as long as the sink's timeouts are.
	maxDislike = time.Hour
	// enoughDislike is how often the sink must have failed a record, and taken another each time between, before that
	// record no longer counts.
	enoughDislike = 3
	// failingAfter is how many failures without one success make a sink failing.
	failingAfter = 3
	// outOfTurn: while a sink fails, every so many-th try is of a record that an On or Off holds up.
	outOfTurn = 4
)

// doubled is firstPause doubled n-1 times, at most most.
func doubled(n int, most time.Duration) time.Duration {
	if n > 30 {
		return most
	}
	return min(firstPause<<max(n-1, 0), most)
}

// jittered spreads d by a quarter either way, so that tenants that share a server don't come back at one moment.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // spreads load, guards nothing
}
