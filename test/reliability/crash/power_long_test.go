//go:build interop && interop_long

package crash

import "testing"

const longSteps = 80

// TestEveryPowerCut is TestPowerCuts with more writes, and a power cut after every flush.
func TestEveryPowerCut(t *testing.T) { powerCuts(t, longSteps, 0) }
