package top

import (
	"fmt"
	"strings"
	"time"

	"concentrator/cmd/ctl/env"
)

// segment is one part of a resource name.
func segment(name string, i int) string {
	if parts := strings.Split(name, "/"); i < len(parts) {
		return parts[i]
	}
	return ""
}

// bits shows a rate in bits a second, as in 840k and 1.2M.
func bits(rate float64) string {
	for _, unit := range []string{"", "k", "M", "G"} {
		if rate < 999.5 || unit == "G" {
			if unit == "" || rate >= 99.95 {
				return fmt.Sprintf("%.0f%s", rate, unit)
			}
			return fmt.Sprintf("%.1f%s", rate, unit)
		}
		rate /= 1000
	}
	return ""
}

// number shows a rate of things.
func number(rate float64) string {
	if rate > 0 && rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

// age is how long something lasts, in one or two units.
func age(now, since time.Time) string {
	if d := now.Sub(since); d > 0 {
		return strings.ReplaceAll(env.Span(d), " ", "")
	}
	return "0s"
}
