package instance

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func reencrypt(e *env.Env) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use: "reencrypt [NAME]", Short: "Give the stored secrets a new key; without a name those of the instance that answers",
		Long: `Give the stored secrets a new key: it is added to the keyset, everything is sealed with it, and the old key is dropped.
Sessions, logins and changes go on meanwhile. Cut off by a restart, it goes on where it stopped.

The key file stays as it is: it wraps the keyset.`,
		Args: env.Args(0, 1), ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			op, err := pb.NewInstanceServiceClient(e.Conn).ReencryptInstance(cmd.Context(),
				&pb.ReencryptInstanceRequest{Name: fullName(args)})
			if err != nil {
				return err
			}
			return e.Operation(cmd.Context(), op, detach)
		}),
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	return cmd
}
