//go:build interop

// Package privilege shows what the daemon may still do once it is ready, and that it can do its work with that: as root, and as
// another user.
package privilege

import (
	"testing"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
