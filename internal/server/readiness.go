package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
)

// readinessEvery is how often it is looked at whether the instance is ready, for those who watch its health.
const readinessEvery = time.Second

// storeTime is how long the store may take to say that it is well.
const storeTime = 5 * time.Second

// readiness says whether the instance is ready, and why not. It is the one place: Instance, /readyz and the health service say
// what it says. It is safe for concurrent use.
type readiness struct {
	store   *store.Store
	live    Live
	started atomic.Bool
	publish func(ready bool)

	mu   sync.Mutex
	last bool // what was published
}

func newReadiness(st *store.Store, live Live, publish func(ready bool)) *readiness {
	return &readiness{store: st, live: live, publish: publish}
}

// lack is why a condition does not hold. The zero lack: it does.
type lack struct {
	text string
	// names are of what it is about: not for those who have no token.
	names string
}

func (l lack) String() string {
	if l.names == "" {
		return l.text
	}
	return l.text + ": " + l.names
}

// needs are the conditions of being ready, in the order in which they are shown.
var needs = []struct {
	name string
	why  func(*readiness) lack
}{
	{"STARTED", func(r *readiness) lack {
		if !r.started.Load() {
			return lack{text: "the instance starts, or stops"}
		}
		return lack{}
	}},
	{"STORE", func(r *readiness) lack {
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		defer cancel()
		if r.store.Health(ctx) != nil {
			return lack{text: "the store can't be read, or its last change could not be written"} // why exactly is not for everyone
		}
		return lack{}
	}},
	{"NETWORKS", func(r *readiness) lack {
		st := r.live.Standing()
		return allDown("network", st.Networks, st.NetworksDown)
	}},
	{"LISTENERS", func(r *readiness) lack {
		st := r.live.Standing()
		return allDown("listener", st.Listeners, st.ListenersDown)
	}},
	{"SERVING", func(r *readiness) lack {
		if r.live.Instance().Draining {
			return lack{text: "the instance is drained: it takes no calls until it is undrained"}
		}
		return lack{}
	}},
}

// allDown says what is down where that is all there is. As long as one works the instance is of use, and a tenant whose network
// can't come up must not take it from the others.
func allDown(what string, of int, down []string) lack {
	if of == 0 || len(down) < of {
		return lack{}
	}
	names := strings.Join(down[:min(len(down), maxNamed)], ", ")
	if more := len(down) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return lack{"no " + what + " is up", names}
}

// conditions lists what must hold, and whether it does.
func (r *readiness) conditions() []*concentratorv1.Instance_Condition {
	list := make([]*concentratorv1.Instance_Condition, len(needs))
	for i, n := range needs {
		why := n.why(r)
		list[i] = &concentratorv1.Instance_Condition{Type: n.name, Ok: why == (lack{}), Detail: why.String()}
	}
	return list
}

// why says what keeps the instance from being ready, a line each, without the names of tenants and listeners: /readyz needs no
// token. "": it is ready.
func (r *readiness) why() string {
	var b strings.Builder
	for _, n := range needs {
		if why := n.why(r); why != (lack{}) {
			fmt.Fprintf(&b, "%s: %s\n", n.name, why.text)
		}
	}
	return b.String()
}

// look publishes whether the instance is ready, if that has changed.
func (r *readiness) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ready := r.why() == ""; ready != r.last {
		r.last = ready
		r.publish(ready)
	}
}

// follow looks now and then, until stopped is closed.
func (r *readiness) follow(stopped <-chan struct{}) {
	t := time.NewTicker(readinessEvery)
	defer t.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-t.C:
			r.look()
		}
	}
}
