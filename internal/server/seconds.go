package server

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// seconds spells a duration as the API does.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// parseSeconds reads a duration as the API spells it: seconds and nothing else, as in 20s or 0.5s. The error says what would be
// right, also for one in another unit.
func parseSeconds(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	number, ok := strings.CutSuffix(s, "s")
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration in seconds such as 20s", s)
	case ok && strings.Trim(number, "0123456789.-") == "":
		return d, nil
	}
	return 0, fmt.Errorf("%q is not in seconds; write %s", s, seconds(d))
}

var (
	badDuration = regexp.MustCompile(`invalid google\.protobuf\.Duration value "([^"]*)"`)
	badTime     = regexp.MustCompile(`invalid google\.protobuf\.Timestamp value "([^"]*)"`)
)

// explainJSON adds to the gateway's words about a duration or a time that it can't read what would be right.
func explainJSON(text string) string {
	if m := badDuration.FindStringSubmatch(strings.ReplaceAll(text, "\u00a0", " ")); m != nil {
		if _, err := parseSeconds(m[1]); err != nil {
			return err.Error()
		}
	}
	if m := badTime.FindStringSubmatch(strings.ReplaceAll(text, "\u00a0", " ")); m != nil {
		return fmt.Sprintf("%q is not a time such as 2030-01-31T00:00:00Z", m[1])
	}
	return text
}
