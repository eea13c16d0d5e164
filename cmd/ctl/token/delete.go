package token

import (
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func remove(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Remove a token; its holder is refused from then on", Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name := fullName(e, args[0])
			_, err := pb.NewApiTokenServiceClient(e.Conn).DeleteApiToken(cmd.Context(), &pb.DeleteApiTokenRequest{Name: name})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.Err, "%s is deleted\n", name)
			return err
		}),
	}
}
