//go:build interop && interop_long

package flood

import "time"

// The full form.
const (
	floodTime = 20 * time.Second // of each flood
	floodRate = 60_000           // packets a second
	samples   = 40               // log-ins of each kind before the floods
)
