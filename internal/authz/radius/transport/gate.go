package transport

import "sync"

// gate lets a number of requests through at once and the others wait in order. The number may change.
type gate struct {
	mu      sync.Mutex
	limit   int
	inside  int
	waiting []chan struct{} // closed for whoever may go in
}

// enter returns nil if the caller is inside, and otherwise what is closed when it is. Either way it calls leave.
func (g *gate) enter() (ticket chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside < g.limit && len(g.waiting) == 0 {
		g.inside++
		return nil
	}
	ticket = make(chan struct{})
	g.waiting = append(g.waiting, ticket)
	return ticket
}

// leave gives the place back that enter gave or promised.
func (g *gate) leave(ticket chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == ticket {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return
		}
	}
	g.inside--
	g.admit()
}

// setLimit changes how many may be inside. Those who are stay.
func (g *gate) setLimit(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = n
	g.admit()
}

// admit lets in who may. g.mu is held.
func (g *gate) admit() {
	for g.inside < g.limit && len(g.waiting) > 0 {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.inside++
	}
}

// load says how many are inside and how many wait.
func (g *gate) load() (inside, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, len(g.waiting)
}
