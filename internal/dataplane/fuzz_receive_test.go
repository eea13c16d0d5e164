package dataplane

import (
	"runtime"
	"testing"

	"concentrator/internal/corpus"
)

// FuzzReceive gives shards any octets at any face in any state of sessions: garbage, and packets that clients have sealed,
// changed, cut, repeated and out of order, at the right shard and at another, with what the control side does in between.
// Its programs are those of step. After each round nothing is in hand but what waits by right, and memory has not grown;
// what came is accounted for; nobody's counters move but those of who has sent; nothing leaves for who is gone, nothing in
// clear that must not be, nothing to another; what enters a network is from a session of it; what was sealed passes once. At
// the end nothing is left.
func FuzzReceive(f *testing.F) {
	corpus.Add(f)
	for _, seed := range receiveSeeds() {
		f.Add(seed)
	}
	before := runtime.GOMAXPROCS(1) // the control side's turn comes at once
	f.Cleanup(func() { runtime.GOMAXPROCS(before) })
	var w *fuzzWorld
	f.Fuzz(func(t *testing.T, program []byte) {
		if w == nil || w.running {
			w = newFuzzWorld(t) // the last program has failed
		}
		w.begin(t, program)
		for range maxFuzzSteps {
			if len(w.program) == 0 {
				break
			}
			w.step()
		}
		w.end()
	})
}
