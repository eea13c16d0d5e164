package accounting

import (
	"cmp"
	"time"
)

const (
	// chunkCost and idCost are what one session takes of a checkpoint item at most, in octets: the counters and the time,
	// and each octet of its ID (as \u003c).
	chunkCost = 240
	idCost    = 6
	// chunksPerCommit is how many checkpoint items go into one commit.
	chunksPerCommit = 32
)

// Checkpoint makes durable what sessions have carried by now, for their Stops should the process die: without one, that
// would be what the last Interim said. Sessions that are missing keep what was last known of them; those that are not
// known, or have ended, are passed over. It writes no record. It costs two commits for some 40 000 live sessions.
//
// Of several calls at once, one begins when the other is done.
func (l *Ledger) Checkpoint(sessions []Live) error {
	l.checkpoint <- struct{}{}
	defer func() { <-l.checkpoint }()
	now := l.now()
	old := l.chunksEnd
	var puts []Item
	for i, form := range l.chunk(sessions, now) {
		value, err := seal(&form)
		if err != nil {
			return err
		}
		puts = append(puts, Item{Key: checkpointKey(old + i), Value: value})
	}
	// All new items first: whatever a crash leaves of the old ones, of each session the latest counts.
	for len(puts) > 0 {
		n := min(len(puts), chunksPerCommit)
		l.chunksEnd += n // even if it fails: the storage may have them after all
		if err := l.write(puts[:n], nil); err != nil {
			return err
		}
		puts = puts[n:]
	}
	l.checkpointed(sessions, now)
	for l.chunksBegin < old {
		n := min(old-l.chunksBegin, chunksPerCommit)
		var keys []string
		for i := range n {
			keys = append(keys, checkpointKey(l.chunksBegin+i))
		}
		if err := l.write(nil, keys); err != nil {
			return err
		}
		l.chunksBegin += n
	}
	return nil
}

// write commits puts and deletes that depend on nothing.
func (l *Ledger) write(puts []Item, deletes []string) error {
	return l.commit(&request{cost: len(puts) + len(deletes), prepare: func(b *batch) (func(), error) {
		b.puts, b.deletes = append(b.puts, puts...), append(b.deletes, deletes...)
		return func() {}, nil
	}})
}

// checkpointed takes over what a checkpoint has stored.
func (l *Ledger) checkpointed(sessions []Live, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range sessions {
		if live := l.live[s.ID]; live != nil {
			live.learn(s.Counters, now, live.session.age(now))
		}
	}
}

// chunk lays out what is known of all live sessions, with what is new of some, in items to be stored.
func (l *Ledger) chunk(sessions []Live, now time.Time) (chunks []checkpointForm) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := make(map[string]Counters, len(sessions))
	for _, s := range sessions {
		fresh[s.ID] = s.Counters
	}
	room := 0
	for id, live := range l.live {
		known := liveSession{counters: live.counters, at: live.at, age: live.age}
		if c, ok := fresh[id]; ok {
			known.learn(c, now, live.session.age(now))
		}
		e := checkpointEntry{ID: text(id), Counters: countersForm(known.counters), Time: known.at, Age: known.age}
		cost := chunkCost + idCost*len(id)
		if room -= cost; room < 0 {
			chunks = append(chunks, checkpointForm{})
			room = maxValue - chunkCost - cost
		}
		last := &chunks[len(chunks)-1]
		last.Sessions = append(last.Sessions, e)
	}
	return chunks
}

// learn takes over what was known of the session at the time at, at which it had that age, if that is more than what is known
// already. Counters and the age say what is later, since they only grow; the clock may have been set back.
func (s *liveSession) learn(c Counters, at time.Time, age time.Duration) {
	switch order := cmp.Or(
		cmp.Compare(c.InPackets+c.OutPackets, s.counters.InPackets+s.counters.OutPackets),
		cmp.Compare(c.InBytes+c.OutBytes, s.counters.InBytes+s.counters.OutBytes),
	); {
	case order > 0:
		s.counters, s.at, s.age = c, at, age
	case order == 0 && age > s.age:
		s.at, s.age = at, age
	}
}
