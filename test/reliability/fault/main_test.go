//go:build interop

// Package fault takes away from a daemon what it stands on.
package fault

import (
	"testing"

	"concentrator/test/reliability/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
