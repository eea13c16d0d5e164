package server

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// sendAhead is how many messages of a watch wait for being sent.
const sendAhead = 16

// sender sends the messages of one stream on a goroutine of its own: a Send to a reader that does not read blocks without
// end, and the handler must notice. When the handler returns, gRPC ends a Send that blocks.
type sender[R any] struct {
	out    chan *R
	failed chan error    // what a Send has failed with
	ended  chan struct{} // closed when nothing more is sent
	since  atomic.Int64  // when the Send under way began, nanoseconds since the sender was made; 0: there is none
	slow   bool
	made   time.Time

	patience time.Duration // how long the reader may take nothing
}

func newSender[R any](ctx context.Context, stream grpc.ServerStreamingServer[R], patience time.Duration) *sender[R] {
	s := &sender[R]{
		out: make(chan *R, sendAhead), failed: make(chan error, 1), ended: make(chan struct{}), patience: patience, made: time.Now(),
	}
	go func() {
		defer close(s.ended)
		for m := range s.out {
			if ctx.Err() != nil {
				return
			}
			s.since.Store(max(1, int64(time.Since(s.made))))
			err := stream.Send(m)
			s.since.Store(0)
			if err != nil {
				s.failed <- err
				return
			}
		}
	}()
	return s
}

// stuck says whether one Send has taken longer than a reader may.
func (s *sender[R]) stuck() bool {
	since := s.since.Load()
	return since != 0 && time.Since(s.made)-time.Duration(since) >= s.patience
}

// send hands a message over. It waits for room, but not for longer than a reader may take.
func (s *sender[R]) send(ctx context.Context, m *R) error {
	if s.stuck() {
		s.slow = true
		return errTooSlow(s.patience)
	}
	select {
	case s.out <- m:
		return nil
	default:
	}
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case s.out <- m:
		return nil
	case err := <-s.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		s.slow = true
		return errTooSlow(s.patience)
	}
}

// end lets what was handed over be sent, unless the reader has shown that it does not read.
func (s *sender[R]) end() {
	close(s.out)
	if s.slow {
		return
	}
	select {
	case <-s.ended:
	case <-time.After(flushTime):
	}
}
