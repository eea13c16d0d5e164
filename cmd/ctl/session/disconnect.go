package session

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
	"concentrator/cmd/ctl/resource"
)

func disconnect(e *env.Env) *cobra.Command {
	var filter string
	var dryRun, detach, yes bool
	cmd := &cobra.Command{
		Use: "disconnect [NAME...]", Short: "End sessions; the client is told, and may come back", Args: env.Args(0, 1000),
		Long: `End the sessions that are named, or those that match --filter, of all tenants or of --tenant. The client is told, and
may come back. With a filter the concentrator does it by itself, at a rate that it and its RADIUS servers can bear; --dry-run says
how many there are.

  ctl session disconnect 5f3a --tenant acme
  ctl session disconnect --filter 'user = "alice"' --tenant acme
  ctl session disconnect --filter 'listener = "listeners/old" AND idleTime > "600s"'
  ctl session disconnect --filter '*'`,
		ValidArgsFunction: noun.Complete(e, 1000),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == (filter != "") {
				return fmt.Errorf("%w: give names, or --filter", env.ErrUsage)
			}
			if filter != "" {
				return byFilter(cmd.Context(), e, filter, dryRun, detach, yes)
			}
			if dryRun {
				return fmt.Errorf("%w: --dry-run needs --filter", env.ErrUsage)
			}
			for _, arg := range args {
				name, err := fullName(e, arg)
				if err != nil {
					return err
				}
				if _, err := pb.NewSessionServiceClient(e.Conn).DisconnectSession(cmd.Context(),
					&pb.DisconnectSessionRequest{Name: name}); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if _, err := fmt.Fprintf(e.Err, "%s is being disconnected\n", name); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&filter, "filter", "", `those that match, as of ctl session list; "*" is all`)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --filter: only count")
	cmd.Flags().BoolVar(&detach, "detach", false, "with --filter: do not wait for the end")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "with --filter: do not ask")
	return cmd
}

// byFilter ends what matches. On a terminal it first says how many those are, and asks.
func byFilter(ctx context.Context, e *env.Env, filter string, dryRun, detach, yes bool) error {
	client := pb.NewSessionServiceClient(e.Conn)
	r := &pb.DisconnectSessionsRequest{Parent: e.Parent(), Filter: filter, ValidateOnly: true}
	if dryRun || !yes {
		count, err := client.DisconnectSessions(ctx, r)
		if err != nil {
			return err
		}
		if dryRun {
			_, err := fmt.Fprintln(e.Err, "sessions that match:", count.GetTotal())
			return err
		}
		ok, err := e.Confirm(fmt.Sprintf("end %d sessions?", count.GetTotal()))
		if err != nil {
			return err
		}
		if !ok {
			return resource.ErrNo
		}
	}
	r.ValidateOnly = false
	op, err := client.DisconnectSessions(ctx, r)
	if err != nil {
		return err
	}
	return e.Operation(ctx, op, detach)
}
