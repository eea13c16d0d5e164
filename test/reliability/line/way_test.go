package line

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// send puts n packets of 100 octets through a way, one each millisecond, and returns their numbers as they come out, with what
// each took.
func send(w *way, n int) (numbers []int, took []time.Duration) {
	begin := time.Unix(1_700_000_000, 0)
	for i := range n {
		p := make([]byte, 100)
		binary.BigEndian.PutUint32(p, uint32(i))
		now := begin.Add(time.Duration(i) * time.Millisecond)
		for due, ok := w.next(); ok && !due.After(now); due, ok = w.next() {
			if w.pop(due.Add(-1)) != nil {
				panic("a packet comes before it is due")
			}
			got := int(binary.BigEndian.Uint32(w.pop(due)))
			numbers, took = append(numbers, got), append(took, due.Sub(begin.Add(time.Duration(got)*time.Millisecond)))
		}
		w.take(now, p)
	}
	for due, ok := w.next(); ok; due, ok = w.next() {
		got := int(binary.BigEndian.Uint32(w.pop(due)))
		numbers, took = append(numbers, got), append(took, due.Sub(begin.Add(time.Duration(got)*time.Millisecond)))
	}
	return numbers, took
}

// about fails the test unless got is within 10 % of want.
func about(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/10 {
		t.Errorf("%s: %v, want about %v", what, got, want)
	}
}

func TestWay(t *testing.T) {
	const n = 20_000
	order := func(numbers []int) (overtaken int) {
		for i := 1; i < len(numbers); i++ {
			if numbers[i] < numbers[i-1] {
				overtaken++
			}
		}
		return overtaken
	}
	t.Run("nothing", func(t *testing.T) {
		numbers, took := send(newWay(1), n)
		if len(numbers) != n || order(numbers) != 0 || took[n-1] != 0 {
			t.Errorf("%d arrived, %d overtaken, %v", len(numbers), order(numbers), took[n-1])
		}
	})
	t.Run("loss and duplication", func(t *testing.T) {
		w := newWay(2)
		w.impairment = Impairment{Loss: 0.2, Duplicate: 0.1}
		numbers, _ := send(w, n)
		about(t, "lost", float64(w.counts.Lost), 0.2*n)
		about(t, "twice", float64(w.counts.Duplicated), 0.1*0.8*n)
		if c := w.counts; c.In != n || c.Out != uint64(len(numbers)) || c.Out != c.In-c.Lost+c.Duplicated || order(numbers) != 0 {
			t.Errorf("%+v, %d arrived, %d overtaken", c, len(numbers), order(numbers))
		}
	})
	t.Run("delay", func(t *testing.T) {
		w := newWay(3)
		w.impairment = Impairment{Delay: 500 * time.Millisecond}
		numbers, took := send(w, n)
		for i, d := range took {
			if d != 500*time.Millisecond || numbers[i] != i {
				t.Fatalf("packet %d is number %d after %v", i, numbers[i], d)
			}
		}
	})
	t.Run("jitter and reordering", func(t *testing.T) {
		w := newWay(4)
		w.impairment = Impairment{Jitter: 20 * time.Millisecond}
		if numbers, took := send(w, n); len(numbers) != n || order(numbers) < n/4 || took[0] >= 20*time.Millisecond {
			t.Errorf("%d arrived, %d overtaken", len(numbers), order(numbers))
		}
		w = newWay(5)
		w.impairment = Impairment{Reorder: 0.1}
		numbers, _ := send(w, n)
		about(t, "held back", float64(w.counts.HeldBack), 0.1*n)
		about(t, "overtaken", float64(order(numbers)), 0.1*0.9*n)
	})
	t.Run("rate", func(t *testing.T) {
		w := newWay(6)
		w.impairment = Impairment{Rate: 400_000} // half of what comes
		_, took := send(w, 2000)
		about(t, "the last took, in s", took[1999].Seconds(), 2)
		if w.counts.Overflowed != 0 {
			t.Errorf("%+v", w.counts)
		}
		w.impairment.Rate = 40_000
		_, _ = send(w, n)
		if w.counts.Overflowed == 0 || len(w.queue) != 0 {
			t.Errorf("%+v", w.counts)
		}
	})
	t.Run("seeds", func(t *testing.T) {
		a, b, c := newWay(7), newWay(7), newWay(8)
		for _, w := range []*way{a, b, c} {
			w.impairment = Impairment{Loss: 0.5}
			_, _ = send(w, n)
		}
		if a.counts != b.counts || a.counts == c.counts {
			t.Errorf("%+v, %+v, %+v", a.counts, b.counts, c.counts)
		}
	})
}
