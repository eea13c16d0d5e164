package traffic

import (
	"sync/atomic"
	"time"
)

const (
	// maxBacklog is how far a rate may fall behind and still be caught up with, by a burst.
	maxBacklog = 5 * time.Millisecond
	// stalled is how long a full window waits for what does not arrive.
	stalled = 500 * time.Millisecond
	// windowPoll is how often a full window is looked at.
	windowPoll = 50 * time.Microsecond
	// minWindow is what losses leave of a window, in packets.
	minWindow = 8
	// firstWindow is what a window begins with.
	firstWindow = 64
	// probeAfter is how many windows must pass without loss before one is tried that was too much.
	probeAfter = 256
)

// meter is one direction as both ends see it while it runs. The counts are of packets.
type meter struct {
	sent   atomic.Uint64
	octets atomic.Uint64 // sent, inner
	unsent atomic.Uint64 // that the kernel did not take
	_      [64]byte      // the other end writes what follows
	// passed is what has arrived or been overtaken by later packets of its flow.
	passed  atomic.Uint64
	arrived atomic.Uint64 // duplicates too
}

// pace says how many packets a thread may send. It belongs to that thread.
//
// Without a rate it keeps a window: what is under way is bounded, so that no queue has to be longer. The window grows as
// long as nothing is lost. After a loss it halves, and stays below three quarters of what was too much for a long time:
// what is sought is the highest rate without loss.
type pace struct {
	out, back *meter // where we count, and where it arrives in the end
	limit     uint64 // packets of the direction; 0: none

	perNano float64 // packets; 0: by the window
	used    float64 // packets since time 0

	window, most, largest uint64 // packets under way: now, for the time being, ever

	grown    uint64 // of back.passed, when the window was looked at last
	lost     uint64 // so many were lost then
	settled  uint64 // the window shrank when so many were made; they don't speak against the new one. 0: all have passed
	quiet    int    // windows that have passed without loss at their largest
	passed   uint64 // of back, when it was last seen to move,
	moved    int64  // and when that was, nanoseconds
	forgiven uint64 // packets under way that seem to be lost; they count again when something passes
}

// newPace makes a pace of pps packets a second, or of a window of packets if that is 0.
func newPace(out, back *meter, pps float64, window int, limit uint64) *pace {
	return &pace{
		out: out, back: back, limit: limit, perNano: pps / 1e9,
		window: uint64(min(window, firstWindow)), most: uint64(window), largest: uint64(window),
	}
}

// due is how many packets may be sent now, at most most. now is in nanoseconds.
func (p *pace) due(now int64, most int) int {
	if p.limit > 0 {
		most = int(min(uint64(most), p.limit-min(p.limit, p.made())))
	}
	if p.perNano > 0 {
		return min(p.dueByRate(now), most)
	}
	return min(p.dueByWindow(now), most)
}

func (p *pace) dueByRate(now int64) int {
	n := float64(now)*p.perNano - p.used
	if behind := p.perNano*float64(maxBacklog) + 1; n > behind {
		p.used += n - behind
		n = behind
	}
	return max(0, int(n))
}

func (p *pace) dueByWindow(now int64) int {
	made, passed := p.made(), p.back.passed.Load()
	if d := passed - p.passed; d != 0 {
		p.forgiven -= min(p.forgiven, d)
		p.passed, p.moved = passed, now
		p.adapt(passed, made)
	}
	under := made - min(made, passed+p.forgiven)
	// Less than half a batch is not worth the trouble, unless the window is so small.
	if room := p.window - min(under, p.window); room >= min(batch/2, p.window/2) {
		return int(room)
	}
	if now-p.moved > int64(stalled) {
		p.forgiven, p.moved = p.forgiven+under, now
	}
	return 0
}

// adapt changes the window after packets have passed, once in a window at most.
func (p *pace) adapt(passed, made uint64) {
	if passed < p.settled || passed-p.grown < p.window {
		return
	}
	lost := passed - min(passed, p.back.arrived.Load())
	p.grown = passed
	switch {
	case p.settled > 0: // the losses of what was under way when the window shrank are known
		p.settled = 0
	case lost > p.lost:
		p.most, p.quiet = max(minWindow, p.window*3/4), 0
		p.window = max(minWindow, p.window/2)
		p.settled = made
	case p.window < p.most:
		p.window = min(p.most, p.window+max(1, p.window/8))
	default:
		p.probe()
	}
	p.lost = lost
}

// probe lets the window grow beyond what was too much, but seldom: what is in the way changes.
func (p *pace) probe() {
	if p.quiet++; p.quiet >= probeAfter {
		p.quiet = 0
		p.most = min(p.largest, p.most+max(1, p.most/32))
	}
}

// made is how many packets were made so far.
func (p *pace) made() uint64 { return p.out.sent.Load() + p.out.unsent.Load() }

// spent says that n packets were made.
func (p *pace) spent(n int) { p.used += float64(n) }

// wait is how long nothing will be due.
func (p *pace) wait(now int64) time.Duration {
	if p.perNano == 0 {
		return windowPoll
	}
	return time.Duration(max(0, int64((p.used+1)/p.perNano)-now))
}

// done says whether the limit is reached.
func (p *pace) done() bool { return p.limit > 0 && p.made() >= p.limit }
