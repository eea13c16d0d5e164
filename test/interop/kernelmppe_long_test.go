//go:build interop && interop_long

package interop

import "testing"

// TestKernelMPPEWrapped is TestKernelMPPE with more packets than there are coherency counts.
func TestKernelMPPEWrapped(t *testing.T) {
	t.Parallel()
	checkKernelMPPE(t, 5000)
}
