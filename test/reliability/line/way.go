package line

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Impairment is what one direction of a line does to packets. The zero Impairment does nothing.
type Impairment struct {
	// Loss, Duplicate and Reorder are the parts of the packets that are lost, come twice, and are held back for a while, so
	// that later ones overtake them: 0 to 1.
	Loss, Duplicate, Reorder float64
	// Delay is what every packet takes, and Jitter how much more at most, each packet for itself: it reorders too.
	Delay, Jitter time.Duration
	// Rate is how many bits a second go through; 0: all that come.
	Rate int
}

const (
	// heldBack is how much later a packet comes that is held back.
	heldBack = 30 * time.Millisecond
	// maxQueued bounds the packets on their way. What comes on top is lost.
	maxQueued = 4096
)

// Counts is what a way has done.
type Counts struct{ In, Lost, Duplicated, HeldBack, Overflowed, Out uint64 }

// way is one direction of a line, without clock or device. It belongs to one goroutine at a time.
type way struct {
	impairment Impairment
	rng        *rand.Rand
	queue      queue
	last       uint64    // number of the latest packet
	free       time.Time // when the line, of a Rate, has sent what it has
	counts     Counts
}

func newWay(seed uint64) *way { return &way{rng: rand.New(rand.NewPCG(seed, 1))} }

// take takes a packet, and keeps it if it is not lost.
func (w *way) take(now time.Time, packet []byte) {
	m := w.impairment
	w.counts.In++
	if w.rng.Float64() < m.Loss {
		w.counts.Lost++
		return
	}
	w.enqueue(now, packet)
	if w.rng.Float64() < m.Duplicate {
		w.counts.Duplicated++
		w.enqueue(now, packet)
	}
}

func (w *way) enqueue(now time.Time, packet []byte) {
	if len(w.queue) >= maxQueued {
		w.counts.Overflowed++
		return
	}
	m, at := w.impairment, now
	if m.Rate > 0 {
		if w.free.Before(now) {
			w.free = now
		}
		w.free = w.free.Add(time.Duration(len(packet)) * 8 * time.Second / time.Duration(m.Rate))
		at = w.free
	}
	at = at.Add(m.Delay)
	if m.Jitter > 0 {
		at = at.Add(time.Duration(w.rng.Int64N(int64(m.Jitter))))
	}
	if w.rng.Float64() < m.Reorder {
		w.counts.HeldBack++
		at = at.Add(heldBack)
	}
	w.last++
	heap.Push(&w.queue, queued{at, w.last, packet})
}

// next is when the next packet is due; false: there is none.
func (w *way) next() (time.Time, bool) {
	if len(w.queue) == 0 {
		return time.Time{}, false
	}
	return w.queue[0].due, true
}

// pop gives out the next packet if it is due; nil: none is.
func (w *way) pop(now time.Time) []byte {
	if due, ok := w.next(); !ok || due.After(now) {
		return nil
	}
	w.counts.Out++
	return heap.Pop(&w.queue).(queued).packet
}

// queued is a packet on its way. Of those that are due at once the first that came goes first.
type queued struct {
	due    time.Time
	number uint64
	packet []byte
}

// queue implements heap.Interface.
type queue []queued

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(x any) { *q = append(*q, x.(queued)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = queued{}
	*q = (*q)[:last]
	return x
}
