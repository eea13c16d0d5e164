package instance

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

func drain(e *env.Env) *cobra.Command {
	var deadline time.Duration
	var detach, yes bool
	cmd := &cobra.Command{
		Use: "drain [NAME]", Short: "Take an instance out of service: no new calls, and its sessions end one after the other",
		Long: `Take an instance out of service, without a name the one that answers: new calls are refused with DRAINING, /readyz and the
health service say so. With --deadline the sessions that there are end one after the other, spread over that time; without,
they end by themselves. It goes on after a restart, and holds until ctl instance undrain.

  ctl instance drain --deadline 10m      # before an update: wait until nobody is left
  ctl instance drain --detach            # only stop taking calls`,
		Args: env.Args(0, 1), ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			r := &pb.DrainInstanceRequest{Name: fullName(args)}
			question := "take no more calls on " + r.GetName() + "?"
			if cmd.Flags().Changed("deadline") {
				if deadline < 0 || deadline > 24*time.Hour {
					return fmt.Errorf("%w: --deadline %s is not between 0s and 24h", env.ErrUsage, deadline)
				}
				r.Deadline = durationpb.New(deadline)
				question = fmt.Sprintf("take no more calls on %s, and end all its sessions within %s?", r.GetName(), deadline)
			}
			if !yes {
				ok, err := e.Confirm(question)
				if err != nil {
					return err
				}
				if !ok {
					return resource.ErrNo
				}
			}
			op, err := pb.NewInstanceServiceClient(e.Conn).DrainInstance(cmd.Context(), r)
			if err != nil {
				return err
			}
			return e.Operation(cmd.Context(), op, detach)
		}),
	}
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "end the sessions within this time, as 10m; 0s ends them at once")
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func undrain(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "undrain [NAME]", Short: "Put an instance back into service; a drain that goes on is cancelled",
		Args: env.Args(0, 1), ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			m, err := pb.NewInstanceServiceClient(e.Conn).UndrainInstance(cmd.Context(),
				&pb.UndrainInstanceRequest{Name: fullName(args)})
			if err != nil {
				return err
			}
			return e.Print(m, noun.Columns)
		}),
	}
}
