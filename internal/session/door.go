package session

import (
	"sync"
	"time"

	"concentrator/internal/strangers"
)

// So many calls a second, and so many at once, are taken outside IPsec from sources from which nobody has logged in.
const (
	callsPerSecond = 250
	callsBurst     = 500
)

// door bounds the calls of strangers: one costs a session, its goroutine and its place in a shard, whatever comes of it.
type door struct {
	mu    sync.Mutex
	guard *strangers.Guard
}

func newDoor() *door { return &door{guard: strangers.NewGuard(callsPerSecond, callsBurst)} }

// may says whether a call is taken. Whoever comes by IPsec has proved more than that already.
func (d *door) may(c *carrier) bool {
	if c.peer != nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.guard.Knows(c.remote.Addr()) || d.guard.May(time.Now())
}

// knows says whether a call comes by IPsec, or from where somebody has logged in.
func (d *door) knows(c *carrier) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.peer != nil || d.guard.Knows(c.remote.Addr())
}

// know notes that a user has logged in from where a call came from.
func (d *door) know(c *carrier) {
	if c.peer != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guard.Know(c.remote.Addr())
}
