package server

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Bounds of the watches that are open at the same time: each takes a goroutine or two, and what it is about to send.
const (
	maxWatches   = 1024
	maxWatchesOf = 256 // of one API token
)

// defaultPatience is shorter than writeTimeout, so that a reader of REST that comes back in between is told why it was cut off.
const defaultPatience = 20 * time.Second

// watches counts the open watches. It is safe for concurrent use.
type watches struct {
	patience time.Duration // of each with its reader

	mu  sync.Mutex
	all int
	by  map[string]int // by caller
}

func newWatches(patience time.Duration) *watches {
	return &watches{patience: cmp.Or(patience, defaultPatience), by: make(map[string]int)}
}

// enter takes a place, which leave gives back.
func (w *watches) enter(who caller) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWatches {
		return nil, newStatus(codes.ResourceExhausted, reasonTooManyWatches,
			fmt.Sprintf("%d watches are open, no more are served at once; end some", w.all), nil).Err()
	}
	if n := w.by[who.name]; who.grant != nil && n >= maxWatchesOf {
		return nil, newStatus(codes.ResourceExhausted, reasonTooManyWatches,
			fmt.Sprintf("%s has %d watches open, which is as many as one token may have; end some", who.name, n), nil).Err()
	}
	w.add(who.name, 1)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.add(who.name, -1)
	}, nil
}

func (w *watches) add(who string, n int) {
	w.all += n
	if w.by[who] += n; w.by[who] == 0 {
		delete(w.by, who)
	}
}
