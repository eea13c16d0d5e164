package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"concentrator/internal/simclient/load"
)

// How often progress is shown: on a terminal one line is written over and over.
const (
	onTerminal = 200 * time.Millisecond
	elsewhere  = 5 * time.Second
)

// watch shows on stderr how far a load is. A nil watch shows nothing.
type watch struct {
	env
	load *load.Load
	note atomic.Pointer[string] // said behind the rest
	quit chan struct{}
	wg   sync.WaitGroup
}

func startWatch(e env, l *load.Load) *watch {
	w := &watch{env: e, load: l, quit: make(chan struct{})}
	w.wg.Go(w.run)
	return w
}

// say puts text behind what is shown.
func (w *watch) say(text string) {
	if w != nil {
		w.note.Store(&text)
	}
}

// stop ends it and clears its line.
func (w *watch) stop() {
	if w == nil {
		return
	}
	close(w.quit)
	w.wg.Wait()
}

func (w *watch) run() {
	every := elsewhere
	if w.terminal {
		every = onTerminal
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-w.quit:
			if w.terminal {
				fmt.Fprint(w.err, "\r\x1b[K")
			}
			return
		case <-t.C:
		}
		line := progress(w.load.Status())
		if note := w.note.Load(); note != nil {
			line += *note
		}
		if w.terminal {
			fmt.Fprint(w.err, "\r", line, "\x1b[K")
		} else {
			fmt.Fprintln(w.err, line)
		}
	}
}

// progress is a Status in one line.
func progress(s load.Status) string {
	return fmt.Sprintf("%s %s: %d logins, %d failed, %.0f a second, p50 %.1f ms, p99 %.1f ms; %d open, %d lost",
		s.Elapsed.Round(time.Second), s.Phase, s.Done, s.Failed, s.Rate,
		float64(s.P50)/float64(time.Millisecond), float64(s.P99)/float64(time.Millisecond), s.Open, s.Lost)
}
