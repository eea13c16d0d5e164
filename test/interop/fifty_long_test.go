//go:build interop && interop_long

package interop

import "testing"

// TestFiftyTenantsAllPorts is TestFiftyTenants with every port there is.
func TestFiftyTenantsAllPorts(t *testing.T) {
	checkFifty(t, "1-65535")
}
