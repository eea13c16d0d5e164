package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"concentrator/internal/session"
	"concentrator/internal/store"
)

// bookmarkEvery is how long a watch is silent at most; a variable only for tests that can't wait so long.
var bookmarkEvery = 30 * time.Second

const (
	// bookmarkGap is how many changes that are none of a watch's own go by until it tells its reader a later revision: less
	// than a source keeps.
	bookmarkGap = 4096
	// gather is how long a watch waits after a change for others to send with it: who logs in by the hundred makes as many
	// changes, and each watch would be woken for each of them.
	gather = 5 * time.Millisecond
	// flushTime is how long the end of a watch waits for what is being sent.
	flushTime = time.Second
)

// position says how far a watch has come in the history of its source: numbers that only the source understands.
type position []int64

// watched is one change: a resource as it is after it, or the name of one that is gone.
type watched struct {
	upsert  proto.Message // nil: it is gone
	removed string
	at      position // behind this change
}

// step is what one look at a source has found.
type step struct {
	changes []watched   // in order
	at      position    // these are all up to here
	later   [2]wakeable // one of them is closed when another look may find more; none: look again at once
}

type wakeable = <-chan struct{}

// source is where the changes of one kind below one parent come from. It belongs to one watch. An error that is
// session.ErrExpired or store.ErrCompacted means that its history does not go back to a position.
type source interface {
	// epoch names the history that positions belong to: those of another one mean nothing.
	epoch() uint64
	// snapshot calls emit with all there is, at of each left out, and returns where the changes to that begin.
	snapshot(ctx context.Context, emit func(watched) error) (position, error)
	// next looks for changes behind a position: one that it returned itself, or that was forged.
	next(ctx context.Context, after position) (step, error)
}

// errTooSlow ends a watch whose reader does not read.
func errTooSlow(patience time.Duration) error {
	return newStatus(codes.Aborted, reasonTooSlow, fmt.Sprintf("the watch was cut off: its reader took nothing for %s; "+
		"watch again with the revision of the last message", patience), nil).Err()
}

// watch serves one watch of src until the stream, the caller's right or the server ends, or the reader is too slow. R is the
// watch's response: a oneof with upsert, removed and snapshot_done, and a revision. A message with nothing but a revision is
// a bookmark: it takes the reader past changes that are not of this watch, and shows that the watch is alive.
func watch[R any](b *backend, stream grpc.ServerStreamingServer[R], parent, revision string, src source) error {
	form := any(new(R)).(proto.Message).ProtoReflect().Descriptor()
	leave, err := b.watches.enter(callerOf(stream.Context()))
	if err != nil {
		return err
	}
	defer leave()
	w := &watcher[R]{src: src, fields: form.Fields(), tokens: tokensOf(string(form.Name()), parent, src.epoch())}
	begin, err := w.tokens.parse(revision)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(b.stopping, cancel)()
	w.out = newSender(ctx, stream, b.watches.patience)
	err = w.run(ctx, begin)
	w.out.end()
	switch {
	case b.stopping.Err() != nil:
		return errShuttingDown
	case errors.Is(err, session.ErrExpired), errors.Is(err, store.ErrCompacted):
		return fmt.Errorf("%w: list again, and watch without a revision", errWatchExpired)
	}
	return err
}

// errWatchExpired says that a revision is too old, or that a reader that reads slowly has fallen too far behind.
var errWatchExpired = fmt.Errorf("what has changed since then is not known any more: %w", session.ErrExpired)

// watcher is one watch.
type watcher[R any] struct {
	src    source
	out    *sender[R]
	fields protoreflect.FieldDescriptors // of R
	tokens tokens

	sent position // that of the last message
}

func (w *watcher[R]) run(ctx context.Context, at position) error {
	if at == nil {
		var err error
		if at, err = w.src.snapshot(ctx, func(c watched) error { return w.change(ctx, c, nil) }); err != nil {
			return err
		}
		done := protoreflect.ValueOfMessage((&emptypb.Empty{}).ProtoReflect())
		if err := w.send(ctx, "snapshot_done", done, at); err != nil {
			return err
		}
	}
	w.sent = at
	silent := time.NewTimer(bookmarkEvery)
	defer silent.Stop()
	for {
		s, err := w.src.next(ctx, at)
		if err != nil {
			return err
		}
		for _, c := range s.changes {
			if err := w.change(ctx, c, c.at); err != nil {
				return err
			}
		}
		if at = s.at; len(s.changes) > 0 {
			silent.Reset(bookmarkEvery)
		} else if w.sent.far(at) {
			if err := w.bookmark(ctx, at); err != nil {
				return err
			}
			silent.Reset(bookmarkEvery)
		}
		if s.later == [2]wakeable{} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		select {
		case <-s.later[0]:
		case <-s.later[1]:
		case <-silent.C:
			if err := w.bookmark(ctx, at); err != nil {
				return err
			}
			silent.Reset(bookmarkEvery)
			continue
		case err := <-w.out.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(gather):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// change sends one change. Without a position it is part of a snapshot.
func (w *watcher[R]) change(ctx context.Context, c watched, at position) error {
	if c.upsert == nil {
		return w.send(ctx, "removed", protoreflect.ValueOfString(c.removed), at)
	}
	return w.send(ctx, "upsert", protoreflect.ValueOfMessage(c.upsert.ProtoReflect()), at)
}

func (w *watcher[R]) bookmark(ctx context.Context, at position) error {
	return w.send(ctx, "", protoreflect.Value{}, at)
}

// send sends a message with one event, or none.
func (w *watcher[R]) send(ctx context.Context, event protoreflect.Name, v protoreflect.Value, at position) error {
	r := new(R)
	m := any(r).(proto.Message).ProtoReflect()
	if event != "" {
		m.Set(w.fields.ByName(event), v)
	}
	m.Set(w.fields.ByName("revision"), protoreflect.ValueOfString(w.tokens.token(at)))
	w.sent = at
	return w.out.send(ctx, r)
}

// far says whether a reader that has come to p must learn of at soon: so much has happened in between.
func (p position) far(at position) bool {
	if len(p) != len(at) {
		return true
	}
	for i := range p {
		if d := at[i] - p[i]; d >= bookmarkGap || d <= -bookmarkGap {
			return true
		}
	}
	return false
}
