package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"concentrator/internal/store"
	"concentrator/internal/telemetry"
)

const (
	// progressEvery is how often the progress of an operation is written, at most.
	progressEvery = time.Second
	// maxProblems is how many problems an operation names; the others are counted.
	maxProblems = 100
	// maxProblemText bounds each text of a problem, in octets: some come from what a caller has sent.
	maxProblemText = 500
)

var (
	// errSeeProblems is returned by a job whose problems say all there is to say.
	errSeeProblems = errors.New("see the problems")
	// errCancelled is why the context of a cancelled operation ended.
	errCancelled = errors.New("cancelled")
)

// running is an operation that goes on in this process. It is safe for concurrent use.
type running struct {
	ops     *operations
	job     job
	again   bool // it was begun by an earlier run of the daemon
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when its record says how it ended, or when the server stops
	started int64         // done, as it was when this run of the daemon took it up
	most    int64         // likewise, total

	mu     sync.Mutex
	record store.Operation // as it is to be written
	dirty  bool            // since the last write

	writing sync.Mutex // held by a write of the record; taken before mu
}

// name is the operation's resource name.
func (r *running) name() string { return r.record.Name }

// tenant is the tenants/{tenant} that it is of; empty: of none.
func (r *running) tenant() string { return store.TenantOf(r.record.Name) }

// begun is when it was begun, whichever run of the daemon that was.
func (r *running) begun() time.Time { return r.record.CreateTime }

// resumed says whether an earlier run of the daemon has begun it.
func (r *running) resumed() bool { return r.again }

// done is how much of it was done, as far as was written, when this run of the daemon took it up.
func (r *running) done() int64 { return r.started }

// settings reads what begin was given as settings into a value of the same type.
func (r *running) settings(into any) error {
	if err := json.Unmarshal(r.record.Settings, into); err != nil {
		return fmt.Errorf("%w: settings of %s: %w", store.ErrCorrupt, r.record.Name, err)
	}
	return nil
}

// input returns what begin was given as input.
func (r *running) input() ([]byte, error) {
	var all []byte
	for i := range r.record.Inputs {
		piece, err := store.Get[store.OperationInput](r.ops.store, inputName(r.record.Name, i))
		if err != nil {
			return nil, err
		}
		all = append(all, piece.Data...)
	}
	return all, nil
}

// progress says that done of total are through. It costs next to nothing: written it is once a second.
func (r *running) progress(done, total int64) {
	r.change(func(o *store.Operation) { o.Done, o.Total = done, total })
}

// say says what it does now, or what came of it, for people.
func (r *running) say(format string, args ...any) {
	r.change(func(o *store.Operation) { o.Detail = fmt.Sprintf(format, args...) })
}

// problem tells one thing that went wrong: what it is about, a reason of the API's errors, and what people should know. An
// operation with a problem does not end as SUCCEEDED.
func (r *running) problem(subject, reason, detail string) {
	r.change(func(o *store.Operation) {
		if o.ProblemCount++; len(o.Problems) < maxProblems {
			o.Problems = append(o.Problems, store.Problem{
				Subject: clipped(subject), Reason: clipped(reason), Detail: clipped(detail),
			})
		}
	})
}

// fault tells an error as a problem. What callers are not to see goes to the log only.
func (r *running) fault(subject string, err error) {
	st, hidden := toStatus(err, r.record.Name)
	if hidden {
		r.ops.log.Error("operation failed", telemetry.Resource, r.record.Name, telemetry.Detail, subject, telemetry.Error, err.Error())
	}
	r.problem(subject, reasonOf(st), st.Message())
}

// file is where the job may write a file for DownloadOperation; fileReady says that it is there whole.
func (r *running) file() string { return r.ops.file(r.record.Name) }

// fileReady says that the file is there, with so many octets. From the end of the operation on it can be downloaded.
func (r *running) fileReady(size int64) {
	r.change(func(o *store.Operation) { o.FileSize = size })
}

// over says that the job is done; its end may still be being written.
func (r *running) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record.State != store.OperationRunning
}

func (r *running) change(f func(*store.Operation)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.record)
	r.dirty = true
}

// write writes the record if it has changed.
func (r *running) write() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	o, dirty := r.record, r.dirty
	r.dirty = false
	r.mu.Unlock()
	if !dirty {
		return nil
	}
	o.Etag = ""
	err := store.Update(r.ops.store, &o)
	if err != nil {
		r.mu.Lock()
		r.dirty = true
		r.mu.Unlock()
	}
	return err
}

// clipped shortens a text to maxProblemText, between two characters. What JSON spells longer counts as long as it does, so that
// a record with maxProblems can be stored whatever is in them.
func clipped(s string) string {
	size := 0
	for i, c := range s {
		switch {
		case c < ' ' || c == utf8.RuneError || strings.ContainsRune("<>&\u2028\u2029", c):
			size += len(`\u0000`)
		case c == '"' || c == '\\':
			size += 2
		default:
			size += utf8.RuneLen(c)
		}
		if size > maxProblemText {
			return s[:i] + "…"
		}
	}
	return s
}

// total is how much there was to do when this run of the daemon took it up.
func (r *running) total() int64 { return r.most }
