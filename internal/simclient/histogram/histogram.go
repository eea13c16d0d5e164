// Package histogram counts durations in fixed memory and tells their quantiles, for what the load generator measures.
//
// It starts no goroutine and has no lock: a Histogram belongs to whoever adds to it, and Merge brings several together.
package histogram

import (
	"math/bits"
	"time"
)

const (
	// subBits is how many bits of a value tell its bucket apart from its neighbours: 64 buckets from one power of two to the
	// next, so that a quantile is wrong by at most one part in 64.
	subBits = 6
	sub     = 1 << subBits
	// octaves reach from 1 ns to more than 4 hours; what is longer counts as the longest.
	octaves = 38
	buckets = sub + octaves*sub
)

// Histogram counts durations: exactly up to 128 ns, by log-linear buckets above that. The zero value is empty. It is about
// 20 KiB, and adding allocates nothing.
type Histogram struct {
	counts   [buckets]uint64
	n        uint64
	min, max time.Duration
}

// Add counts one duration; one below 0 counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.counts[index(uint64(d))]++
}

// index is the bucket of a value.
func index(v uint64) int {
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return min(shift*sub+int(v>>shift), buckets-1)
}

// upper is the largest value of a bucket.
func upper(i int) time.Duration {
	if i < sub {
		return time.Duration(i)
	}
	shift := i/sub - 1
	return time.Duration((uint64(i%sub)+sub+1)<<shift - 1)
}

// Count is how many durations were added.
func (h *Histogram) Count() uint64 { return h.n }

// Max is the longest; 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that a part q of all does not exceed, 0 to 1, rounded up to its bucket's end; 0 if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	want := uint64(q*float64(h.n) + 0.999999)
	if want <= 1 {
		return h.min
	}
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen >= want {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Merge adds all that o has counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.n += o.n
	for i, c := range o.counts {
		h.counts[i] += c
	}
}
