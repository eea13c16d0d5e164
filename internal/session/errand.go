package session

import "sync"

// maxControls is how many control messages may wait for the errand goroutine. Clients repeat what is lost.
const maxControls = 4096

// errands is what shards leave to be done, in order, by one goroutine that may wait: a shard's thread must not. What
// push takes is never lost, and its callers see to it that there is little of it.
type errands struct {
	mu       sync.Mutex
	list     []func()
	controls int           // of list, taken by control
	some     chan struct{} // holds a token when list is not empty
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

// control is push for what a sender may repeat without end: where too much waits already it is dropped, and control says
// so.
func (e *errands) control(f func()) bool {
	e.mu.Lock()
	full := e.controls >= maxControls
	if !full {
		e.controls++
	}
	e.mu.Unlock()
	if full {
		return false
	}
	e.push(func() {
		e.mu.Lock()
		e.controls--
		e.mu.Unlock()
		f()
	})
	return true
}

// run does the errands until done is closed.
func (e *errands) run(done <-chan struct{}) {
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
			f()
		}
	}
}
