package session

import (
	"sync"
	"sync/atomic"
)

// Bounds on the control messages that may wait for the errand goroutine. Clients repeat what is lost.
const (
	maxPeerControls  = 32   // of one IPsec peer
	maxPlainControls = 1024 // of all that comes to a listener outside IPsec, for tunnels that there are
	maxPlainRequests = 256  // of all that comes so and asks for a new one
)

// errands is what shards leave to be done, in order, by one goroutine that may wait: a shard's thread must not. What
// push takes is never lost, and its callers see to it that there is little of it.
type errands struct {
	mu   sync.Mutex
	list []func()
	some chan struct{} // holds a token when list is not empty
}

func newErrands() *errands { return &errands{some: make(chan struct{}, 1)} }

// push leaves f to be done. It never blocks.
func (e *errands) push(f func()) {
	e.mu.Lock()
	e.list = append(e.list, f)
	e.mu.Unlock()
	select {
	case e.some <- struct{}{}:
	default:
	}
}

// control is push for what a sender may repeat without end: where most of it wait already, as waiting counts them, it is
// dropped, and the answer is false.
func (e *errands) control(waiting *atomic.Int32, most int32, f func()) bool {
	if waiting.Add(1) > most {
		waiting.Add(-1)
		return false
	}
	e.push(func() {
		waiting.Add(-1)
		f()
	})
	return true
}

// run does the errands until done is closed. One that panics is over: by tells of it.
func (e *errands) run(done <-chan struct{}, by func(do func()) bool) {
	for {
		select {
		case <-done:
			return
		case <-e.some:
		}
		e.mu.Lock()
		list := e.list
		e.list = nil
		e.mu.Unlock()
		for _, f := range list {
			by(f)
		}
	}
}
