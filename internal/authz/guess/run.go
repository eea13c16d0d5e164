package guess

import (
	"time"

	"concentrator/internal/telemetry"
)

const (
	// gather is how long changes gather before they are written.
	gather = time.Second
	// sweep is how often what is forgotten is taken out.
	sweep = time.Minute
	// maxDirty bounds what waits to be written, while the storage takes nothing. Beyond that, what changes last is not
	// written unless it changes again.
	maxDirty = 1 << 16
)

// touch notes that an item has changed. mu is held.
func (g *Guard) touch(r ref) {
	if g.storage == nil {
		return
	}
	if _, waits := g.dirty[r]; !waits && len(g.dirty) >= maxDirty {
		return
	}
	g.dirty[r] = struct{}{}
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// Run writes what changes, until done is closed, and then what is left. What changes less than two seconds before the
// process dies may be lost. It may be called once.
func (g *Guard) Run(done <-chan struct{}) {
	tidy := time.NewTicker(sweep)
	defer tidy.Stop()
	for {
		select {
		case <-done:
			g.Flush()
			return
		case <-tidy.C:
			g.tidy()
		case <-g.kick:
			select {
			case <-done:
			case <-time.After(gather):
			}
			g.Flush()
		}
	}
}

// Flush writes what has changed until now, in batches. After an error the rest is written later.
func (g *Guard) Flush() {
	for g.storage != nil {
		g.mu.Lock()
		batch, puts, deletes := g.batch()
		g.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if err := g.storage.Commit(puts, deletes); err != nil {
			g.again(batch, err)
			return
		}
	}
}

// batch takes up to MaxOps items from those that have changed. mu is held.
func (g *Guard) batch() (batch []ref, puts []Item, deletes []string) {
	now := g.now()
	for r := range g.dirty {
		if len(batch) == MaxOps {
			break
		}
		batch = append(batch, r)
		delete(g.dirty, r)
		if b, ok := g.encode(r, now); ok {
			puts = append(puts, Item{r.String(), b})
		} else {
			deletes = append(deletes, r.String())
		}
	}
	return batch, puts, deletes
}

// again keeps a batch that could not be written for the next time, and logs that once a minute.
func (g *Guard) again(batch []ref, err error) {
	g.mu.Lock()
	for _, r := range batch {
		if len(g.dirty) < maxDirty {
			g.dirty[r] = struct{}{}
		}
	}
	now := g.now()
	warn := g.warned.IsZero() || now.Sub(g.warned) >= time.Minute
	if warn {
		g.warned = now
	}
	n := len(g.dirty)
	g.mu.Unlock()
	if warn {
		g.log.Warn("failed log-ins are not kept for a restart", telemetry.Count, n, telemetry.Error, err)
	}
}

// tidy takes out what is forgotten, and has what waits written.
func (g *Guard) tidy() {
	g.mu.Lock()
	now := g.now()
	for id, t := range g.tenants {
		t.users.all(func(key string, c *counter) {
			if c.idle(g.policies.User, now) {
				t.users.remove(key)
				g.touch(ref{id, inUsers, key})
			}
		})
		t.sources.all(func(key string, c *counter) {
			if c.idle(g.policies.Source, now) {
				t.sources.remove(key)
				g.touch(ref{id, inSources, key})
			}
		})
		t.known.all(func(key string, k *known) {
			if k.age(now) {
				g.touch(ref{id, inKnown, key})
			}
			if len(k.sources) == 0 {
				t.known.remove(key)
			}
		})
	}
	g.mu.Unlock()
	g.Flush()
}
