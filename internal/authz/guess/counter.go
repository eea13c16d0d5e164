package guess

import (
	"math"
	"time"
)

// counter is the failures of one user, source, tenant or pair. The zero value has none.
type counter struct {
	level float64   // as of at
	at    time.Time // when the level was last brought up to date
	until time.Time // no attempt before this; zero: none is held up
}

// drain forgets what time has made of the failures.
func (c *counter) drain(p Policy, now time.Time) {
	if d := now.Sub(c.at); d > 0 && p.Forgive > 0 {
		c.level = max(0, c.level-float64(d)/float64(p.Forgive))
	}
	c.at = now
}

// wait is how long the next attempt must wait; 0: it need not.
func (c *counter) wait(now time.Time) time.Duration { return max(0, c.until.Sub(now)) }

// reserve lets one attempt go on and holds up the others until it has an outcome, or as long as its failure would. It says
// until when; zero where its failure would hold nothing up.
func (c *counter) reserve(p Policy, now time.Time) time.Time {
	c.drain(p, now)
	if d := p.delay(c.level + 1); d > 0 {
		c.until = now.Add(d)
		return c.until
	}
	return time.Time{}
}

// fail counts one failure and says whether it is the first one that holds up.
func (c *counter) fail(p Policy, now time.Time) (began bool) {
	c.drain(p, now)
	before := c.failures()
	c.level = min(p.top(), c.level+1)
	if d := p.delay(c.level); d > 0 {
		if u := now.Add(d); u.After(c.until) {
			c.until = u
		}
	}
	return before < p.Free && c.failures() >= p.Free
}

// giveBack ends the hold-up that a reservation has made, unless somebody else's failure holds up too.
func (c *counter) giveBack(reserved time.Time) {
	if !reserved.IsZero() && c.until.Equal(reserved) {
		c.until = time.Time{}
	}
}

// holds says whether the counter is worth showing: it holds up now, or has and the next failure will again.
func (c *counter) holds(p Policy, now time.Time) bool {
	c.drain(p, now)
	return c.failures() >= p.Free || c.until.After(now)
}

// idle says that nothing is left to remember.
func (c *counter) idle(p Policy, now time.Time) bool {
	c.drain(p, now)
	return c.level == 0 && !c.until.After(now)
}

// failures is the level as a whole number.
func (c *counter) failures() int { return int(math.Ceil(c.level)) }
