package ppp

import "time"

// echo is the LCP keepalive (RFC 1661 section 5.8). Any frame of the peer is as good as an Echo-Reply, so a link with
// traffic sends none.
type echo struct {
	l          *Link
	deadline   time.Time // of the next Echo-Request or of the verdict; zero: no keepalive runs
	unanswered int       // Echo-Requests since the last sign of life
}

func (e *echo) init(l *Link) { e.l = l }

func (e *echo) start() {
	if e.l.cfg.Echo.Interval > 0 {
		e.unanswered = 0
		e.deadline = e.l.now.Add(e.l.cfg.Echo.Interval)
	}
}

func (e *echo) stop() { e.deadline = time.Time{} }

// life notes a sign of life.
func (e *echo) life() {
	if !e.deadline.IsZero() {
		e.start()
	}
}

// tick sends an Echo-Request when the peer was silent for an interval. The last one gets half an interval to be answered,
// so that a dead peer is gone safely within (Failures + 1) intervals.
func (e *echo) tick() {
	if e.deadline.IsZero() || e.l.now.Before(e.deadline) {
		return
	}
	failures := max(e.l.cfg.Echo.Failures, 1)
	if e.unanswered >= failures {
		e.l.lostCarrier()
		return
	}
	e.l.lcp.requestEcho()
	wait := e.l.cfg.Echo.Interval
	if e.unanswered++; e.unanswered == failures {
		wait /= 2
	}
	e.deadline = e.l.now.Add(wait)
}
