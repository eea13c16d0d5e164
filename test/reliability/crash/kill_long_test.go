//go:build interop && interop_long

package crash

import "testing"

const longKills = 100

// TestHundredKills is TestKills in full.
func TestHundredKills(t *testing.T) { kills(t, longKills) }
