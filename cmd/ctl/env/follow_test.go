package env

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "concentrator/api/gen/concentrator/v1"
)

// waits answers WaitOperation: after a second each, with what stands in a list; nil is an API that is gone.
type waits struct {
	grpc.ClientConnInterface
	answers []*pb.Operation
}

func (w *waits) Invoke(ctx context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-time.After(time.Second):
	}
	a := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	if a == nil {
		return status.Error(codes.Unavailable, "gone")
	}
	proto.Merge(reply.(proto.Message), a)
	return nil
}

func running(done int64) *pb.Operation {
	return &pb.Operation{Name: "operations/1", Kind: pb.Operation_IMPORT_USERS, State: pb.Operation_RUNNING, Done: done, Total: 40, Unit: "users"}
}

func ended(state pb.Operation_State, problems int) *pb.Operation {
	op := running(40)
	op.State, op.ProblemCount, op.Detail = state, int64(problems), "it is over"
	for i := range min(problems, 100) {
		op.Problems = append(op.Problems, &pb.Operation_Problem{Subject: fmt.Sprint("line ", i+2), Reason: "INVALID_FIELD", Detail: "wr\x1b[2Jong"})
	}
	return op
}

func TestFollow(t *testing.T) {
	long := make([]*pb.Operation, 25)
	for i := range long {
		long[i] = running(int64(i))
	}
	for _, c := range []struct {
		name    string
		answers []*pb.Operation
		stop    time.Duration
		said    []string // on Err
		fails   string   // "" is none
		is      error
	}{
		{name: "quick", answers: []*pb.Operation{running(20), ended(pb.Operation_SUCCEEDED, 0)}},
		{name: "long", answers: append(long, ended(pb.Operation_SUCCEEDED, 0)), said: []string{"import users  22 %  9 of 40 users\n", "import users  48 %  19 of 40 users\n"}},
		{name: "the daemon starts anew", answers: []*pb.Operation{running(1), nil, nil, nil, running(2), ended(pb.Operation_SUCCEEDED, 0)}},
		{name: "the daemon stays away", answers: []*pb.Operation{nil}, said: []string{"waiting for the daemon"}, fails: "gone"},
		{name: "failed", answers: []*pb.Operation{ended(pb.Operation_FAILED, 1)}, said: []string{"line 2: INVALID_FIELD: wr\uFFFD[2Jong\n"}, fails: "operations/1 is FAILED, it is over", is: ErrOperation},
		{name: "many problems", answers: []*pb.Operation{ended(pb.Operation_SUCCEEDED, 250)}, said: []string{"line 21: ", "and 230 more; ctl operation describe operations/1"}},
		{name: "cancelled", answers: []*pb.Operation{ended(pb.Operation_CANCELLED, 0)}, fails: "is CANCELLED", is: ErrOperation},
		{name: "interrupted", answers: []*pb.Operation{running(1)}, stop: 5500 * time.Millisecond, fails: "operations/1 goes on: ctl operation wait operations/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.stop > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.stop)
					defer cancel()
				}
				var errs strings.Builder
				e := &Env{Err: &errs, Conn: &waits{answers: c.answers}}
				_, err := e.Follow(ctx, running(0))
				if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v is no %v", err, c.is)
				}
				for _, want := range c.said {
					if !strings.Contains(errs.String(), want) {
						t.Errorf("%q is not said:\n%s", want, &errs)
					}
				}
				if len(c.said) == 0 && errs.Len() > 0 {
					t.Errorf("said %q", &errs)
				}
			})
		})
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs strings.Builder
		e := &Env{Err: &errs, Terminal: func(any) int { return 75 }}
		p := e.Progress("download", "octets")
		p.Set(0, 0, "")
		p.Set(1<<20, 4<<20, "") // too soon to be drawn
		time.Sleep(10 * time.Second)
		p.Set(1<<20, 4<<20, "")
		time.Sleep(time.Second)
		p.Set(1<<20, 4<<20, strings.Repeat("a long detail ", 10))
		p.End()
		want := []string{
			"\rdownload  0 B\x1b[K",
			"\rdownload  [######------------------]  25 %  1.0 MiB of 4.0 MiB  30s left\x1b[K",
			"\rdownload  [######------------------]  25 %  1.0 MiB of 4.0 MiB  33s left  \x1b[K",
			"\r\x1b[K",
		}
		if got := errs.String(); got != strings.Join(want, "") {
			t.Errorf("drawn %q\nwant  %q", got, strings.Join(want, ""))
		}
	})
	for n, want := range map[float64]string{0: "0 ", 999: "999 ", 1000: "1.0 Ki", 1536: "1.5 Ki", 120 << 10: "120 Ki", 1 << 20: "1.0 Mi", 5 << 40: "5.0 Ti"} {
		if got := Octets(n); got != want {
			t.Errorf("%.0f octets are %q, want %q", n, got, want)
		}
	}
}
