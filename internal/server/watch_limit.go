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
	maxWatchesOf = 256 // of one API token, or of all of one tenant; as many are kept for those who are bound to none
)

// defaultPatience is shorter than writeTimeout, so that a reader of REST that comes back in between is told why it was cut off.
const defaultPatience = 20 * time.Second

// watches counts the open watches. It is safe for concurrent use.
type watches struct {
	patience time.Duration // of each with its reader

	mu  sync.Mutex
	all int
	by  map[string]int // by caller, those of a tenant together
}

func newWatches(patience time.Duration) *watches {
	return &watches{patience: cmp.Or(patience, defaultPatience), by: make(map[string]int)}
}

// enter takes a place, which leave gives back.
func (w *watches) enter(who caller) (leave func(), err error) {
	most, group := maxWatches, cmp.Or(who.tenant, who.name)
	if who.tenant != "" {
		most -= maxWatchesOf
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= most {
		return nil, newStatus(codes.ResourceExhausted, reasonTooManyWatches,
			"as many watches are open as are served at once; try again later", nil).Err()
	}
	if n := w.by[group]; who.grant != nil && n >= maxWatchesOf {
		return nil, newStatus(codes.ResourceExhausted, reasonTooManyWatches,
			fmt.Sprintf("%s has %d watches open, which is as many as one tenant or token may have; end some", group, n), nil).Err()
	}
	w.add(group, 1)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.add(group, -1)
	}, nil
}

func (w *watches) add(who string, n int) {
	w.all += n
	if w.by[who] += n; w.by[who] == 0 {
		delete(w.by, who)
	}
}
