package session

import (
	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func get(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show one session", Args: env.Args(1, 1),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			name, err := fullName(e, args[0])
			if err != nil {
				return err
			}
			s, err := pb.NewSessionServiceClient(e.Conn).GetSession(cmd.Context(), &pb.GetSessionRequest{Name: name})
			if err != nil {
				return err
			}
			return e.Print(s, columns)
		}),
	}
}
