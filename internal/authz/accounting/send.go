package accounting

import (
	"context"
	"strings"
	"sync"
	"time"

	"concentrator/internal/telemetry"
)

const (
	// sinkRecheck is how long records wait that nobody takes, before the configuration is asked again without a Poke.
	sinkRecheck = time.Minute
	// storageRetry is the pause after the storage has failed.
	storageRetry = time.Second
	// maxErrorText bounds the text of an error that is kept, in octets.
	maxErrorText = 512
)

// runner is one call of Run.
type runner struct {
	l   *Ledger
	ctx context.Context //nolint:containedctx // the lifetime of its goroutines
	wg  sync.WaitGroup
}

// Run sends records to the Sinks until ctx ends; it returns ctx's cause when nothing is under way any more. At most one
// Run may run at a time.
//
// A record is deleted when its Sink has acknowledged it, with the next commit, and the session's next record goes after
// that: so what a Sink gets twice is at most what it has acknowledged while the process died.
func (l *Ledger) Run(ctx context.Context) error {
	r := &runner{l: l, ctx: ctx}
	l.mu.Lock()
	l.runner = r
	for _, q := range l.queues {
		if !q.sched.empty() {
			r.begin(q)
		}
	}
	l.mu.Unlock()
	retry := time.NewTicker(storageRetry)
	defer retry.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-retry.C:
			_ = l.retryStops() // Stop has returned the error already; there is another tick
		}
	}
	l.mu.Lock()
	l.runner = nil // nothing begins from now on
	l.mu.Unlock()
	r.wg.Wait()
	return context.Cause(ctx)
}

// begin starts to look after q. The caller holds mu.
func (r *runner) begin(q *queue) {
	q.runs = true
	r.wg.Go(func() { r.run(q) })
}

// run sends the records of one tenant until there are none, or ctx ends.
func (r *runner) run(q *queue) {
	l := r.l
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		sink, ok := l.cfg.Sink(q.tenant)
		now := l.now()
		again := now.Add(sinkRecheck)
		l.mu.Lock()
		if r.ctx.Err() != nil || q.sched.empty() {
			q.runs = false
			l.mu.Unlock()
			return
		}
		var c *chain
		if q.nobody == ok {
			q.nobody = !ok
			l.tell()
		}
		if ok {
			if c, again = q.sched.pick(now); c != nil {
				e, attempts, acked := c.head(), c.attempts, c.acked
				l.mu.Unlock()
				r.wg.Go(func() { r.send(q, c, sink, q.key(c, e), attempts, acked) })
				continue
			}
		}
		l.mu.Unlock()
		if again.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(again.Sub(now))
		}
		select {
		case <-r.ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// send gives the head of c to the sink, and deletes it if that has it.
func (r *runner) send(q *queue, c *chain, sink Sink, key recordKey, attempts int, acked bool) {
	l := r.l
	if !acked {
		err := l.account(r.ctx, sink, key, attempts)
		if err != nil {
			l.failed(r.ctx, q, c, err)
			return
		}
		l.mu.Lock()
		c.acked = true
		l.mu.Unlock()
	}
	for l.delete(q, c, key) != nil {
		// It must not be sent again, and nothing after it before it has gone: a crash would turn their order round.
		select {
		case <-r.ctx.Done():
			l.mu.Lock()
			q.sched.returned(c, l.now())
			l.look(q)
			l.mu.Unlock()
			return
		case <-time.After(storageRetry):
		}
	}
}

// account reads a record and tells it.
func (l *Ledger) account(ctx context.Context, sink Sink, key recordKey, attempts int) error {
	record, err := l.read(key)
	if err != nil {
		return err
	}
	record.Attempts = attempts
	return sink.Account(ctx, record)
}

// delete deletes the head of c, which is key, and tells the schedule.
func (l *Ledger) delete(q *queue, c *chain, key recordKey) error {
	return l.commit(&request{cost: 1, prepare: func(b *batch) (func(), error) {
		b.deletes = append(b.deletes, key.String())
		return func() {
			now := l.now()
			l.forget(q, c.head())
			q.sent++
			q.lastSent = now
			if q.sched.done(c, now) {
				l.cfg.Log.Info("accounting records are taken again", telemetry.Tenant, tenantName(q.tenant))
			}
			if len(c.entries) == 0 {
				delete(q.chains, c.key)
			}
			l.look(q)
		}, nil
	}})
}

// failed takes note that the head of c was not taken.
func (l *Ledger) failed(ctx context.Context, q *queue, c *chain, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if ctx.Err() != nil { // it was called off, which says nothing of the sink
		q.sched.returned(c, now)
		l.look(q)
		return
	}
	q.failures++
	q.lastError = clip(err.Error())
	if q.sched.failed(c, now) {
		l.cfg.Log.Warn("accounting records are not taken", telemetry.Tenant, tenantName(q.tenant),
			telemetry.Error, q.lastError, telemetry.Count, q.unsent)
	}
	l.look(q)
}

// clip bounds the text of an error, and makes it fit for the API: UTF-8.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "") }

// Poke says that the Sink of a tenant is another one, or might be well again: everything that waits is tried at once. An
// empty name pokes all tenants.
func (l *Ledger) Poke(tenant string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for id, q := range l.queues {
		if tenant == "" || tenant == id {
			q.nobody = false
			q.sched.poke(now)
			l.look(q)
		}
	}
}
