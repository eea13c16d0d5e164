package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestBuckets: each value lies in its bucket, the buckets follow each other without a gap, and none is wider than a 64th.
func TestBuckets(t *testing.T) {
	for i := 1; i < buckets; i++ {
		low, high := upper(i-1)+1, upper(i)
		if index(uint64(low)) != i || index(uint64(high)) != i {
			t.Fatalf("bucket %d is %d to %d, found at %d and %d", i, low, high, index(uint64(low)), index(uint64(high)))
		}
		if (high-low)*sub > low {
			t.Fatalf("bucket %d from %d is %d wide", i, low, high-low)
		}
	}
	if longest := upper(buckets - 1); longest < 4*time.Hour {
		t.Errorf("the longest is %v", longest)
	}
	if i := index(math.MaxInt64); i != buckets-1 {
		t.Errorf("the longest of all is in bucket %d", i)
	}
}

// TestQuantiles compares with sorting.
func TestQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 1000, 20_000} {
		var one, two Histogram
		var all []time.Duration
		for i := range n {
			d := time.Duration(math.Exp(rng.Float64()*25)) * time.Nanosecond
			all = append(all, d)
			if i%3 == 0 {
				one.Add(d)
			} else {
				two.Add(d)
			}
		}
		one.Merge(&two)
		slices.Sort(all)
		if one.Count() != uint64(n) || one.Max() != all[n-1] {
			t.Errorf("%d: count %d, max %v, want %v", n, one.Count(), one.Max(), all[n-1])
		}
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			want := all[max(int(math.Ceil(q*float64(n)))-1, 0)]
			if got := one.Quantile(q); got < want || got > want+want/sub+1 {
				t.Errorf("%d: quantile %v is %v, want %v", n, q, got, want)
			}
		}
	}
}

func TestEmptyAndNegative(t *testing.T) {
	var h, none Histogram
	h.Merge(&none)
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Errorf("empty: %v %v %d", h.Quantile(0.5), h.Max(), h.Count())
	}
	h.Add(-time.Second)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Errorf("negative: %v, %d", h.Quantile(1), h.Count())
	}
}

func TestNoAllocation(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Add(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
