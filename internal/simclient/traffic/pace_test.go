package traffic

import (
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// TestRate: what is due follows the clock, and a long pause is not made up for.
func TestRate(t *testing.T) {
	var m meter
	p := newPace(&m, &m, 100_000, 0, 0)
	total := 0
	for now := int64(0); now <= 1000*ms; now += ms / 10 {
		n := p.due(now, batch)
		p.spent(n)
		total += n
	}
	if total < 99_900 || total > 100_001 {
		t.Errorf("%d packets in a second, want 100000", total)
	}
	if n := p.due(2000*ms, 1_000_000); n < 400 || n > 600 {
		t.Errorf("%d packets after a second's pause, want those of %v", n, maxBacklog)
	}
	p.spent(p.due(2000*ms, 1_000_000))
	if n := p.due(2000*ms, batch); n != 0 {
		t.Errorf("%d packets at once", n)
	}
	if w := p.wait(2000 * ms); w <= 0 || w > 11*time.Microsecond {
		t.Errorf("the next one after %v", w)
	}
}

func TestLimit(t *testing.T) {
	for _, pps := range []float64{0, 1e6} {
		var m meter
		p := newPace(&m, &m, pps, 1000, 100)
		for now := int64(0); now < 100*ms && !p.done(); now += ms {
			n := p.due(now, batch)
			p.spent(n)
			m.sent.Add(uint64(n))
			m.passed.Add(uint64(n))
			m.arrived.Add(uint64(n))
		}
		if m.sent.Load() != 100 || !p.done() || p.due(200*ms, batch) != 0 {
			t.Errorf("%g packets a second: %d sent of 100", pps, m.sent.Load())
		}
	}
}

// pipe is a queue of some length that loses what does not fit, and serves at a rate.
type pipe struct {
	length, waiting int
}

func (q *pipe) put(n int) (lost int) {
	lost = max(0, q.waiting+n-q.length)
	q.waiting += n - lost
	return lost
}

// TestWindow: the window finds the length of the queue, loses little, and the queue is never empty for long.
func TestWindow(t *testing.T) {
	for _, length := range []int{20, 100, 500, 5000} {
		var m meter
		p := newPace(&m, &m, 0, 1024, 0)
		q := pipe{length: length}
		const steps, served = 100_000, 20 // a step is 100 us
		idle, lostLate, pending := 0, 0, 0
		for i := range steps {
			now := int64(i) * ms / 10
			n := p.due(now, batch)
			m.sent.Add(uint64(n))
			lost := q.put(n)
			pending += lost
			if i > steps/10 {
				lostLate += lost
			}
			done := min(served, q.waiting)
			if done < served {
				idle++
			}
			q.waiting -= done
			m.arrived.Add(uint64(done))
			m.passed.Add(uint64(done))
			if done > 0 { // those that follow show what was lost
				m.passed.Add(uint64(pending))
				pending = 0
			}
		}
		share := float64(lostLate) / float64(m.sent.Load())
		if length > 100 && idle > steps/20 || share > 0.0005 {
			t.Errorf("queue of %d: idle in %d of %d steps, %.4f lost, window %d", length, idle, steps, share, p.window)
		}
		if p.window > uint64(length)*2 {
			t.Errorf("queue of %d: window %d", length, p.window)
		}
	}
}

// TestStalled: if nothing arrives any more, the window opens again after a while, and what arrives late closes it.
func TestStalled(t *testing.T) {
	var m meter
	p := newPace(&m, &m, 0, 64, 0)
	send := func(now int64) int {
		n := p.due(now, batch)
		m.sent.Add(uint64(n))
		return n
	}
	if send(0) != 64 || send(ms) != 0 || send(int64(stalled)/2) != 0 {
		t.Fatal("the window is not kept")
	}
	now := int64(stalled) + 2*ms
	send(now) // notices
	if n := send(now + ms); n != 64 {
		t.Fatalf("%d packets after the stall", n)
	}
	m.arrived.Add(64) // late, not lost
	m.passed.Add(64)
	if n := send(now + 2*ms); n != 0 {
		t.Fatalf("%d packets, with a window under way", n)
	}
	m.arrived.Add(64)
	m.passed.Add(64)
	if n := send(now + 3*ms); n == 0 {
		t.Fatal("nothing is due, and nothing under way")
	}
}
