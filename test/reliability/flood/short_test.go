//go:build interop && !interop_long

package flood

import "time"

// The short form.
const (
	floodTime = 1200 * time.Millisecond // of each flood
	floodRate = 20_000                  // packets a second
	samples   = 8                       // log-ins of each kind before the floods
)
