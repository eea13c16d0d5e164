package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	concentratorv1 "concentrator/api/gen/concentrator/v1"
	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

// Reasons of ErrorInfo that operations have.
const (
	reasonRunning = "OPERATION_RUNNING"
	reasonNoFile  = "NO_FILE"
)

const (
	// operationRetry is when a record that could not be written is tried again.
	operationRetry = 5 * time.Second
	// operationGrace is how long a call waits until an operation that it cancelled has stopped.
	operationGrace = 5 * time.Second
)

// operations is the engine of all operations: they are records in the store, and those that run are goroutines here, begun
// anew at each start until they have ended. It is safe for concurrent use.
type operations struct {
	store   *store.Store
	metrics *telemetry.Metrics
	log     *slog.Logger
	dir     string // of the files that operations make
	jobs    map[string]job

	ctx  context.Context //nolint:containedctx // of all jobs; ends when the server stops
	stop context.CancelFunc
	wg   sync.WaitGroup

	beginning sync.Mutex // held while an operation is begun; taken before mu
	ids       operationIDs

	mu     sync.Mutex
	active map[string]*running // by name
}

func newOperations(ctx context.Context, st *store.Store, stateDir string, m *telemetry.Metrics, log *slog.Logger, jobs []job) *operations {
	o := &operations{
		store: st, metrics: m, log: log, dir: filepath.Join(stateDir, "operations"),
		jobs: make(map[string]job, len(jobs)), active: make(map[string]*running),
	}
	for _, j := range jobs {
		o.jobs[j.kind.String()] = j
	}
	o.ctx, o.stop = context.WithCancel(ctx)
	return o
}

// work is what begin makes an operation of.
type work struct {
	kind     concentratorv1.Operation_Kind
	parent   string // tenants/{tenant} for what changes one tenant's resources only, else ""
	target   string // what it works on
	total    int64  // how much there is to do, where that is known
	settings any    // of the job, for running.settings; they are kept in the clear, so no secrets; nil: none
	input    []byte // for running.input; sealed at rest, and forgotten when the operation ends; nil: none
}

// begin starts an operation and returns it as it is then. The caller has checked the request. Where its kind may not run beside
// those that do, it is FAILED_PRECONDITION.
func (o *operations) begin(ctx context.Context, d work) (*concentratorv1.Operation, error) {
	j, ok := o.jobs[d.kind.String()]
	if !ok {
		return nil, fmt.Errorf("operation of kind %s is not in the table", d.kind)
	}
	o.beginning.Lock()
	defer o.beginning.Unlock()
	if err := o.makeWay(ctx, j, d.parent); err != nil {
		return nil, err
	}
	r := &running{ops: o, job: j, most: d.total, ended: make(chan struct{})}
	r.record = store.Operation{
		Job: d.kind.String(), State: store.OperationRunning, Target: d.target, Caller: callerOf(ctx).name,
		Total: d.total, Unit: j.unit,
	}
	if d.settings != nil {
		var err error
		if r.record.Settings, err = json.Marshal(d.settings); err != nil {
			return nil, fmt.Errorf("settings of an operation: %w", err)
		}
	}
	r.record.Name = operationName(d.parent, o.ids.next(time.Now()))
	if err := o.keepInput(r, d.input); err != nil {
		return nil, err
	}
	if err := store.Create(o.store, &r.record, auditOf(ctx).with(d.target)); err != nil {
		o.forgetInput(&r.record)
		return nil, &resourceError{d.parent, err}
	}
	m := encodeStored(&r.record)
	o.launch(r)
	o.log.Info("operation begun", telemetry.Resource, r.record.Name, telemetry.Caller, r.record.Caller, telemetry.Detail, r.record.Job)
	return m, nil
}

// makeWay sees that one more of a kind may run under parent.
func (o *operations) makeWay(ctx context.Context, j job, parent string) error {
	same := o.find(func(r *running) bool { return r.job.kind == j.kind && r.tenant() == parent && !r.over() })
	if j.takesOver {
		for _, r := range same {
			if err := o.halt(ctx, r, "another one took over"); err != nil {
				return err
			}
		}
		return nil
	}
	if len(same) < max(1, j.most) {
		return nil
	}
	name := same[0].name()
	return newStatus(codes.FailedPrecondition, reasonRunning,
		fmt.Sprintf("%s runs already: wait for it, or cancel it", name), map[string]string{"resource": name}).Err()
}

// find lists the operations that run here and match, the older first.
func (o *operations) find(match func(*running) bool) []*running {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*running
	for _, r := range o.active {
		if match(r) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *running) int { return strings.Compare(a.name(), b.name()) })
	return list
}

// named returns an operation that runs here; nil for one that does not.
func (o *operations) named(name string) *running {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.active[name]
}

// start takes up what an earlier run of the daemon has left, and from now on removes what is too old.
func (o *operations) start() {
	all, _, err := store.List[store.Operation](o.store, "", "", 0)
	ofTenants, _, err2 := store.List[store.Operation](o.store, anyTenant, "", 0)
	if err := errors.Join(err, err2); err != nil {
		o.log.Error("operations not taken up", telemetry.Error, err.Error())
		return
	}
	known := make(map[string]*store.Operation)
	for _, rec := range append(all, ofTenants...) {
		known[rec.Name] = rec
	}
	o.forgetOrphans(known) // first: from here on there are files that are not whole yet
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		o.log.Error("no place for files of operations", telemetry.Error, err.Error())
	}
	for _, rec := range known {
		if rec.State == store.OperationRunning {
			o.goOn(rec)
		}
	}
	o.wg.Go(o.retain)
}

