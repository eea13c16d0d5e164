package telemetry

import (
	"sync/atomic"
	"time"
)

// Histogram counts durations where they are measured, without a lock or an allocation; Observe shows it. The zero value is
// empty. It is safe for concurrent use.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is how the durations are spread so far. One that is added meanwhile may be missing.
func (h *Histogram) Snapshot() (d Distribution) {
	d.Sum = time.Duration(h.sum.Load())
	for i := range h.counts {
		d.counts[i] = h.counts[i].Load()
	}
	return d
}

// Distribution is how many durations of each size there were. It is a value: copies share nothing.
type Distribution struct {
	counts [len(bounds) + 1]uint64
	Sum    time.Duration
}

// Plus adds up two distributions.
func (d Distribution) Plus(o Distribution) Distribution {
	for i, n := range o.counts {
		d.counts[i] += n
	}
	d.Sum += o.Sum
	return d
}

// Count is how many durations there were.
func (d Distribution) Count() (n uint64) {
	for _, c := range d.counts {
		n += c
	}
	return n
}

// cumulative is how many there were up to each bound, as Prometheus wants it.
func (d Distribution) cumulative() map[float64]uint64 {
	out := make(map[float64]uint64, len(bounds))
	var n uint64
	for i, b := range bounds {
		n += d.counts[i]
		out[b.Seconds()] = n
	}
	return out
}
