//go:build interop

// Package crash kills the daemon at random moments, cuts the power of its disk, fills that disk and has it refuse writes. What
// was acknowledged must be there afterwards, and nothing by half.
package crash

import (
	"fmt"
	"os"
	"testing"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := writer(dir); err != nil {
			fmt.Fprintln(os.Stderr, "writer:", err)
			os.Exit(1)
		}
		return
	}
	lab.Main(m)
}
