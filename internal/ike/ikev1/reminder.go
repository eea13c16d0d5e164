package ikev1

import "time"

// reminders are the times between an answer of phase 1 and its repetitions.
var reminders = [...]time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}

// reminder repeats our answer as responder until the peer goes on, RFC 2408 section 5.1: of two messages that a bad line may
// lose, a peer that repeats its own by itself, seconds later each time, needs both. It is only for peers whose address is
// proved, as messages 4 and 6 are, and for a few repetitions, so it aims nothing at anybody. The zero reminder has nothing
// to repeat.
type reminder struct {
	pieces [][]byte
	due    time.Time
	count  int
}

// start remembers what has just been sent.
func (r *reminder) start(now time.Time, pieces [][]byte) {
	*r = reminder{pieces: pieces, due: now.Add(reminders[0])}
}

func (r *reminder) stop() { *r = reminder{} }

// tick says whether it is time to send the pieces again.
func (r *reminder) tick(now time.Time) bool {
	if r.due.IsZero() || now.Before(r.due) {
		return false
	}
	if r.count++; r.count < len(reminders) {
		r.due = now.Add(reminders[r.count])
	} else {
		r.due = time.Time{}
	}
	return true
}
