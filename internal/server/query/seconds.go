package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Seconds spells a duration as the API does.
func Seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// ParseSeconds reads a duration as the API spells it: seconds and nothing else, as in 20s or 0.5s. The error says what would be
// right, also for one in another unit.
func ParseSeconds(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	number, ok := strings.CutSuffix(s, "s")
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration in seconds such as 20s", s)
	case ok && strings.Trim(number, "0123456789.-") == "":
		return d, nil
	}
	return 0, fmt.Errorf("%q is not in seconds; write %s", s, Seconds(d))
}
