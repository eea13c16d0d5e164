package session

import (
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func disconnect(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "disconnect NAME...", Short: "End sessions; the client is told, and may come back", Args: env.Args(1, 1000),
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
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
}
