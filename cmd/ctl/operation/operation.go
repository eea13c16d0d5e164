// Package operation has the verbs that only operations have: waiting for them, ending them, fetching what they made.
package operation

import (
	"time"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

var noun = resource.ByName("operation")

// again is how long a download that broke off waits before it goes on.
const again = time.Second

// Command makes the noun's command.
func Command(e *env.Env) *cobra.Command {
	return noun.Command(e, wait(e), cancel(e), download(e), noun.Delete(e))
}

func wait(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "wait NAME", Short: "Wait until an operation has ended, and show how far it is", Args: env.Args(1, 1),
		Long: `Waits until an operation has ended, and shows how far it is. The exit code is 1 when it did not end as it
should.`,
		ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := noun.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			op, err := pb.NewOperationServiceClient(e.Conn).GetOperation(cmd.Context(), &pb.GetOperationRequest{Name: name})
			if err != nil {
				return err
			}
			return e.Operation(cmd.Context(), op, false)
		}),
	}
}

func cancel(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "cancel NAME", Short: "End an operation where it is; what it has done stays done", Args: env.Args(1, 1),
		ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := noun.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			op, err := pb.NewOperationServiceClient(e.Conn).CancelOperation(cmd.Context(), &pb.CancelOperationRequest{Name: name})
			if err != nil {
				return err
			}
			return e.Print(op, env.OperationColumns)
		}),
	}
}
