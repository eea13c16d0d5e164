//go:build interop && interop_long

package soak

import (
	"testing"
	"time"
)

// TestHour holds five hundred sessions for an hour. The lists of the last log-ins and changes are full before it begins.
func TestHour(t *testing.T) {
	Soak{
		Protocols: "MIX", Clients: 500, Duration: time.Hour, Churn: 2, Rebind: 2, Rekey: 2, Ping: 1, IKE: 10 * time.Minute, ESP: 5 * time.Minute,
		Warm: 4 * time.Minute, Rapid: 80, Full: true, Linger: 70 * time.Second, Every: time.Minute,
	}.Run(t, "soak.csv")
}
