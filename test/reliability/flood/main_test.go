//go:build interop

package flood

import (
	"runtime"
	"testing"

	"concentrator/test/reliability/lab"
)

// threads is how many things of this process may be busy at once: floods and traffic have threads of their own, and without
// spare ones the scheduler would take a thread away from a loop that never waits.
const threads = 8

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(threads)
	lab.Main(m)
}
