package ikev1

import (
	"runtime"
	"time"
)

// patience is how long a stranger's message may wait for a worker. Then it is as if it had been lost: whoever has sent it sends it
// again, and what a flood has left behind is done with.
const patience = time.Second

// strangersTurn is how often strangers have the turn although others wait: each so manieth time.
const strangersTurn = 8

// turns is the order in which strands that have something to do get a worker: in turn, but strangers' handshakes behind all
// others, and never all CPUs at once. Their Diffie-Hellman is what anybody can make us do, and takes a thousand times as long as
// what asks for it. It is guarded by Engine.mu.
type turns struct {
	first, later lane
	limit        int // workers that may be busy with strangers
	busy         int // those that are
	taken        int
}

// init leaves a CPU to others. GOMAXPROCS is more than that: the shards' threads are counted in it.
func (t *turns) init(workers int) {
	t.limit = max(1, min(workers, runtime.NumCPU(), runtime.GOMAXPROCS(0))-1)
}

// put gives a strand its place.
func (t *turns) put(s *strand) {
	if s.stranger {
		t.later.put(s)
	} else {
		t.first.put(s)
	}
}

// take returns the strand whose turn it is; nil: there is none. done must follow.
func (t *turns) take() *strand {
	may := t.later.len() > 0 && t.busy < t.limit
	t.taken++
	switch {
	case may && (t.first.len() == 0 || t.taken%strangersTurn == 0):
		t.busy++
		return t.later.take()
	case t.first.len() > 0:
		return t.first.take()
	default:
		return nil
	}
}

// done says that a worker has done what there was to do for a strand.
func (t *turns) done(s *strand) {
	if s.stranger {
		t.busy--
	}
}

// empty says whether no strand waits.
func (t *turns) empty() bool { return t.first.len()+t.later.len() == 0 }

// lane is a queue of strands.
type lane []*strand

func (l lane) len() int       { return len(l) }
func (l *lane) put(s *strand) { *l = append(*l, s) }

func (l *lane) take() *strand {
	s := (*l)[0]
	(*l)[0] = nil
	if *l = (*l)[1:]; len(*l) == 0 {
		*l = nil // or the array would only ever move on
	}
	return s
}
