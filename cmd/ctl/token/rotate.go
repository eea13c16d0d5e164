package token

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func rotate(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "rotate NAME", Short: "Make a new token under the same name, and show it once; the one before ends", Args: env.Args(1, 1),
		ValidArgsFunction: noun.Complete(e, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := noun.FullName(e, nil, args[0])
			if err != nil {
				return err
			}
			m, err := pb.NewApiTokenServiceClient(e.Conn).RotateApiToken(cmd.Context(),
				&pb.RotateApiTokenRequest{Name: name})
			if err != nil {
				return err
			}
			return show(e, m)
		}),
	}
}
