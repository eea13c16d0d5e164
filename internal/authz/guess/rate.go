package guess

import "time"

// bucket bounds a tenant's log-ins a second. It holds what two seconds bring, and users from sources that are new for them
// leave the lower half of it to the others: a flood of guesses takes no log-in from who is known.
type bucket struct {
	tokens float64
	at     time.Time
	rate   int // that tokens was made with
}

// take takes one token, or says how long it takes until there is one.
func (b *bucket) take(rate int, isKnown bool, now time.Time) (wait time.Duration) {
	full := 2 * float64(rate)
	if b.rate != rate {
		b.tokens, b.rate, b.at = full, rate, now
	}
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(full, b.tokens+d.Seconds()*float64(rate))
	}
	b.at = now
	need := 1.0
	if !isKnown {
		need += float64(rate)
	}
	if b.tokens >= need {
		b.tokens--
		return 0
	}
	return max(1, time.Duration((need-b.tokens)/float64(rate)*float64(time.Second)))
}
