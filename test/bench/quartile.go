package main

import (
	"math"
	"slices"
)

// spread is the median of several rounds with its quartiles.
type spread struct {
	q1, median, q3 float64
}

// spreadOf sorts a copy of the rounds; between two of them it takes the straight line. No rounds: zero.
func spreadOf(rounds []float64) spread {
	s := slices.Sorted(slices.Values(rounds))
	at := func(part float64) float64 {
		if len(s) == 0 {
			return 0
		}
		place := part * float64(len(s)-1)
		low := int(place)
		high := min(low+1, len(s)-1)
		return s[low] + (s[high]-s[low])*(place-float64(low))
	}
	return spread{at(0.25), at(0.5), at(0.75)}
}

// rounded cuts what nobody could measure: tenths of a nanosecond, thousandths of a ratio.
func rounded(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}
