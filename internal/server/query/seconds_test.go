package query

import (
	"strings"
	"testing"
	"time"
)

func TestParseSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"20s": 20 * time.Second, "0s": 0, "0.5s": 500 * time.Millisecond, "-1.5s": -1500 * time.Millisecond, "3600s": time.Hour,
	} {
		if got, err := ParseSeconds(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"500ms": "write 0.5s", "2m": "write 120s", "1h30m": "write 5400s", "1m5s": "write 65s", "250us": "write 0.00025s",
		"20": "such as 20s", "": "such as 20s", "soon": "such as 20s", "s": "such as 20s",
	} {
		if _, err := ParseSeconds(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
