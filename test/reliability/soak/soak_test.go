//go:build interop

package soak

import (
	"testing"
	"time"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// TestShort holds sixty sessions for some seconds in which all happens that happens in an hour.
func TestShort(t *testing.T) {
	Soak{
		Protocols: "PPTP,L2TP_IPSEC", Clients: 60, Duration: 10 * time.Second, Churn: 8, Rebind: 4, Rekey: 4, Ping: 4, IKE: 8 * time.Second, ESP: 5 * time.Second,
		Warm: time.Second, Rapid: 20, Every: time.Second,
	}.Run(t, "soak-short.csv")
}
