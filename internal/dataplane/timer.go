package dataplane

// time sees to it that runTimers looks at c.
func (s *shard) time(c *call) {
	due, any := c.deadline()
	if !any {
		return
	}
	due = max(due, s.now+timerGrain)
	if len(s.timed) == 0 || due < s.nextDue {
		s.nextDue = due
	}
	if !c.timed {
		c.timed = true
		s.timed = append(s.timed, c)
	}
}

func (c *call) deadline() (int64, bool) {
	hold, holds := c.gre.Deadline()
	ack, owes := c.gre.AckDeadline()
	switch {
	case holds && owes:
		return min(hold, ack), true
	case holds:
		return hold, true
	}
	return ack, owes
}

func (s *shard) untime(c *call) {
	c.timed = false
	for i, t := range s.timed {
		if t == c {
			last := len(s.timed) - 1
			s.timed[i], s.timed[last] = s.timed[last], nil
			s.timed = s.timed[:last]
			return
		}
	}
}

// runTimers gives up what reorder windows have waited for long enough, and acknowledges what nothing else has.
func (s *shard) runTimers() {
	if len(s.timed) == 0 || s.now < s.nextDue {
		return
	}
	next := int64(0)
	for i := 0; i < len(s.timed); {
		c := s.timed[i]
		s.at = blame{call: c}
		if due, any := c.gre.Deadline(); any && due <= s.now && c.gre.Expire(s.now) {
			s.deliverHeld(c)
		}
		if c.gre.AckDue(s.now) {
			s.acknowledge(c)
		}
		due, any := c.deadline()
		if !any {
			s.untime(c) // puts another into place i
			continue
		}
		if i == 0 || due < next {
			next = due
		}
		i++
	}
	s.at = blame{}
	s.nextDue = max(next, s.now+timerGrain)
}
