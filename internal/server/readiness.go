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

// needs are the conditions of being ready, in the order in which they are shown. Each says why it does not hold; "": it does.
var needs = []struct {
	name string
	why  func(*readiness) string
}{
	{"STARTED", func(r *readiness) string {
		if !r.started.Load() {
			return "the instance starts, or stops"
		}
		return ""
	}},
	{"STORE", func(r *readiness) string {
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		defer cancel()
		if r.store.Health(ctx) != nil {
			return "the store can't be read, or its last change could not be written" // why exactly is not for everyone
		}
		return ""
	}},
	{"NETWORKS", func(r *readiness) string {
		st := r.live.Standing()
		return allDown("network", st.Networks, st.NetworksDown)
	}},
	{"LISTENERS", func(r *readiness) string {
		st := r.live.Standing()
		return allDown("listener", st.Listeners, st.ListenersDown)
	}},
	{"SERVING", func(r *readiness) string {
		if r.live.Instance().Draining {
			return "the instance is drained: it takes no calls until it is undrained"
		}
		return ""
	}},
}

// allDown says what is down where that is all there is. As long as one works the instance is of use, and a tenant whose network
// can't come up must not take it from the others.
func allDown(what string, of int, down []string) string {
	if of == 0 || len(down) < of {
		return ""
	}
	names := strings.Join(down[:min(len(down), maxNamed)], ", ")
	if more := len(down) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return "no " + what + " is up: " + names
}

// conditions lists what must hold, and whether it does.
func (r *readiness) conditions() []*concentratorv1.Instance_Condition {
	list := make([]*concentratorv1.Instance_Condition, len(needs))
	for i, n := range needs {
		why := n.why(r)
		list[i] = &concentratorv1.Instance_Condition{Type: n.name, Ok: why == "", Detail: why}
	}
	return list
}

// why says what keeps the instance from being ready, a line each; "": it is ready.
func (r *readiness) why() string {
	var b strings.Builder
	for _, c := range r.conditions() {
		if !c.GetOk() {
			fmt.Fprintf(&b, "%s: %s\n", c.GetType(), c.GetDetail())
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
