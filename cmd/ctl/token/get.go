package token

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func get(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show one token, without what its holder sends", Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			m, err := pb.NewApiTokenServiceClient(e.Conn).GetApiToken(cmd.Context(),
				&pb.GetApiTokenRequest{Name: fullName(e, args[0])})
			if err != nil {
				return err
			}
			return show(e, m)
		}),
	}
}