// goOn takes up one operation.
func (o *operations) goOn(rec *store.Operation) {
	r := &running{ops: o, again: true, ended: make(chan struct{}), started: rec.Done, most: rec.Total, record: *rec}
	r.job = o.jobs[rec.Job]
	if r.job.run == nil {
		r.job.run = func(context.Context, *running) error {
			return fmt.Errorf("this version does not know how to %s", rec.Job)
		}
	}
	o.log.Info("operation goes on", telemetry.Resource, rec.Name, telemetry.Detail, rec.Job)
	o.launch(r)
}

// wait blocks until all jobs have returned, or ctx ends. The engine's context must have ended.
func (o *operations) wait(ctx context.Context) {
	o.stop()
	done := make(chan struct{})
	go func() {
		o.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// launch begins the goroutines of an operation.
func (o *operations) launch(r *running) {
	ctx, cancel := context.WithCancelCause(o.ctx)
	r.cancel = cancel
	if r.record.Cancelled {
		cancel(errCancelled)
	}
	o.mu.Lock()
	o.active[r.record.Name] = r
	o.mu.Unlock()
	finished := make(chan struct{})
	o.wg.Go(func() {
		defer close(finished)
		o.run(ctx, r)
	})
	o.wg.Go(func() { r.report(finished) })
}

// report writes the progress now and then.
func (r *running) report(finished <-chan struct{}) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-finished:
			return
		case <-t.C:
		}
		if err := r.write(); err != nil {
			r.ops.log.Warn("progress not written", telemetry.Resource, r.name(), telemetry.Error, err.Error())
		}
	}
}

// run does an operation and says how it ended.
func (o *operations) run(ctx context.Context, r *running) {
	defer close(r.ended)
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.active, r.name())
	}()
	defer r.cancel(nil)
	counted, state := o.metrics.OperationBegun(r.record.Job), ""
	defer func() { counted(state) }()
	var err error
	if ctx.Err() == nil {
		err = o.recovered(ctx, r)
	} else {
		err = context.Cause(ctx)
	}
	cancelled := errors.Is(context.Cause(ctx), errCancelled)
	if err != nil && !cancelled && o.ctx.Err() != nil { // it goes on after the next start
		if err := r.write(); err != nil {
			o.log.Warn("progress not written", telemetry.Resource, r.name(), telemetry.Error, err.Error())
		}
		return
	}
	if err != nil && !cancelled && !errors.Is(err, errSeeProblems) {
		r.fault(r.record.Target, err)
	}
	r.change(func(rec *store.Operation) {
		rec.EndTime = time.Now().UTC()
		switch {
		case err == nil && rec.ProblemCount == 0:
			rec.State = store.OperationSucceeded
		case err != nil && cancelled:
			rec.State = store.OperationCancelled
		default:
			rec.State = store.OperationFailed
		}
	})
	for {
		err := r.write()
		if err == nil || errors.Is(err, store.ErrNotFound) {
			break
		}
		o.log.Error("end of an operation not written", telemetry.Resource, r.name(), telemetry.Error, err.Error())
		select {
		case <-o.ctx.Done():
			return // it is taken up after the next start
		case <-time.After(operationRetry):
		}
	}
	state = string(r.record.State)
	o.forgetInput(&r.record)
	if r.record.State != store.OperationSucceeded {
		o.removeFile(r.name())
	}
	o.log.Info("operation ended", telemetry.Resource, r.name(), telemetry.Outcome, r.record.State,
		telemetry.Count, r.record.Done, telemetry.Duration, time.Since(r.begun()).Round(time.Millisecond))
	if err := o.tidy(time.Now()); err != nil {
		o.log.Warn("old operations not removed", telemetry.Error, err.Error())
	}
}

// recovered runs the job, and turns a panic of it into an error that callers do not see.
func (o *operations) recovered(ctx context.Context, r *running) (err error) {
	defer func() {
		if p := recover(); p != nil {
			o.log.Error("operation panicked", telemetry.Resource, r.name(), telemetry.Error, fmt.Sprint(p),
				telemetry.Stack, string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.job.run(ctx, r)
}

// halt cancels an operation and waits a while until it has stopped. detail, unless empty, says why.
func (o *operations) halt(ctx context.Context, r *running, detail string) error {
	r.change(func(rec *store.Operation) {
		if rec.State != store.OperationRunning {
			return // it has ended just now
		}
		rec.Cancelled = true
		if detail != "" {
			rec.Detail = detail
		}
	})
	err := r.write()
	r.cancel(errCancelled) // even so: it may be what has filled the disk
	t := time.NewTimer(operationGrace)
	defer t.Stop()
	select {
	case <-r.ended:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	return err
}

// file is where the file of an operation lies.
func (o *operations) file(name string) string {
	return filepath.Join(o.dir, name[strings.LastIndexByte(name, '/')+1:])
}

func (o *operations) removeFile(name string) {
	err := os.Remove(o.file(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.log.Warn("file of an operation not removed", telemetry.Resource, name, telemetry.Error, err.Error())
	}
}
