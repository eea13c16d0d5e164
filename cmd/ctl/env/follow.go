package env

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "concentrator/api/gen/concentrator/v1"
)

const (
	askEvery = time.Second      // how long one WaitOperation waits
	askTries = 60 * time.Second // how long an API that is gone is waited for: a daemon may start anew
	problems = 20               // how many are shown
)

// ErrOperation is returned for an operation that did not end as it should: exit code 1.
var ErrOperation = errors.New("the operation did not succeed")

// OperationColumns are those of operations.
var OperationColumns = []Column{
	FullName("NAME"), Field("KIND", "kind"), Field("STATE", "state"), Field("DONE", "done"), Field("TOTAL", "total"),
	Field("UNIT", "unit"), Field("PROBLEMS", "problem_count"), Field("DETAIL", "detail"),
	Field("BEGUN", "create_time").OnlyWide(), Field("ENDED", "end_time").OnlyWide(), Field("TARGET", "target").OnlyWide(), Field("CALLER", "caller").OnlyWide(),
	Field("FILE OCTETS", "file_size").OnlyWide(),
}

// Follow shows how an operation gets on until it has ended, and returns it as it ended. It outlives a daemon that starts
// anew. Ended otherwise than it should, an operation is returned with an error that wraps ErrOperation, and its problems
// are on Err. When ctx ends, the operation goes on, and the error says so.
func (e *Env) Follow(ctx context.Context, op *pb.Operation) (*pb.Operation, error) {
	client := pb.NewOperationServiceClient(e.Conn)
	show := e.Progress(strings.ToLower(strings.ReplaceAll(op.GetKind().String(), "_", " ")), op.GetUnit())
	defer show.End()
	var gone time.Time // since when the API can't be reached
	for op.GetState() == pb.Operation_RUNNING {
		show.unit = op.GetUnit()
		show.Set(op.GetDone(), op.GetTotal(), op.GetDetail())
		now, err := client.WaitOperation(ctx, &pb.WaitOperationRequest{Name: op.GetName(), Timeout: durationpb.New(askEvery)})
		switch {
		case ctx.Err() != nil:
			return op, fmt.Errorf("interrupted, and %s goes on: ctl operation wait %[1]s looks at it again, "+
				"ctl operation cancel %[1]s ends it", op.GetName())
		case err == nil:
			op, gone = now, time.Time{}
		case status.Code(err) == codes.Unavailable && (gone.IsZero() || e.Time().Sub(gone) < askTries):
			if gone.IsZero() {
				gone = e.Time()
			}
			if !e.Sleep(ctx, askEvery) {
				continue
			}
			show.Set(op.GetDone(), op.GetTotal(), "waiting for the daemon")
		default:
			return op, err
		}
	}
	show.End()
	return op, e.verdict(op)
}

// verdict says by its error what did not go well, after the problems.
func (e *Env) verdict(op *pb.Operation) error {
	for i, p := range op.GetProblems() {
		if i == problems {
			break
		}
		fmt.Fprintln(e.Err, Clean(fmt.Sprintf("%s: %s: %s", p.GetSubject(), p.GetReason(), p.GetDetail())))
	}
	if more := op.GetProblemCount() - int64(min(len(op.GetProblems()), problems)); more > 0 {
		fmt.Fprintf(e.Err, "and %d more; ctl operation describe %s shows the first hundred\n", more, op.GetName())
	}
	if op.GetState() == pb.Operation_SUCCEEDED {
		return nil
	}
	text := fmt.Sprintf("%s is %s", op.GetName(), op.GetState())
	if op.GetDetail() != "" {
		text += ", " + Clean(op.GetDetail())
	}
	return fmt.Errorf("%w: %s", ErrOperation, text)
}

// Operation ends a verb that began an operation: it follows it, unless detach says not to wait, and prints it.
func (e *Env) Operation(ctx context.Context, op *pb.Operation, detach bool) error {
	var bad error
	if !detach {
		if op, bad = e.Follow(ctx, op); bad != nil && !errors.Is(bad, ErrOperation) {
			return bad
		}
	}
	return errors.Join(bad, e.Print(op, OperationColumns))
}
