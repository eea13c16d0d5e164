package dataplane

import (
	"testing"
	"time"
)

// TestModeration: a shard pauses for a fast stream of single packets, and neither for a slow one, nor for one that comes in
// large batches, nor after the stream has ended.
func TestModeration(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval time.Duration // between rounds
		batch    uint64        // packets of a round
		want     bool
	}{
		{"pings", 10 * time.Millisecond, 1, false},
		{"10 000 a second", 100 * time.Microsecond, 1, false},
		{"60 000 a second", 16 * time.Microsecond, 1, true},
		{"60 000 a second, moderated", 216 * time.Microsecond, 13, true},
		{"300 000 a second in small batches", 10 * time.Microsecond, 3, true},
		{"300 000 a second, moderated", 120 * time.Microsecond, 36, true},
		{"300 000 a second in full batches", 200 * time.Microsecond, 64, false},
		{"trains", 80 * time.Microsecond, 44, false},
		{"bursts with rests", 5 * time.Millisecond, 40, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m moderation
			now, read := int64(0), uint64(0)
			paused := 0
			const rounds = 1000
			for range rounds {
				now += int64(tt.interval)
				read += tt.batch
				switch pause := m.due(now, read); {
				case pause < 0 || pause > maxPause:
					t.Fatalf("pauses for %d ns", pause)
				case pause > 0:
					paused++
				}
			}
			if tt.want && paused < rounds*8/10 || !tt.want && paused > 0 {
				t.Errorf("paused %d times of %d", paused, rounds)
			}
			if m.due(now+int64(time.Second), read+1) != 0 {
				t.Error("pauses for the first packet after a second of silence")
			}
		})
	}
}
