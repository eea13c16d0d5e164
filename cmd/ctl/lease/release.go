package lease

import (
	"fmt"

	"github.com/spf13/cobra"

	pb "concentrator/api/gen/concentrator/v1"
	"concentrator/cmd/ctl/env"
)

func release(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "release ADDRESS...", Args: env.Args(1, 1000), ValidArgsFunction: noun.Complete(e, 1000),
		Short: "Take addresses back: their sessions end, and they are free for everybody",
		RunE: e.Verb(func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				name, err := noun.FullName(e, cmd.Flags(), arg)
				if err != nil {
					return err
				}
				if _, err := pb.NewLeaseServiceClient(e.Conn).ReleaseLease(cmd.Context(),
					&pb.ReleaseLeaseRequest{Name: name}); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if _, err := fmt.Fprintf(e.Err, "%s is being released\n", name); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().String("pool", "", "the addresses' pool")
	return cmd
}
