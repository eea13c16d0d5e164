package multibuf

import (
	"fmt"
	"testing"
	"time"
)

// compare runs a batch by the machine's kernels and by the standard library in turns and reports the shortest times of
// each, per packet, and their ratio: whatever else the machine does disturbs neither, as a batch takes microseconds.
func compare(b *testing.B, name string, packets int, batch func()) {
	b.Run(fmt.Sprintf("%s/%dpackets", name, packets), func(b *testing.B) {
		best := [2]time.Duration{1 << 62, 1 << 62}
		for b.Loop() {
			for i, k := range []*kernels{machine, std} {
				undo := replace(k)
				start := time.Now()
				batch()
				best[i] = min(best[i], time.Since(start))
				undo()
			}
		}
		perPacket := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(packets) }
		b.ReportMetric(0, "ns/op") // of both together: of no use
		b.ReportMetric(perPacket(best[0]), "ns/packet")
		b.ReportMetric(perPacket(best[1]), "std-ns/packet")
		b.ReportMetric(float64(best[1])/float64(best[0]), "times-faster")
	})
}

// The benchmarks' batches: full, and such that lanes are left empty.
var sizes = []int{64, 3, 2, 1}

func BenchmarkCBC(b *testing.B) {
	x := NewScratch()
	for _, w := range ways {
		for _, keyLen := range []int{16, 32} {
			name := fmt.Sprintf("%s%d", w.name, keyLen*8)
			for _, packets := range sizes {
				ops, _ := load(b, packets, keyLen, SHA1, 1408)
				compare(b, name, packets, func() { w.run(ops, x) })
			}
			ops, _ := load(b, 64, keyLen, SHA1, imix...)
			compare(b, name+"imix", 64, func() { w.run(ops, x) })
		}
	}
}

// BenchmarkSumHMAC is of packets with ESP's header and IV before 1408 octets of ciphertext.
func BenchmarkSumHMAC(b *testing.B) {
	x := NewScratch()
	for h := SHA1; h <= SHA256; h++ {
		name := []string{SHA1: "SHA1", SHA256: "SHA256"}[h]
		for _, packets := range sizes {
			_, ops := load(b, packets, 16, h, 8+16+1408)
			compare(b, name, packets, func() { SumHMAC(ops, x) })
		}
		_, ops := load(b, 64, 16, h, imix...)
		compare(b, name+"imix", 64, func() { SumHMAC(ops, x) })
	}
}
