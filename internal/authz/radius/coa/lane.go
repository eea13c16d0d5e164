package coa

import "context"

// Bounds of what is under way at once. A request that waits costs a goroutine and its packet, at most 4096 octets.
const (
	maxPending       = 1024 // of all tenants
	maxTenantPending = 256  // of one: what may wait while the Host is slow
	maxTenantRunning = 8    // of one, in the Host
)

// lane is where the requests of one tenant wait. It lives while there are any, so that no tenant's flood delays another's.
type lane struct {
	pending int           // guarded by Server.mu
	running chan struct{} // holds one element for each request in the Host
}

// enter gives q a place in its tenant's lane, or says that there is none. s.mu is held.
func (s *Server) enter(q *request) bool {
	name := q.who.tenants[0]
	l := s.lanes[name]
	if s.pending >= maxPending || l != nil && l.pending >= maxTenantPending {
		return false
	}
	if l == nil {
		l = &lane{running: make(chan struct{}, maxTenantRunning)}
		s.lanes[name] = l
	}
	l.pending++
	s.pending++
	s.wg.Add(1)
	q.lane = l
	return true
}

// leave gives back what enter gave.
func (s *Server) leave(q *request) {
	s.mu.Lock()
	s.pending--
	if q.lane.pending--; q.lane.pending == 0 {
		delete(s.lanes, q.who.tenants[0])
	}
	s.mu.Unlock()
	s.wg.Done()
}

// wait blocks until a request may go to the Host, and says whether that was before ctx ended.
func (l *lane) wait(ctx context.Context) bool {
	select {
	case l.running <- struct{}{}:
		if ctx.Err() != nil { // both were so, and the Host is not to begin too late
			l.done()
			return false
		}
		return true
	case <-ctx.Done():
		return false
	}
}

// done ends what wait began.
func (l *lane) done() { <-l.running }
