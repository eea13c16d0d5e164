package traffic

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

// TestSearch: the highest good rate of a way of some capacity is found, wherever the search begins.
func TestSearch(t *testing.T) {
	for _, tt := range []struct{ begin, capacity, generator, target, want float64 }{
		{0, 100_000, 1e9, 0, 100_000},
		{1000, 100_000, 1e9, 0, 100_000},
		{1e6, 100_000, 1e9, 0, 100_000},
		{0, 100_000, 1e9, 0.1, 100_000 / 0.9},
		{1000, 1e9, 50_000, 0, 50_000 / leastOffered},
	} {
		runs := 0
		r, err := search(t.Context(), Config{PPS: tt.begin}, tt.target, func(_ context.Context, c Config) (*Report, error) {
			runs++
			sent := min(c.PPS, tt.generator)
			if c.PPS == 0 {
				sent = 0.8 * tt.capacity
			}
			got := min(sent, tt.capacity)
			return &Report{DurationS: 1, Up: &Stream{Sent: uint64(sent), Received: uint64(got), Lost: uint64(sent - got), PPS: got}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var best float64
		for _, trial := range r.Trials {
			if trial.OK {
				best = max(best, trial.PPS)
			}
		}
		if math.Abs(best/tt.want-1) > 0.03 || runs > maxTrials+1 || r.Up.LossRatio() > tt.target {
			t.Errorf("%+v: %.0f after %d runs", tt, best, runs)
		}
	}
}

func TestSearchInVain(t *testing.T) {
	all := func(_ context.Context, c Config) (*Report, error) {
		n := uint64(c.PPS)
		return &Report{DurationS: 1, Down: &Stream{Sent: n, Lost: n}}, nil
	}
	if _, err := search(t.Context(), Config{}, 0, all); !errors.Is(err, ErrNoRate) {
		t.Error(err)
	}
	if _, err := search(t.Context(), Config{PPS: 1000}, 0, all); !errors.Is(err, ErrNoRate) {
		t.Error(err)
	}
	if _, err := Search(t.Context(), Config{}, 0); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if _, err := Search(t.Context(), Config{Duration: time.Second}, -1); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
