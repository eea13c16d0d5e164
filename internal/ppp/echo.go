package ppp

import "time"

// echoRepeats is how often in an interval an Echo-Request is sent that nothing answers: on a line that loses a fifth of all
// packets, one of twenty silent peers would not be heard in three tries.
const echoRepeats = 4

// echo is the LCP keepalive (RFC 1661 section 5.8). Any frame of the peer is as good as an Echo-Reply, so a link with
// traffic sends none.
type echo struct {
	l          *Link
	deadline   time.Time // of the next Echo-Request or of the verdict; zero: no keepalive runs
	verdict    time.Time // when the peer counts as dead
	unanswered int       // Echo-Requests since the last sign of life
}

func (e *echo) init(l *Link) { e.l = l }

// start begins to wait. The last interval without an answer is half as long, so that a dead peer is gone safely within
// (Failures + 1) intervals.
func (e *echo) start() {
	if every := e.l.cfg.Echo.Interval; every > 0 {
		e.unanswered = 0
		e.deadline = e.l.now.Add(every)
		e.verdict = e.deadline.Add(time.Duration(max(e.l.cfg.Echo.Failures, 1))*every - every/2)
	}
}

func (e *echo) stop() { e.deadline = time.Time{} }

// life notes a sign of life.
func (e *echo) life() {
	if !e.deadline.IsZero() {
		e.start()
	}
}

// tick sends an Echo-Request when the peer was silent for an interval, and again while it is.
func (e *echo) tick() {
	if e.deadline.IsZero() || e.l.now.Before(e.deadline) {
		return
	}
	if !e.l.now.Before(e.verdict) {
		e.l.lostCarrier()
		return
	}
	e.l.lcp.requestEcho()
	e.unanswered++
	e.deadline = e.l.now.Add(e.l.cfg.Echo.Interval / echoRepeats)
	if e.deadline.After(e.verdict) {
		e.deadline = e.verdict
	}
}
