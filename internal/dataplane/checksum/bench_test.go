package checksum

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// ways are what is compared: turns of each alternate, and the shortest of many counts, so that other work on the machine
// hardly does.
var ways = []struct {
	name string
	run  func(dst, src []byte) uint64
}{
	{"add", func(_, src []byte) uint64 { return Add(0, src) }},
	{"addPortable", func(_, src []byte) uint64 { return addPortable(0, src) }},
	{"copy", Copy},
	{"copyAdd", func(dst, src []byte) uint64 { copy(dst, src); return Add(0, dst) }},
	{"copyPortable", copyPortable},
	{"copyOnly", func(dst, src []byte) uint64 { copy(dst, src); return 0 }},
}

// BenchmarkWays: ns of each for one piece of many that lie one behind the other as in a train, at no alignment.
func BenchmarkWays(b *testing.B) {
	for _, size := range []int{20, 64, 100, 300, 572, 1348, 1400} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			pieces := 60000 / size
			src, dst := make([]byte, 65536), make([]byte, 4096)
			var least [8]time.Duration
			for i := range least {
				least[i] = math.MaxInt64
			}
			sum := uint64(0)
			for b.Loop() {
				for w := range ways {
					start := time.Now()
					for i := range pieces {
						at := 52 + i*size
						sum += ways[w].run(dst[52:52+size], src[at:at+size])
					}
					least[w] = min(least[w], time.Since(start))
				}
			}
			b.ReportMetric(0, "ns/op")
			for w := range ways {
				b.ReportMetric(float64(least[w])/float64(pieces), ways[w].name+"-ns")
			}
			if sum != 0 {
				b.Errorf("sum %x of zeros", sum)
			}
		})
	}
}
